-- List an end among those that a feed gives up.
-- KEYS: what the feed has given up
-- ARGV: member, ms for which it is listed
-- Answers: 1
local dead, now = KEYS[1], now_ms()
redis.call('ZREMRANGEBYSCORE', dead, '-inf', int(now))
redis.call('ZADD', dead, 'GT', int(now + tonumber(ARGV[2])), ARGV[1])
live_for(dead, tonumber(ARGV[2]))
return 1
