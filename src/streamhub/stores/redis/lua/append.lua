-- Store chunks after `base`, renew the lease if a quarter of it has passed, tell the live channel.
-- KEYS: meta, chunks
-- ARGV: generation, base, bytes of the epoch afterwards, lease ms, ttl ms,
--       chunks (msgpack: an array of data, or of [data, event]), live channel
-- Answers: last | cancelling, last | behind, last | gone | fenced, generation | over, outcome
local meta, chunks, live = KEYS[1], KEYS[2], ARGV[7]
local base, lease_ms, ttl_ms = tonumber(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])

local record = load(meta)
local no = refusal(record, ARGV[1])
if no then
  return no
elseif not whole(chunks, record.last) then
  return {'gone'}
elseif record.last < base then
  return {'behind', int(record.last)}
end

local items = cmsgpack.unpack(ARGV[6])
local last = base + #items
if last > record.last then
  local id = record.epoch_text .. '-%d'
  local pcall, format, type = redis.pcall, string.format, type
  for offset = record.last + 1, last do
    local item = items[offset - base]
    local entry = format(id, offset)
    local added
    if type(item) == 'table' then
      added = pcall('XADD', chunks, entry, 'd', item[1], 'e', item[2])
    else
      added = pcall('XADD', chunks, entry, 'd', item)
    end
    if added ~= entry then
      if offset == record.last + 1 and string.find(added.err, 'equal or smaller', 1, true) then
        return {'gone'}
      end
      redis.call('PEXPIRE', chunks, ttl_ms)
      return added
    end
  end
  if record.lease < now_ms() + 0.75 * lease_ms then
    extend(meta, chunks, lease_ms, ttl_ms, 'last', last, 'bytes', ARGV[3])
  else
    if record.last == 0 then
      -- The log is new.
      redis.call('PEXPIRE', chunks, ttl_ms)
    end
    redis.call('HSET', meta, 'last', last, 'bytes', ARGV[3])
  end
  -- Chunks are told last: they must be stored first, and are, if this fails.
  tell(live, table.concat({'a', record.epoch_text, ARGV[2], ARGV[4], ARGV[6]}, ' '))
else
  last = record.last
  extend(meta, chunks, lease_ms, ttl_ms)
end
return stored(record, last)
