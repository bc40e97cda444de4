-- Replace the metadata.
-- KEYS: meta
-- ARGV: generation, metadata (JSON)
-- Answers: last | cancelling, last | gone | fenced, generation | over, outcome
local record = load(KEYS[1])
local no = refusal(record, ARGV[1])
if no then
  return no
end
redis.call('HSET', KEYS[1], 'metadata', ARGV[2])
return stored(record.cancelling, record.last)
