-- Say how many follow the session in one hub.
-- KEYS: meta
-- ARGV: the hub, how many, for how many ms that holds
-- Answers: 1 | 0: there is no session, or it is one of the Go library
local meta, hub, now = KEYS[1], ARGV[1], now_ms()
local f = redis.call('HMGET', meta, 'gen', 'claim', 'followers')
if not f[1] or f[1] ~= f[2] then
  return 0
end
local all = {table.concat({hub, ARGV[2], int(now), ARGV[3]}, ' ')}
for other, count, said, lasts in string.gmatch(f[3] or '', '(%w+) (%d+) (%d+) (%d+)') do
  -- Whichever way the clock went since, it is over some time.
  if other ~= hub and math.abs(now - tonumber(said)) < tonumber(lasts) then
    all[#all + 1] = table.concat({other, count, said, lasts}, ' ')
  end
end
redis.call('HSET', meta, 'followers', table.concat(all, ';'))
return 1
