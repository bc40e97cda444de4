-- Extend the lease, or (with a lease of 0) give it up.
-- KEYS: meta, chunks
-- ARGV: generation, last acknowledged offset, lease ms, ttl ms; the claim's epoch, term and terms;
--       live channel, which is told of a lease that is given up; '1' if it was held in vain
-- Answers: last | cancelling, last | behind, last | holes | gone | fenced, generation |
--          over, outcome
local record = load(KEYS[1])
local no = refusal(record, ARGV[1])
if no then
  return no
end
-- Somebody has changed the record by hand, if it has other terms. Who gives up a claim may not know
-- them yet.
local written = record.written or {}
local other = written.epoch ~= ARGV[5] or written.term ~= ARGV[6] or record.terms ~= ARGV[7]
if not whole(KEYS[2], record.last) or (other and tonumber(ARGV[3]) > 0) then
  return {'holes'}
elseif record.last < tonumber(ARGV[2]) then
  return {'behind', int(record.last)}
end
-- A renewal that was still on its way when the claim was given up must not revive it.
if record.lease ~= 0 then
  -- A producer that was asked to stop goes on to end its stream.
  if tonumber(ARGV[3]) == 0 and record.ours and not record.cancelling then
    touch(KEYS[1])
    tell(ARGV[8], table.concat({'g', int(record.term), int(record.last)}, ' '))
  end
  extend(KEYS[1], KEYS[2], tonumber(ARGV[3]), tonumber(ARGV[4]))
  if ARGV[9] == '1' then
    redis.call('HSET', KEYS[1], 'in_vain', '1')
  end
end
return stored(record.cancelling, record.last)
