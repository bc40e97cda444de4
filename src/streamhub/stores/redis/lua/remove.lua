-- Delete the session. A tombstone, a hash of generations and their epochs, keeps its producer from
-- putting it back.
-- KEYS: meta, chunks, live, removed, cancel
-- ARGV: a name for this removal, unique
-- Answers: 1 if there was one, else 0
local meta, chunks, live, removed, channel = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local record = load(meta)
local term = tonumber(redis.call('HGET', meta, 'term') or '')

local function bury(ms)
  redis.call('HSET', removed, record.gen, int(record.epoch), ARGV[1], int(record.epoch))
  redis.call('PEXPIRE', removed, math.max(int(ms), redis.call('PTTL', removed)))
end

redis.call('UNLINK', meta, chunks)
if not record then
  -- A removal whose answer was lost is repeated: it did remove something.
  return redis.call('HEXISTS', removed, ARGV[1])
end
if not record.done then
  if record.ours then
    bury(term)
  end
  redis.call('PUBLISH', channel, record.gen)
elseif record.ours and record.epoch >= now_ms() then
  -- Whoever claims within this millisecond must still get another epoch.
  bury(2)
end
redis.call('PUBLISH', live, 'r')
return 1
