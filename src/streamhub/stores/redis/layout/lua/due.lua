-- Hand out streams that are due; each is due again after a while.
-- KEYS: feeds, the schedule of the feed
-- ARGV: feed, how many at most, ms after which they are due again
-- Answers: 1 if the feed is known, else 0; ms until the next one is due, -1 if there is none; when
--          those that are handed out are due again; member, …
local feeds, schedule, feed = KEYS[1], KEYS[2], ARGV[1]
local limit, now = tonumber(ARGV[2]), now_ms()
local again = int(now + tonumber(ARGV[3]))
local unsaved, opened, since = string.match(redis.call('HGET', feeds, feed) or '',
  '^(%d+) (%d+) %d+ (%d+)$')
if unsaved then
  redis.call('HSET', feeds, feed, table.concat({unsaved, opened, int(now), since}, ' '))
end
local found = {}
if limit > 0 then
  found = redis.call('ZRANGEBYSCORE', schedule, '-inf', int(now), 'LIMIT', 0, limit)
  for _, member in ipairs(found) do
    redis.call('ZADD', schedule, again, member)
  end
end
local next_one = redis.call('ZRANGE', schedule, 0, 0, 'WITHSCORES')
local rest = next_one[2] and math.max(0, math.ceil(tonumber(next_one[2]) - now)) or -1
return {unsaved and 1 or 0, rest, again, found}
