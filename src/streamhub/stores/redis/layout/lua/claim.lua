-- Claim a session that is unknown, ended or lost; with the takeover 'resume' one that is lost.
-- KEYS: meta, chunks, removed, ends; meta, chunks and ends of a stream that this claim sets aside;
--       on one server also those of the index, as `enlist` has them
-- ARGV: generation, takeover, lease ms, retention ms, owner, metadata (each of these two preceded
--       by '=' if given, else empty), live channel, request (as owner), '1' to refuse where the
--       session has another owner, the feeds that are known, the most ms for which one of them
--       keeps ends, host, the generation that is to be replaced (as owner, empty after '='
--       for none), traceparent (as owner); where there are keys of the index: the session's id, how many of them are
--       schedules, ms for which the session stays in the index at least
-- Answers: granted, epoch, terms, replaced ('' for none), owner ('=…'), created, bytes,
--          metadata ('=…'), request ('=…'), traceparent ('=…'), resumes, handovers, '1' if something was set aside |
--          refused | unknown | other feeds: those that are known
local meta, chunks, removed, live = KEYS[1], KEYS[2], KEYS[3], ARGV[7]
local FIRST_OF_INDEX = 8
local gen, takeover = ARGV[1], ARGV[2]
local lease_ms, retention_ms = tonumber(ARGV[3]), tonumber(ARGV[4])
local owner, metadata, request = ARGV[5], ARGV[6], ARGV[8]
local feeds, unsaved_ms = ARGV[10], tonumber(ARGV[11])
local own = {meta = meta, chunks = chunks, ends = KEYS[4]}
local aside = {meta = KEYS[5], chunks = KEYS[6], ends = KEYS[7]}
local ttl_ms = lease_ms + math.max(retention_ms, unsaved_ms)

local now = now_ms()
if KEYS[FIRST_OF_INDEX] then
  local sets, schedules, known = shelves(FIRST_OF_INDEX, tonumber(ARGV[16]))
  if known ~= feeds then
    return {'other feeds', known}
  end
  enlist(now, sets, schedules, ARGV[15], gen, lease_ms, tonumber(ARGV[17]))
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

local function given(value)
  return value and '=' .. value or ''
end

local function granted(epoch, terms, replaced, whose, created, bytes, about, asked, traced, resumes,
  handovers)
  return {'granted', int(epoch), terms, replaced, given(whose), int(created), int(bytes),
    given(about), given(asked), given(traced), int(resumes), int(handovers),
    tostring(redis.call('EXISTS', aside.meta))}
end

-- What a claim hands on that is there already. Raises where no producer could read it.
local function granted_again()
  local f = redis.call('HMGET', meta, 'epoch', 'terms', 'replaced', 'owner', 'created', 'bytes',
    'metadata', 'request', 'resumes', 'handovers', 'traceparent')
  local epoch, created, bytes = number(f[1]), number(f[5]), number(f[6])
  if not (epoch and are_terms(f[2]) and created and bytes and is_text(f[3] or '')
    and is_text(f[4] or '') and is_text(f[8] or '') and is_text(f[11] or ''))
  then
    error('damaged record')
  end
  return granted(epoch, f[2], f[3] or '', f[4], created, bytes, f[7], f[8], f[11], number(f[9]) or 0,
    number(f[10]) or 0)
end

local resumes, handed_over
if not old and (takeover == 'resume' or #ARGV[13] > 1) then
  return {'unknown'}
end
if old then
  if old.gen == gen and not old.done then
    set_fields(meta, {feeds = names, unsaved = unsaved})
    extend(meta, chunks, lease_ms, ttl_ms)
    return granted_again()
  elseif not old.done and (not old.ours or old.lease and old.lease > now) then
    return {'refused'}
  end
  if ARGV[13] ~= '' and ARGV[13] ~= '=' .. old.gen then
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
local kept = old and redis.call('HMGET', meta, 'owner', 'metadata', 'created', 'bytes',
  'request', 'resumes', 'handovers', 'asides', 'traceparent') or {}
local created, bytes = number(kept[3]), number(kept[4])
if takeover == 'continue' and not (is_text(kept[1] or '') and is_text(kept[5] or '')
    and is_text(kept[9] or ''))
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

local epoch, replaced, handovers = continues and old.epoch or term, old and old.gen or '', 0
resumes = resumes and (number(kept[6]) or 0) + 1 or 0
if resumes > 0 then
  handovers = (number(kept[7]) or 0) + (handed_over and 1 or 0)
end
local asides = ''
if continues then
  -- An end that nobody has done is superseded by that of this claim.
  redis.call('UNLINK', own.ends)
  redis.call('HDEL', meta, 'cancel', 'outcome', 'error', 'reason', 'ended', 'left', 'in_vain',
    'resumes', 'handovers', 'host', 'feeds', 'unsaved')
else
  if old and takeover == 'restart' then
    local _
    _, asides = set_aside(old, own, aside, gen, names, unsaved_ms)
  elseif old then
    asides = kept[8] or ''
  end
  redis.call('UNLINK', meta, chunks, own.ends)
  created, bytes = now, 0
end

-- What each chunk needs comes first: Redis searches a small hash from its beginning.
local fields = {'gen', gen, 'status', 'active', 'term', int(term), 'last', int(last),
  'lease', int(now + lease_ms), 'bytes', int(bytes), 'granted', int(lease_ms), 'claim', gen,
  'epoch', int(epoch), 'terms', terms, 'replaced', replaced, 'keep', int(retention_ms),
  'created', int(created)}
local function add(field, value)
  if value then
    fields[#fields + 1], fields[#fields + 2] = field, value
  end
  return value
end
local function given_or_kept(argument, found)
  return argument ~= '' and string.sub(argument, 2) or takeover == 'continue' and found
end
local whose = add('owner', given_or_kept(owner, kept[1]))
local about = add('metadata', given_or_kept(metadata, kept[2]))
local asked = add('request', given_or_kept(request, kept[5]))
local traced = add('traceparent', given_or_kept(ARGV[14], kept[9]))
add('asides', asides ~= '' and asides)
add('host', ARGV[12] ~= '' and ARGV[12])
add('feeds', names ~= '' and names)
add('unsaved', unsaved ~= '' and unsaved)
add('resumes', resumes > 0 and int(resumes))
add('handovers', resumes > 0 and int(handovers))
redis.call('HSET', meta, unpack(fields))
redis.call('PEXPIRE', meta, ttl_ms)
redis.call('PEXPIRE', chunks, ttl_ms)
return granted(epoch, terms, replaced, whose, created, bytes, about, asked, traced, resumes, handovers)
