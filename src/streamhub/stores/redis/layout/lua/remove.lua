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

-- Its producer may be frozen for longer than its lease: it is kept from coming back for as long as
-- its session would have outlived it.
local function lifetime()
  local terms = readable and redis.call('HMGET', meta, 'term', 'keep') or {}
  return (tonumber(terms[1]) or 15000) + (tonumber(terms[2]) or 3600000)
end

local function bury(ms)
  -- Removed again and again meanwhile: the first ones have had their time.
  if redis.call('HLEN', removed) >= 200 then
    local held = redis.call('HGETALL', removed)
    local epochs = {}
    for i = 2, #held, 2 do
      epochs[#epochs + 1] = tonumber(held[i])
    end
    table.sort(epochs)
    for i = 1, #held, 2 do
      if tonumber(held[i + 1]) <= epochs[#epochs / 2] then
        redis.call('HDEL', removed, held[i])
      end
    end
  end
  redis.call('HSET', removed, record.gen, int(record.epoch), ARGV[1], int(record.epoch))
  redis.call('PEXPIRE', removed, math.max(int(ms), redis.call('PTTL', removed)))
end

touch(meta)
tell(live, 'r')
if not record.done then
  tell_producer(channel, record)
  if record.ours then
    bury(lifetime())
  end
elseif record.ours and record.epoch >= now_ms() then
  -- Whoever claims within this millisecond must still get another epoch.
  bury(2)
end
redis.call('UNLINK', meta, chunks)
return 1
