-- Extend the lease, or (with a lease of 0) give it up.
-- KEYS: meta, chunks
-- ARGV: generation, last acknowledged offset, lease ms, ttl ms; the claim's epoch, term and terms;
--       live channel, which is told of a lease that is given up; '1' if it was held in vain
-- Answers: last | cancelling, last | behind, last | holes | gone | fenced, generation |
--          over, outcome
local meta, chunks = KEYS[1], KEYS[2]
local lease_ms, ttl_ms = tonumber(ARGV[3]), tonumber(ARGV[4])

-- Fast path of what follows: saves the making of a record where all is as its producer has left it,
-- which is all that an idle session costs. `claim` is not looked at: nobody else knows the generation.
local f = redis.call('HMGET', meta, 'gen', 'status', 'epoch', 'term', 'terms', 'last', 'lease',
  'cancel')
local stored_last = tonumber(f[6])
if lease_ms > 0 and f[1] == ARGV[1] and f[2] == 'active' and f[3] == ARGV[5] and f[4] == ARGV[6]
  and f[5] == ARGV[7] and stored_last and stored_last >= tonumber(ARGV[2])
  and (tonumber(f[7]) or 0) > 0 and not f[8] and whole(chunks, stored_last)
then
  extend(meta, chunks, lease_ms, ttl_ms)
  return stored(false, stored_last)
end

local record = load(meta)
local no = refusal(record, ARGV[1])
if no then
  return no
end
-- Somebody has changed the record by hand, if it has other terms. Who gives up a claim may not know
-- them yet.
local written = record.written or {}
local other = written.epoch ~= ARGV[5] or written.term ~= ARGV[6] or record.terms ~= ARGV[7]
if not whole(chunks, record.last) or (other and lease_ms > 0) then
  return {'holes'}
elseif record.last < tonumber(ARGV[2]) then
  return {'behind', int(record.last)}
end
-- A renewal that was still on its way when the claim was given up must not revive it.
if record.lease ~= 0 then
  -- A producer that was asked to stop goes on to end its stream.
  if lease_ms == 0 and record.ours and not record.cancelling then
    touch(meta)
    tell(ARGV[8], table.concat({'g', int(record.term), int(record.last)}, ' '))
  end
  extend(meta, chunks, lease_ms, ttl_ms)
  if ARGV[9] == '1' then
    redis.call('HSET', meta, 'in_vain', '1')
  end
end
return stored(record.cancelling, record.last)
