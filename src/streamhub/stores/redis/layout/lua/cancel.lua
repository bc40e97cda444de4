-- Ask for the cancel of one stream of the session.
-- KEYS: meta, chunks
-- ARGV: epoch ('' for a session of the Go library), generation, reason, live
--       channel, cancel channel
-- Answers: none | over, outcome | active
-- A lost session is ended as cancelled, one that a feed has ended as lost included.
local meta, chunks, live, channel = KEYS[1], KEYS[2], ARGV[4], ARGV[5]
local record = load(meta)
if not record then
  return {'none'}
elseif record.ours then
  if int(record.epoch) ~= ARGV[1] then
    return {'none'}
  end
elseif ARGV[1] ~= '' or record.gen ~= ARGV[2] then
  return {'none'}
end
if record.done and not (record.ours and record.outcome == 'lost') then
  if not record.ours then
    record.outcome = record.cancelling and 'cancelled' or 'finished'
  end
  return {'over', record.outcome}
end
touch(meta)
if record.ours then
  if record.reason == '' and ARGV[3] ~= '' then
    redis.call('HSET', meta, 'reason', ARGV[3])
    record.reason = ARGV[3]
  end
  if record.done or record.lease <= now_ms() then
    record.cancelling = true
    -- What has ended before is kept as long as before: who has done that end has nothing to do.
    local ttl = record.done and redis.call('PTTL', meta) or 0
    return finish(meta, chunks, live, record, 'cancelled', record.reason,
      ttl > 0 and ttl or kept_ms(meta))
  end
end
redis.call('HSET', meta, 'cancel', '1')
tell_producer(channel, record)
return {'active'}
