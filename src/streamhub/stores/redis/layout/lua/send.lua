-- Put a message into the inbox of one stream of the session.
-- KEYS: meta
-- ARGV: epoch ('' for a session of the Go library); a token of letters and digits, the same if this
--       is repeated; event type (maybe empty), NUL, data; how many messages may wait, and how many
--       bytes; inbox channel
-- Answers: sent, id | none | replaced, epoch | foreign | over, outcome | full, messages, bytes
local meta, token, message = KEYS[1], ARGV[2], ARGV[3]
local record = load(meta)
if not record then
  return {'none'}
elseif not record.ours then
  return {'foreign'}
elseif int(record.epoch) ~= ARGV[1] then
  return {'replaced', int(record.epoch)}
end
local f = redis.call('HMGET', meta, 'inbox', 'inbox_messages', 'inbox_bytes', 'inbox_sent')
local newest, waiting, bytes = number(f[1] or '0'), number(f[2] or '0'), number(f[3] or '0')
local sent = f[4] or ''
if not (newest and waiting and bytes) then
  error('damaged record')
end
local at = string.find(sent, '-' .. token .. ' ', 1, true)
local before = at and string.match(string.sub(sent, math.max(1, at - 15), at - 1), '%d+$')
if before then
  return {'sent', before .. '-' .. token}
elseif record.done then
  return {'over', record.outcome}
end
local size = #message - 1
if waiting >= tonumber(ARGV[4]) or bytes + size > tonumber(ARGV[5]) then
  return {'full', int(waiting), int(bytes)}
end
local id = int(newest + 1) .. '-' .. token
-- So long that it has a few hundred of them.
if #sent > 16384 then
  sent = string.sub(sent, string.find(sent, ' ', 4096, true) + 1)
end
redis.call('HSET', meta, 'message:' .. id, message, 'inbox', int(newest + 1),
  'inbox_messages', int(waiting + 1), 'inbox_bytes', int(bytes + size), 'inbox_sent', sent .. id .. ' ')
tell(ARGV[6], id)
return {'sent', id}
