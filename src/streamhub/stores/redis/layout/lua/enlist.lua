-- Put sessions into the index, and on the schedules of feeds.
-- KEYS: sessions, feeds; the sessions of their owner, if they have one; the schedule of each feed …
-- ARGV: how many keys are schedules; 'set' or 'missing', which leaves what is on a schedule as it is;
--       news channel, if it is to be told; then of each session: its id, the generation that may set
--       it aside or '', ms after which it is due, ms for which it stays in the index at least
-- Answers: the feeds that are known, each followed by the ms for which it has ends kept, as a text
local sets, schedules, known = shelves(1, tonumber(ARGV[1]))
local now = now_ms()
for i = 4, #ARGV, 4 do
  enlist(now, sets, schedules, ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3]),
    ARGV[2] == 'missing', ARGV[3] ~= '')
end
if ARGV[3] ~= '' then
  tell(ARGV[3], '1')
end
return known
