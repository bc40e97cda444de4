-- Say when streams that were handed out are due again, unless they were put on the schedule since.
-- KEYS: the schedule of the feed, sessions
-- ARGV: of each: member, when it was to be due again ('' if that is not known), ms after which it is
--       due; '' if it is not any more, 'gone' if its session is not there: it stays on the schedule
--       for as long as somebody may be about to claim it
-- Answers: 1
local schedule, now = KEYS[1], now_ms()
for i = 1, #ARGV, 3 do
  local member, handed, after = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local at = redis.call('ZSCORE', schedule, member)
  if not at or tonumber(at) == handed then
    local listed = after == 'gone' and tonumber(redis.call('ZSCORE', KEYS[2], member) or '0')
    if listed and listed > now then
      redis.call('ZADD', schedule, int(listed), member)
    elseif after == '' or after == 'gone' then
      redis.call('ZREM', schedule, member)
    else
      redis.call('ZADD', schedule, int(now + tonumber(after)), member)
    end
  end
end
live_for(schedule, FORGOTTEN_MS)
return 1
