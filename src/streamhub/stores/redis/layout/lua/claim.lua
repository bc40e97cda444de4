-- Claim a session that is unknown, ended or lost; with the takeover 'resume' one that is lost.
-- KEYS: meta, chunks, removed, ends; meta, chunks and ends of a stream that this claim sets aside;
--       on one server also feeds and sessions of the index
-- ARGV: generation, takeover, lease ms, retention ms, owner, metadata (each of these two preceded
--       by '=' if given, else empty), live channel, request (as owner), '1' to refuse where the
--       session has another owner, the feeds that are known, the most ms for which one of them
--       keeps ends, the session's id, the latest ms at which its entry in the index may end, host
-- Answers: granted, epoch, terms, replaced ('' for none), owner ('=…'), created, bytes,
--          metadata ('=…'), request ('=…'), resumes, handovers, '1' if something was set aside |
--          refused | unknown | unlisted: the index must know of it first
local meta, chunks, removed, live = KEYS[1], KEYS[2], KEYS[3], ARGV[7]
local gen, takeover = ARGV[1], ARGV[2]
local lease_ms, retention_ms = tonumber(ARGV[3]), tonumber(ARGV[4])
local owner, metadata, request = ARGV[5], ARGV[6], ARGV[8]
local feeds, unsaved_ms = ARGV[10], tonumber(ARGV[11])
local own = {meta = meta, chunks = chunks, ends = KEYS[4]}
local aside = {meta = KEYS[5], chunks = KEYS[6], ends = KEYS[7]}
local ttl_ms = lease_ms + math.max(retention_ms, unsaved_ms)

local now = now_ms()
if KEYS[8] then
  -- Otherwise it was asked for in vain: a feed came, or the claim comes too late.
  local listed = tonumber(redis.call('ZSCORE', KEYS[9], ARGV[12]) or '0')
  if known_feeds(KEYS[8]) ~= feeds or listed < now + tonumber(ARGV[13]) then
    return {'unlisted'}
  end
end
-- Their names are all that the record needs.
local names = string.gsub(feeds, '(%S+) %d+', '%1')
local unsaved = unsaved_ms > 0 and int(unsaved_ms) or ''
local old = load(meta)

-- Whether it is UTF-8.
local function is_text(value)
  if not string.find(value, '[\128-\255]') then
    return true
  end
  for _, sequence in ipairs({'[\194-\223]#', '\224[\160-\191]#', '[\225-\236\238\239]##',
    '\237[\128-\159]#', '\240[\144-\191]##', '[\241-\243]###', '\244[\128-\143]##'}) do
    value = string.gsub(value, string.gsub(sequence, '#', '[\128-\191]'), ' ')
  end
  return not string.find(value, '[\128-\255]')
end

-- What the claim hands on. Raises where no producer could read it.
local function granted()
  local f = redis.call('HMGET', meta, 'epoch', 'terms', 'replaced', 'owner', 'created', 'bytes',
    'metadata', 'request', 'resumes', 'handovers')
  local epoch, created, bytes = number(f[1]), number(f[5]), number(f[6])
  if not (epoch and are_terms(f[2]) and created and bytes and is_text(f[3] or '')
    and is_text(f[4] or '') and is_text(f[8] or ''))
  then
    error('damaged record')
  end
  return {'granted', int(epoch), f[2], f[3] or '', f[4] and '=' .. f[4] or '', int(created),
    int(bytes), f[7] and '=' .. f[7] or '', f[8] and '=' .. f[8] or '',
    int(number(f[9]) or 0), int(number(f[10]) or 0), tostring(redis.call('EXISTS', aside.meta))}
end

local resumes, handed_over
if takeover == 'resume' and not old then
  return {'unknown'}
