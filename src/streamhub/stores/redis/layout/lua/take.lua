-- Take the end of a stream for a worker; a stream that lost its producer is ended by that.
-- KEYS: meta, chunks, ends of the stream
-- ARGV: feed, worker, lease ms, ms after which a lost stream is ended, live channel ('' for one that
--       was set aside), fields that are wanted …
-- Answers: gone | none | later, ms | taken, attempt, now, when it ended, [value of each field, …]
local meta, chunks, ends, live = KEYS[1], KEYS[2], KEYS[3], ARGV[5]
local feed, worker, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
local now = now_ms()
local record = load(meta)
if not record then
  return {'gone'}
elseif not record.ours then
  return {'none'}
end
if not record.done then
  -- What was set aside was replaced: its producer cannot go on.
  local aside = live == ''
  if not aside and record.lease > now then
    return {'later', int(record.lease - now + tonumber(ARGV[4]))}
  end
  local since = record.lease
  if since == 0 then
    since = number(redis.call('HGET', meta, 'left')) or 0
  end
  -- Nobody continues one whose cancel was asked for.
  local left = since + tonumber(ARGV[4]) - now
  if not aside and not record.cancelling and left > 0 then
    return {'later', int(left)}
  end
  finish(meta, chunks, live, record, 'lost', '', kept_ms(meta))
end
local state = end_state(ends, feed, record.gen)
  or {generation = record.gen, state = 'new', worker = '', ['until'] = 0, attempts = 0, error = ''}
if state.state == 'done' or state.state == 'dead' then
  return {'none'}
end
if state.state ~= 'held' or state.worker ~= worker then
  if state['until'] > now then
    return {'later', int(state['until'] - now)}
  end
  state.state, state.worker, state.attempts = 'held', worker, state.attempts + 1
end
state['until'] = now + lease_ms
touch(meta)
set_end_state(meta, ends, feed, state)
local ended = redis.call('HGET', meta, 'ended') or int(now)
return {'taken', state.attempts, int(now), ended, redis.call('HMGET', meta, unpack(ARGV, 6))}
