-- Give an end back: done, dead, again after a while, or so as if it was never handed out (back).
-- KEYS: meta, chunks, ends of the stream, meta of the session
-- ARGV: feed, worker, outcome, ms after which it comes again, error, the generation that has set the
--       stream aside ('' for the one that has the session)
-- Answers: 1 | 1, when the session is gone now that all are done with it, its owner ('=…' or '') |
--          0, the generations that have set something aside: it may be there by now
local meta, chunks, ends = KEYS[1], KEYS[2], KEYS[3]
local feed, worker, outcome, aside = ARGV[1], ARGV[2], ARGV[3], ARGV[6]
local f = redis.call('HMGET', meta, 'gen', 'feeds', 'asides', 'ended', 'keep', 'owner')
local gen = f[1]
if not gen then
  -- All were done with it, and its chunks are gone: for a moment it is known what was answered.
  local text = redis.call('HGET', ends, feed)
  gen = text and cjson.decode(text).generation
end
local state = gen and end_state(ends, feed, gen)
if not state or state.worker ~= worker then
  return {0, f[3] or ''}
elseif state.state ~= 'held' then
  return state.state == outcome and {1} or {0, ''}
end
touch(meta)
if outcome == 'back' then
  state.attempts = state.attempts - 1
end
state.state, state['until'], state.error = outcome, now_ms() + tonumber(ARGV[4]), ARGV[5]
set_end_state(meta, ends, feed, state)
if is_awaited(ends, gen, (f[2] or '') .. ' ' .. feed) then
  return {1}
end

-- All are done with it.
local MOMENT_MS = 60000
local left = (number(f[4]) or now_ms()) + (number(f[5]) or KEPT_MS) - now_ms()
if aside ~= '' or left <= 0 then
  redis.call('UNLINK', meta, chunks)
  redis.call('PEXPIRE', ends, MOMENT_MS)
else
  for _, key in ipairs({meta, chunks, ends}) do
    if redis.call('PTTL', key) > left then
      redis.call('PEXPIRE', key, int(left))
    end
  end
end
if aside ~= '' then
  local others = {}
  for one in string.gmatch(redis.call('HGET', KEYS[4], 'asides') or '', '%S+') do
    if one ~= aside then
      others[#others + 1] = one
    end
  end
  if #others > 0 then
    redis.call('HSET', KEYS[4], 'asides', table.concat(others, ' '))
  else
    redis.call('HDEL', KEYS[4], 'asides')
  end
  return {1}
end
return {1, int(now_ms() + math.max(left, 0)), f[6] and '=' .. f[6] or ''}
