-- Store chunks after `base`, renew the lease, tell the live channel.
-- KEYS: meta, chunks
-- ARGV: generation, base, bytes of the epoch afterwards, lease ms, ttl ms,
--       chunks (msgpack: an array of data, or of [data, event]), live channel
-- Answers: stored, last, cancelling | behind, last | gone | fenced, generation | over, outcome
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
  local id = int(record.epoch) .. '-%d'
  local pcall, format = redis.pcall, string.format
  for offset = record.last + 1, last do
    local item = items[offset - base]
    local added
    if type(item) == 'table' then
      added = pcall('XADD', chunks, format(id, offset), 'd', item[1], 'e', item[2])
    else
      added = pcall('XADD', chunks, format(id, offset), 'd', item)
    end
    if type(added) == 'table' then
      if offset == record.last + 1 and string.find(added.err, 'equal or smaller', 1, true) then
        return {'gone'}
      end
      redis.call('PEXPIRE', chunks, ttl_ms)
      return added
    end
  end
  extend(meta, chunks, lease_ms, ttl_ms, 'last', int(last), 'bytes', ARGV[3])
  -- Chunks are told last: they must be stored first, and are, if this fails.
  tell(live,
    table.concat({'a', int(record.epoch), ARGV[2], ARGV[4], ARGV[6]}, ' '))
else
  last = record.last
  extend(meta, chunks, lease_ms, ttl_ms)
end
return {'stored', int(last), record.cancelling and '1' or '0'}
