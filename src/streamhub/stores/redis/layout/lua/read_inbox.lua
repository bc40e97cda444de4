-- The messages that wait for a generation, in order, and what it holds that the inbox does not.
-- KEYS: meta
-- ARGV: generation, how many messages at most, how many bytes at most; the ids that it holds
-- Answers: [id, message, …], [missing id, …], how many more wait; nothing of all this where the
--          claim does not stand
local meta = KEYS[1]
if refusal(load(meta), ARGV[1]) then
  return {{}, {}, 0}
end
local held = {}
for i = 4, #ARGV do
  held[ARGV[i]] = true
end
local waiting = {}
for _, field in ipairs(redis.call('HKEYS', meta)) do
  local id, written = string.match(field, '^message:((%d+)%-%w+)$')
  if id and held[id] then
    held[id] = nil
  elseif id then
    waiting[#waiting + 1] = {tonumber(written), id}
  end
end
table.sort(waiting, function(one, two)
  return one[1] < two[1] or one[1] == two[1] and one[2] < two[2]
end)
local found, bytes = {}, 0
for i = 1, math.min(#waiting, tonumber(ARGV[2])) do
  local id = waiting[i][2]
  bytes = bytes + redis.call('HSTRLEN', meta, 'message:' .. id)
  if i > 1 and bytes > tonumber(ARGV[3]) then
    break
  end
  found[#found + 1] = id
  found[#found + 1] = redis.call('HGET', meta, 'message:' .. id)
end
local missing = {}
for id in pairs(held) do
  missing[#missing + 1] = id
end
return {found, missing, #waiting - #found / 2}
