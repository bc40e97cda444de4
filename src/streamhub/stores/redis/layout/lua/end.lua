-- End the session once its log reaches `last`.
-- KEYS: meta, chunks
-- ARGV: generation, last, outcome, error, retention ms, live channel
-- Answers: over, outcome | behind, last | holes | gone | fenced, generation
local meta, chunks, live = KEYS[1], KEYS[2], ARGV[6]
local record = load(meta)
local no = refusal(record, ARGV[1])
if no then
  return no
elseif not whole(chunks, record.last) then
  return {'holes'}
elseif record.last < tonumber(ARGV[2]) then
  return {'behind', int(record.last)}
end
return finish(meta, chunks, live, record, ARGV[3], ARGV[4], tonumber(ARGV[5]))
