-- Claim a session that is unknown, ended or lost.
-- KEYS: meta, chunks, removed
-- ARGV: generation, takeover, lease ms, retention ms, owner, metadata (each of these two preceded
--       by '=' if given, else empty), live channel
-- Answers: granted, epoch, base, replaced ('' for none), owner ('=…'), created, bytes,
--          metadata ('=…') | refused
local meta, chunks, removed, live = KEYS[1], KEYS[2], KEYS[3], ARGV[7]
local gen, takeover = ARGV[1], ARGV[2]
local lease_ms, retention_ms = tonumber(ARGV[3]), tonumber(ARGV[4])
local owner, metadata = ARGV[5], ARGV[6]

local now = now_ms()
local old = load(meta)

local function granted()
  local f = redis.call('HMGET', meta, 'epoch', 'base', 'replaced', 'owner', 'created', 'bytes',
    'metadata')
  return {'granted', f[1], f[2], f[3] or '', f[4] and '=' .. f[4] or '', f[5], f[6],
    f[7] and '=' .. f[7] or ''}
end

if old then
  if old.gen == gen and not old.done then
    extend(meta, chunks, lease_ms, lease_ms + retention_ms)
    return granted()
  elseif not old.done and (not old.ours or old.lease and old.lease > now) then
    return {'refused'}
  end
  -- A session of the Go library keeps the flag of a cancel and has no outcome of its own.
  if not old.ours then
    old.outcome = old.cancelling and 'cancelled' or 'finished'
  end
  if takeover == 'continue' then
    if old.done and old.outcome == 'finished' then
      return {'refused'}
    elseif not old.done and old.cancelling then
      -- Its producer died before it could stop: the cancel is kept all the same.
      finish(meta, chunks, live, old, 'cancelled', old.reason, retention_ms)
      return {'refused'}
    end
  end
end

local continues = old and old.ours and takeover == 'continue' and whole(chunks, old.last)
local epoch, base = now, 0
if continues then
  epoch, base = old.epoch, old.last
else
  -- An epoch is the time, but never one that the session has had: clocks go back, and a
  -- millisecond is long.
  if old and old.epoch then
    epoch = math.max(epoch, old.epoch + 1)
  end
  for _, before in ipairs(redis.call('HVALS', removed)) do
    epoch = math.max(epoch, tonumber(before) + 1)
  end
end
probe(chunks)
tell_claimed(live, epoch, base, base, lease_ms, gen)

if continues then
  redis.call('HDEL', meta, 'cancel', 'outcome', 'error', 'reason')
else
  local kept = redis.call('HMGET', meta, 'owner', 'metadata')
  redis.call('UNLINK', meta, chunks)
  redis.call('HSET', meta, 'epoch', int(epoch), 'last', '0', 'bytes', '0', 'created', int(now))
  if takeover == 'continue' then
    for i, field in ipairs({'owner', 'metadata'}) do
      if kept[i] then
        redis.call('HSET', meta, field, kept[i])
      end
    end
  end
end
redis.call('HSET', meta, 'status', 'active', 'gen', gen, 'claim', gen, 'base', int(base),
  'replaced', old and old.gen or '', 'term', int(lease_ms), 'keep', int(retention_ms))
if owner ~= '' then
  redis.call('HSET', meta, 'owner', string.sub(owner, 2))
end
if metadata ~= '' then
  redis.call('HSET', meta, 'metadata', string.sub(metadata, 2))
end
extend(meta, chunks, lease_ms, lease_ms + retention_ms)
return granted()
