-- Delete the session; a tombstone keeps its producer from putting it back.
-- KEYS: meta, chunks, live, removed, cancel
-- ARGV: -
-- Answers: 1 if there was one, else 0
local meta, chunks, live, removed, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local record = load(meta)
local term = tonumber(redis.call('HGET', meta, 'term') or '')
redis.call('UNLINK', meta, chunks)
if not record then
  return 0
end
if not record.done then
  if record.ours and term then
    redis.call('SET', removed, record.gen, 'PX', int(term))
  end
  redis.call('PUBLISH', channel, record.gen)
end
redis.call('PUBLISH', live, 'r')
return 1
