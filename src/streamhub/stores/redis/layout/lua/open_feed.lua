-- Make a feed known. One that was not, or that nobody has read for long, gets all sessions that the
-- index has.
-- KEYS: feeds, its schedule, the sessions that it looks after
-- ARGV: feed, ms for which it has ends kept
-- Answers: the feeds that are known, each followed by the ms for which it has ends kept, as a text
local feeds, schedule, sessions, feed = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local now = int(now_ms())
local old = redis.call('HGET', feeds, feed)
local opened, asked, since = string.match(old or '', '^%d+ (%d+) (%d+) (%d+)$')
local unread = false
if not opened or tonumber(opened) <= tonumber(now) - FORGOTTEN_MS then
  asked, since = now, now
  unread = true
end
if unread or tonumber(asked) <= tonumber(now) - UNREAD_MS then
  redis.call('ZUNIONSTORE', schedule, 2, schedule, sessions, 'WEIGHTS', 1, 0, 'AGGREGATE', 'MIN')
end
local all = redis.call('HGETALL', feeds)
for i = 1, #all, 2 do
  local last = string.match(all[i + 1], '^%d+ (%d+) ')
  if not last or tonumber(last) <= tonumber(now) - FORGOTTEN_MS then
    redis.call('HDEL', feeds, all[i])
  end
end
redis.call('HSET', feeds, feed, table.concat({ARGV[2], now, asked, since}, ' '))
redis.call('PEXPIRE', feeds, FORGOTTEN_MS)
live_for(schedule, FORGOTTEN_MS)
return known_feeds(feeds)
