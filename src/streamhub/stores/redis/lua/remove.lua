-- Delete the session, a damaged one too. A tombstone, a hash of generations and their epochs, keeps
-- its producer from putting it back.
-- KEYS: meta, chunks, removed
-- ARGV: a name for this removal, unique; live channel, cancel channel
-- Answers: 1 if there was one, else 0
local meta, chunks, removed, live, channel = KEYS[1], KEYS[2], KEYS[3], ARGV[2], ARGV[3]
if redis.call('EXISTS', meta) == 0 then
  redis.call('UNLINK', chunks)
  -- A removal whose answer was lost is repeated: it did remove something.
  return redis.call('HEXISTS', removed, ARGV[1])
end

local readable, record = pcall(load, meta)
if not readable or not record then
  local fields = redis.pcall('HMGET', meta, 'gen', 'claim')
  record = {gen = fields[1] or '', ours = fields[2], epoch = now_ms(), done = false}
end
local term = readable and tonumber(redis.call('HGET', meta, 'term')) or 15000

local function bury(ms)
  -- Removed again and again within one lease: the first ones have had their time.
  if redis.call('HLEN', removed) >= 200 then
    redis.call('DEL', removed)
  end
  redis.call('HSET', removed, record.gen, int(record.epoch), ARGV[1], int(record.epoch))
  redis.call('PEXPIRE', removed, math.max(int(ms), redis.call('PTTL', removed)))
end

touch(meta)
tell(live, 'r')
if not record.done then
  tell_producer(channel, record)
  if record.ours then
    bury(term)
  end
elseif record.ours and record.epoch >= now_ms() then
  -- Whoever claims within this millisecond must still get another epoch.
  bury(2)
end
redis.call('UNLINK', meta, chunks)
return 1