end
if old then
  if old.gen == gen and not old.done then
    set_fields(meta, {feeds = names, unsaved = unsaved})
    extend(meta, chunks, lease_ms, ttl_ms)
    return granted()
  elseif not old.done and (not old.ours or old.lease and old.lease > now) then
    return {'refused'}
  end
  if ARGV[9] == '1' then
    local holder = redis.call('HGET', meta, 'owner')
    if (holder and '=' .. holder or '') ~= owner then
      return {'refused'}
    end
  end
  -- A session of the Go library keeps the flag of a cancel and has no outcome of its own.
  if not old.ours then
    old.outcome = old.cancelling and 'cancelled' or 'finished'
  end
  if takeover == 'resume' then
    if not old.ours or old.done and old.outcome ~= 'lost' then
      return {'refused'}
    end
    handed_over = old.lease == 0 and not redis.call('HGET', meta, 'in_vain')
    takeover, resumes = 'continue', true
  end
  if takeover == 'continue' then
    if old.done and old.outcome == 'finished' then
      return {'refused'}
    elseif not old.done and old.cancelling then
      -- Its producer died before it could stop: the cancel is kept all the same.
      finish(meta, chunks, live, old, 'cancelled', old.reason, kept_ms(meta))
      return {'refused'}
    end
  end
end

-- What could not be handed on is refused before anything is written.
local newest = newest_removed(removed)
if not newest
  or old and (math.max(old.epoch or 0, old.term or 0) > 1e14 or not is_text(old.gen))
then
  error('damaged record')
end
local continues = old and old.ours and takeover == 'continue' and whole(chunks, old.last)
local kept = redis.call('HMGET', meta, 'owner', 'metadata', 'created', 'bytes',
  'request', 'resumes', 'handovers')
local created, bytes = number(kept[3]), number(kept[4])
if takeover == 'continue' and not (is_text(kept[1] or '') and is_text(kept[5] or ''))
  or continues and not (bytes and created and created <= 1e14)
then
  error('damaged record')
end
-- A term is the time, but never one that the session has had: clocks go back, and a millisecond is
-- long.
local term = math.max(now, newest + 1)
if old and old.term then
  term = math.max(term, old.term + 1)
end
local last = continues and old.last or 0
local terms = continued(continues and old.terms or '', term, last)
probe(chunks)
tell_claimed(live, term, last, lease_ms, gen)
local asides = redis.call('HGET', meta, 'asides') or ''

if continues then
  -- An end that nobody has done is superseded by that of this claim.
  redis.call('UNLINK', own.ends)
  redis.call('HDEL', meta, 'cancel', 'outcome', 'error', 'reason', 'ended', 'left')
  redis.call('HSET', meta, 'epoch', int(old.epoch), 'last', int(last), 'created', int(created),
    'bytes', int(bytes))
else
  if old and takeover == 'restart' then
    local _
    _, asides = set_aside(old, own, aside, gen, names, unsaved_ms)
  end
  redis.call('UNLINK', meta, chunks, own.ends)
  redis.call('HSET', meta, 'epoch', int(term), 'last', '0', 'bytes', '0', 'created', int(now))
  if takeover == 'continue' then
    for field, value in pairs({owner = kept[1], metadata = kept[2], request = kept[5]}) do
      if value then
        redis.call('HSET', meta, field, value)
      end
    end
  end
end
redis.call('HSET', meta, 'status', 'active', 'gen', gen, 'claim', gen, 'term', int(term),
  'terms', terms, 'replaced', old and old.gen or '', 'keep', int(retention_ms))
redis.call('HDEL', meta, 'in_vain')
if resumes then
  redis.call('HSET', meta, 'resumes', int((number(kept[6]) or 0) + 1),
    'handovers', int((number(kept[7]) or 0) + (handed_over and 1 or 0)))
else
  redis.call('HDEL', meta, 'resumes', 'handovers')
end
set_fields(meta, {asides = asides, host = ARGV[14], feeds = names, unsaved = unsaved})
if owner ~= '' then
  redis.call('HSET', meta, 'owner', string.sub(owner, 2))
end
if metadata ~= '' then
  redis.call('HSET', meta, 'metadata', string.sub(metadata, 2))
end
if request ~= '' then
  redis.call('HSET', meta, 'request', string.sub(request, 2))
end
extend(meta, chunks, lease_ms, ttl_ms)
return granted()
