-- Delete the session, a damaged one too. A tombstone, a hash of generations and their terms, keeps
-- its producer from putting it back.
-- KEYS: meta, chunks, removed, ends; then meta, chunks and ends of each stream that was set aside
-- ARGV: a name for this removal, unique; live channel, cancel channel; the generations that have
--       set something aside, as the record has them
-- Answers: 1 if there was one, else 0; those generations, if they are others
local meta, chunks, removed, live, channel = KEYS[1], KEYS[2], KEYS[3], ARGV[2], ARGV[3]
local now = now_ms()
if not newest_removed(removed) then
  -- Whoever was removed is kept out as before: nobody has claimed since.
  redis.call('UNLINK', removed)
  redis.call('HSET', removed, '', int(now))
  redis.call('PEXPIRE', removed, KEPT_MS)
end
if redis.call('EXISTS', meta) == 0 then
  redis.call('UNLINK', chunks, KEYS[4])
  -- A removal whose answer was lost is repeated: it did remove something.
  return redis.call('HEXISTS', removed, ARGV[1])
end

local asides = redis.pcall('HGET', meta, 'asides')
if type(asides) == 'string' and asides ~= ARGV[4] then
  return asides
end
local readable, record = pcall(load, meta)
local fields = redis.pcall('HMGET', meta, 'gen', 'claim', 'granted', 'keep', 'unsaved')
local gen, claim = fields[1], fields[2]
if not readable or not record or math.max(record.epoch or 0, record.term or 0) > 1e14 then
  record = {gen = gen or '', done = false}
end
-- A producer of ours may live wherever it has left its claim, or where nobody can tell: all that
-- have claimed until now are kept out.
local ours = record.ours or claim or not gen
-- The term may have been changed by hand.
local newest = int(math.max(record.term or 0, now))

-- Its producer may be frozen for longer than its lease: it is kept from coming back for as long as
-- its session would have outlived it.
local function lifetime()
  return (number(fields[3]) or 15000)
    + math.max(number(fields[4]) or KEPT_MS, number(fields[5]) or 0)
end

local function bury(ms)
  -- Removed again and again meanwhile: the first ones have had their time.
  if redis.call('HLEN', removed) >= 200 then
    local held = redis.call('HGETALL', removed)
    local terms_held = {}
    for i = 2, #held, 2 do
      terms_held[#terms_held + 1] = tonumber(held[i])
    end
    table.sort(terms_held)
    for i = 1, #held, 2 do
      if tonumber(held[i + 1]) <= terms_held[math.floor(#terms_held / 2)] then
        redis.call('HDEL', removed, held[i])
      end
    end
  end
  redis.call('HSET', removed, record.gen, newest, ARGV[1], newest)
  redis.call('PEXPIRE', removed, math.max(int(ms), redis.call('PTTL', removed)))
end

touch(meta)
tell(live, 'r')
if not record.done then
  tell_producer(channel, record)
  if ours then
    bury(lifetime())
  end
elseif record.ours and record.term >= now then
  -- Whoever claims within this millisecond must still get another term.
  bury(2)
end
redis.call('UNLINK', meta, chunks, unpack(KEYS, 4))
return 1
