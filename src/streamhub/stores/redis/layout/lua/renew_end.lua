-- Keep an end for the worker that has it.
-- KEYS: meta, ends of the stream
-- ARGV: feed, worker, lease ms
-- Answers: 1 | 0, the generations that have set something aside: it may be there by now
local meta, ends, feed, worker = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local f = redis.call('HMGET', meta, 'gen', 'asides')
local state = f[1] and end_state(ends, feed, f[1])
if not state or state.worker ~= worker then
  return {0, f[2] or ''}
elseif state.state ~= 'held' then
  return {0, ''}
end
state['until'] = now_ms() + tonumber(ARGV[3])
touch(meta)
set_end_state(meta, ends, feed, state)
return {1}
