-- Have a dead end handed out again, as if for the first time.
-- KEYS: meta, ends of the stream
-- ARGV: feed
-- Answers: 1 | 0
local gen = redis.call('HGET', KEYS[1], 'gen')
local state = gen and end_state(KEYS[2], ARGV[1], gen)
if not state or state.state ~= 'dead' then
  return 0
end
touch(KEYS[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
