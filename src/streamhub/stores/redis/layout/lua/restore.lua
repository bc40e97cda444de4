-- Put back a claim that was lost, or mend a log with holes.
-- KEYS: meta, chunks, removed, ends; meta, chunks and ends of a stream that this sets aside
-- ARGV: generation, epoch, terms, replaced ('' for none), lease ms, retention ms,
--       owner ('=…' or ''), created, metadata ('=…' or ''), live channel,
--       request ('=…' or ''), resumes, handovers, the feeds that it was claimed under, the most ms
--       for which one of them keeps ends, host, traceparent ('=…' or ''); then of each message that the producer has not
--       handled: id; event type (maybe empty), NUL, data
-- Answers: restored, last | fenced, generation ('' if removed) | over, outcome
local meta, chunks, removed, live = KEYS[1], KEYS[2], KEYS[3], ARGV[10]
local FIRST_MESSAGE = 18
local gen, epoch, terms, replaced = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local term, base = string.match(terms, '(%d+)-(%d+)$')
base = tonumber(base)
local lease_ms = tonumber(ARGV[5])
local feeds, unsaved_ms = ARGV[14], tonumber(ARGV[15])
local ttl_ms = lease_ms + math.max(tonumber(ARGV[6]), unsaved_ms)

local record = load(meta)
if record then
  if record.gen ~= gen and (replaced == '' or record.gen ~= replaced) then
    return {'fenced', record.gen}
  elseif record.gen == gen and record.done then
    return {'over', record.outcome}
  end
end
if not record or record.gen ~= gen then
  -- Whoever claimed after a removal was given a later term: this one is removed, or older.
  local newest = newest_removed(removed)
  if not newest then
    error('damaged record')
  elseif tonumber(term) <= newest then
    return {'fenced', ''}
  end
end

-- Whether entries can be added to the log after the chunk `last`.
local function open_after(last)
  local stream = redis.pcall('XINFO', 'STREAM', chunks)
  if stream.err then
    return last == 0
  end
  for i = 1, #stream, 2 do
    if stream[i] == 'last-generated-id' then
      return stream[i + 1] == term_at(ARGV[2], terms, last) .. '-' .. int(last)
    end
  end
end

local function put_back_messages()
  local f = redis.call('HMGET', meta, 'inbox', 'inbox_sent', 'inbox_messages', 'inbox_bytes')
  local newest, sent, waiting, size = number(f[1]) or 0, f[2] or '', number(f[3]) or 0, number(f[4]) or 0
  for i = FIRST_MESSAGE, #ARGV, 2 do
    local id = ARGV[i]
    if redis.call('HEXISTS', meta, 'message:' .. id) == 0 then
      redis.call('HSET', meta, 'message:' .. id, ARGV[i + 1])
      waiting, size = waiting + 1, size + #ARGV[i + 1] - 1
    end
    if not string.find(sent, id .. ' ', 1, true) then
      sent = sent .. id .. ' '
    end
    newest = math.max(newest, tonumber(string.match(id, '^%d+')))
  end
  if #ARGV >= FIRST_MESSAGE then
    redis.call('HSET', meta, 'inbox', int(newest), 'inbox_sent', sent,
      'inbox_messages', int(waiting), 'inbox_bytes', int(size))
  end
end

-- The stream before had an inbox of its own.
local function empty_inbox()
  for _, field in ipairs(redis.call('HKEYS', meta)) do
    if string.find(field, '^inbox') or string.find(field, '^message:') then
      redis.call('HDEL', meta, field)
    end
  end
end

local last = 0
local kept = record and record.ours and record.epoch == epoch and whole(chunks, record.last)
  and open_after(record.last)
-- What the one before wrote where this generation has written since is not kept.
kept = kept and (record.gen == gen or record.last <= base)
if kept then
  last = record.last
end
if kept and record.gen == gen then
  extend(meta, chunks, lease_ms, ttl_ms, 'epoch', ARGV[2], 'term', term, 'terms', terms)
  put_back_messages()
  return {'restored', int(last)}
end
probe(chunks)
tell_claimed(live, term, last, lease_ms, gen)
if record and record.epoch ~= epoch then
  -- A failover lost the claim, and with it that something was set aside.
  local own = {meta = meta, chunks = chunks, ends = KEYS[4]}
  local aside = {meta = KEYS[5], chunks = KEYS[6], ends = KEYS[7]}
  local moved, asides = set_aside(record, own, aside, gen, feeds, unsaved_ms)
  if moved then
    redis.call('HSET', meta, 'asides', asides)
  end
end
if not kept then
  redis.call('UNLINK', chunks)
end
redis.call('HDEL', meta, 'outcome', 'error', 'owner', 'metadata', 'request', 'traceparent',
  'ended', 'left')
if record and record.gen ~= gen then
  -- That cancel was meant for the stream before.
  redis.call('HDEL', meta, 'cancel', 'reason')
end
redis.call('HSET', meta, 'status', 'active', 'gen', gen, 'claim', gen, 'epoch', ARGV[2],
  'last', int(last), 'term', term, 'terms', terms, 'replaced', replaced, 'keep', ARGV[6],
  'created', ARGV[8])
set_fields(meta, {host = ARGV[16], feeds = feeds,
  unsaved = unsaved_ms > 0 and int(unsaved_ms) or ''})
if record and record.epoch ~= epoch then
  empty_inbox()
end
put_back_messages()
if last == 0 then
  redis.call('HSET', meta, 'bytes', '0')
end
if ARGV[12] ~= '0' then
  redis.call('HSET', meta, 'resumes', ARGV[12], 'handovers', ARGV[13])
else
  redis.call('HDEL', meta, 'resumes', 'handovers')
end
if ARGV[7] ~= '' then
  redis.call('HSET', meta, 'owner', string.sub(ARGV[7], 2))
end
if ARGV[9] ~= '' then
  redis.call('HSET', meta, 'metadata', string.sub(ARGV[9], 2))
end
if ARGV[11] ~= '' then
  redis.call('HSET', meta, 'request', string.sub(ARGV[11], 2))
end
if ARGV[17] ~= '' then
  redis.call('HSET', meta, 'traceparent', string.sub(ARGV[17], 2))
end
extend(meta, chunks, lease_ms, ttl_ms)
return {'restored', int(last)}
