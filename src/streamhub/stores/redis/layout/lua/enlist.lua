-- Put sessions into the index, and on the schedules of feeds.
-- KEYS: sessions, feeds; the sessions of their owner, if they have one; the schedule of each feed …
-- ARGV: how many keys are schedules; 'set' or 'missing', which leaves what is on a schedule as it is;
--       news channel, if it is to be told; then of each session: its id, the generation that may set
--       it aside or '', ms after which it is due, ms for which it stays in the index at least
-- Answers: the feeds that are known, each followed by the ms for which it has ends kept, as a text
-- An entry of the index is put on again before its time is over as long as its session may live, so
-- that one whose time is over is of a session that is gone. So is what is overdue on a schedule for as
-- long: nobody reads that feed, and who comes back to it is given the whole index.
local sessions, feeds = KEYS[1], KEYS[2]
local first_due, now = #KEYS - tonumber(ARGV[1]) + 1, now_ms()
local DROPPED_AT_ONCE = 8

local function drop(key, latest)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', int(latest), 'LIMIT', 0,
    DROPPED_AT_ONCE))
  do
    redis.call('ZREM', key, old)
  end
end

-- An entry that was handed out must be told from one that was put on since.
local function put_on(schedule, member, at)
  if ARGV[2] == 'missing' then
    redis.call('ZADD', schedule, 'NX', int(at), member)
  else
    if tonumber(redis.call('ZSCORE', schedule, member) or '') == at then
      at = at + 1
    end
    redis.call('ZADD', schedule, int(at), member)
  end
end

for i = 4, #ARGV, 4 do
  local id, aside = ARGV[i], ARGV[i + 1]
  local due, stays = now + tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  for at, key in ipairs(KEYS) do
    if at == 1 or at > 2 and at < first_due then
      redis.call('ZADD', key, 'GT', int(now + stays), id)
      drop(key, now)
      live_for(key, stays)
    elseif at >= first_due then
      drop(key, now - math.max(stays, UNREAD_MS))
      if aside == '' or ARGV[3] == '' then
        put_on(key, id, due)
      end
      if aside ~= '' then
        -- Nothing is looked for there before the claim has had its time, unless it tells.
        put_on(key, id .. '\n' .. aside, ARGV[3] ~= '' and due or now + 2 * (due - now) + 60000)
      end
      live_for(key, math.max(FORGOTTEN_MS, stays))
    end
  end
end
if ARGV[3] ~= '' then
  tell(ARGV[3], '1')
end
return known_feeds(feeds)
