-- What every script begins with; `sharded` stands in front of it. Times are milliseconds of the
-- server's clock. Channels are arguments, not keys: while a cluster moves their slot, a script whose
-- keys are not all there is refused.

-- How long a session is kept whose record does not say it any more.
local KEPT_MS = 3600000

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Lua would write large numbers as 1.7e+12.
local function int(number)
  return string.format('%.0f', number)
end

-- A number of a record; nil where there is none, or none that a script can count on from.
local function number(text)
  local found = tonumber(text)
  if found and found >= 0 and found < 1e15 and found % 1 == 0 then
    return found
  end
end

-- The newest term that was removed, 0 if none was; nil if the tombstone is damaged. One of the year
-- 5138 is: a claim that came after it would soon be beyond what a number can be.
local function newest_removed(removed)
  local newest = 0
  local terms = redis.pcall('HVALS', removed)
  if terms.err and string.find(terms.err, 'WRONGTYPE', 1, true) then
    return nil
  elseif terms.err then
    error(terms.err)
  end
  for _, text in ipairs(terms) do
    local term = number(text)
    if not term or term > 1e14 then
      return nil
    end
    newest = math.max(newest, term)
  end
  return newest
end

-- Whether these are the terms of a log, as scripts write them: each as `term-base`, both growing.
local function are_terms(text)
  local written, last_term, last_base = {}, 0, -1
  for term, base in string.gmatch(text or '', '(%d+)-(%d+)') do
    written[#written + 1] = term .. '-' .. base
    term, base = number(term), number(base)
    if not term or not base or term <= last_term or base <= last_base or (#written == 1 and base > 0)
    then
      return false
    end
    last_term, last_base = term, base
  end
  return #written > 0 and table.concat(written, ' ') == text
end

-- The session's record; nil if there is none. `ours` tells a claim of streamhub-llm from one of
-- the Go library, which leaves our fields as they are. Raises where a field of ours is damaged:
-- nothing may be concluded from it.
local function load(meta)
  local f = redis.call('HMGET', meta, 'gen', 'status', 'claim', 'epoch', 'last', 'lease', 'cancel',
    'term', 'terms', 'granted')
  if not f[1] and not f[2] then
    return nil
  end
  local record = {
    gen = f[1] or '', done = f[2] == 'done', ours = f[3] and f[3] == f[1], last = 0,
    cancelling = f[7] == '1', reason = '',
  }
  if record.ours then
    record.epoch, record.last = number(f[4]), number(f[5])
    record.term, record.terms = number(f[8]), f[9]
    record.written = {epoch = f[4], term = f[8]}
    record.lease = not record.done and number(f[6]) or nil
    if not (record.epoch and record.last and record.term and are_terms(record.terms)
      and (record.done or record.lease))
    then
      error('damaged record')
    end
    if record.lease then
      -- The clock went back since it was written: it holds for as long as it was granted for.
      local latest = now_ms() + (number(f[10]) or 0)
      if record.lease > latest then
        record.lease = latest
        redis.call('HSET', meta, 'lease', int(latest))
      end
    end
  end
  if record.done or record.cancelling then
    f = redis.call('HMGET', meta, 'outcome', 'reason')
    record.outcome, record.reason = f[1] or 'finished', f[2] or ''
  end
  return record
end

-- The terms of a log, each as `term-base`, that goes on after `last`. Those that wrote nothing
-- leave no trace.
local function continued(terms, term, last)
  local wrote = {}
  for before, base in string.gmatch(terms, '(%d+)-(%d+)') do
    if tonumber(base) < last then
      wrote[#wrote + 1] = before .. '-' .. base
    end
  end
  wrote[#wrote + 1] = int(term) .. '-' .. int(last)
  return table.concat(wrote, ' ')
end

-- The term that wrote the chunk at the offset `last`; the epoch, where there is none.
local function term_at(epoch, terms, last)
  local found = epoch
  for term, base in string.gmatch(terms, '(%d+)-(%d+)') do
    if tonumber(base) < last then
      found = term
    end
  end
  return found
end

-- Whether the log holds exactly the chunks 1 to last.
local function whole(chunks, last)
  return redis.call('XLEN', chunks) == last
end

-- Why the generation may not write: an answer for its producer; nil if it may.
local function refusal(record, gen)
  if not record then
    return {'gone'}
  elseif record.gen ~= gen then
    return {'fenced', record.gen}
  elseif record.done then
    return {'over', record.outcome}
  end
  return nil
end

-- What the producer is told who wrote something.
local function stored(cancelling, last)
  return cancelling and {'cancelling', int(last)} or last
end

-- Messages of a sharded channel stay with the nodes that have its slot. Redis knows them since 7.0.
local function tell(channel, message)
  if sharded then
    local told = redis.pcall('SPUBLISH', channel, message)
    if type(told) ~= 'table' then
      return
    elseif not string.find(told.err, 'nknown Redis command', 1, true) then
      redis.call('SPUBLISH', channel, message)
    end
  end
  redis.call('PUBLISH', channel, message)
end

-- A producer of the Go library listens to a channel that is not sharded.
local function tell_producer(channel, record)
  if record.ours then
    tell(channel, record.gen)
  else
    redis.call('PUBLISH', channel, record.gen)
  end
end

-- Nothing is rolled back when a command is refused, so that each script first makes a write that
-- changes nothing: it raises where none are taken. Only then is the live channel told, which a user
-- may lack the right to; nobody sees the message before the script is done.

-- For what needs memory. Where there is a log, it is refused for that alone.
local function probe(chunks)
  local refused = redis.pcall('SETRANGE', chunks, 0, '')
  if type(refused) == 'table' and not string.find(refused.err, 'WRONGTYPE', 1, true) then
    redis.call('SETRANGE', chunks, 0, '')
  end
end

-- For what a Redis that is out of memory must take all the same: once a script has written, it does.
local function touch(meta)
  local ttl = redis.call('PTTL', meta)
  if ttl > 0 then
    redis.call('PEXPIRE', meta, ttl)
  else
    redis.call('PERSIST', meta)
  end
end

-- With a lease of 0 the claim is given up for good. Further fields are written with it.
local function extend(meta, chunks, lease_ms, ttl_ms, ...)
  redis.call('PEXPIRE', meta, ttl_ms)
  redis.call('PEXPIRE', chunks, ttl_ms)
  if lease_ms > 0 then
    redis.call('HSET', meta, 'lease', int(now_ms() + lease_ms), 'granted', int(lease_ms), ...)
  else
    redis.call('HSET', meta, 'lease', '0', 'left', int(now_ms()), ...)
  end
end

-- For how long a session is kept after its end as long as a feed has not done it.
local function kept_ms(meta)
  local f = redis.call('HMGET', meta, 'keep', 'unsaved')
  return math.max(number(f[1]) or KEPT_MS, number(f[2]) or 0)
end

-- A cancel that was asked for before the end decides how it ends. Nobody follows what is set aside:
-- it has no live channel.
local function finish(meta, chunks, live, record, outcome, reason, retention_ms)
  if record.cancelling then
    outcome, reason = 'cancelled', record.reason
  end
  touch(meta)
  if live ~= '' then
    tell(live,
      table.concat({'e', int(record.term), int(record.last), outcome, reason}, ' '))
  end
  redis.call('HSET', meta, 'status', 'done', 'outcome', outcome, 'error', reason,
    'ended', int(now_ms()))
  redis.call('HDEL', meta, 'lease')
  redis.call('PEXPIRE', meta, retention_ms)
  redis.call('PEXPIRE', chunks, retention_ms)
  return {'over', outcome}
end

local function tell_claimed(live, term, last, lease_ms, gen)
  tell(live,
    table.concat({'c', int(tonumber(term)), int(last), int(lease_ms), gen}, ' '))
end

-- Keys of the index, and what is set aside, live for so long at least.
local function live_for(key, ms)
  local ttl = redis.call('PTTL', key)
  if ttl ~= -2 and ttl < ms then
    redis.call('PEXPIRE', key, int(ms))
  end
end

-- A feed that nobody has opened for a week is forgotten.
local FORGOTTEN_MS = 7 * 24 * 3600000

-- A feed that nobody has asked for so long has lost what is overdue.
local UNREAD_MS = 3600000

-- The feeds that are known, each with the ms for which it has ends kept, in order of their names.
local function known_feeds(feeds)
  local all, found = redis.call('HGETALL', feeds), {}
  for i = 1, #all, 2 do
    local unsaved, opened = string.match(all[i + 1], '^(%d+) (%d+) ')
    if unsaved and tonumber(opened) > now_ms() - FORGOTTEN_MS then
      found[#found + 1] = all[i] .. ' ' .. unsaved
    end
  end
  table.sort(found)
  return table.concat(found, ' ')
end

-- The keys of the index from the position `first` on: all sessions, feeds; the sessions of an owner,
-- if there is one; the schedules, of which there are `count`. Answers the sets of sessions, the
-- schedules, and the feeds that are known.
local function shelves(first, count)
  local sets, schedules = {KEYS[first]}, {}
  for i = first + 2, #KEYS do
    local list = i <= #KEYS - count and sets or schedules
    list[#list + 1] = KEYS[i]
  end
  return sets, schedules, known_feeds(KEYS[first + 1])
end

-- A few whose time is over go with each that comes: nobody has to look at their sessions.
local DROPPED_AT_ONCE = 8
local function drop_old(key, latest)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', int(latest), 'LIMIT', 0,
    DROPPED_AT_ONCE))
  do
    redis.call('ZREM', key, old)
  end
end

-- An entry that was handed out must be told from one that was put on since.
local function put_on(schedule, member, at, if_missing)
  if if_missing then
    redis.call('ZADD', schedule, 'NX', int(at), member)
  else
    if tonumber(redis.call('ZSCORE', schedule, member) or '') == at then
      at = at + 1
    end
    redis.call('ZADD', schedule, int(at), member)
  end
end

-- Put a session into sets of the index for as long as it `stays_ms` at least, and on schedules, where
-- it is due in `due_ms`. `aside` is the generation that may set aside what was there, or ''.
-- An entry of the index is put on again before its time is over as long as its session may live, so
-- that one whose time is over is of a session that is gone. So is what is overdue on a schedule for as
-- long: nobody reads that feed, and who comes back to it is given the whole index.
local function enlist(now, sets, schedules, id, aside, due_ms, stays_ms, if_missing, hastened)
  for _, key in ipairs(sets) do
    redis.call('ZADD', key, 'GT', int(now + stays_ms), id)
    drop_old(key, now)
    live_for(key, stays_ms)
  end
  for _, key in ipairs(schedules) do
    drop_old(key, now - math.max(stays_ms, UNREAD_MS))
    if aside == '' or not hastened then
      put_on(key, id, now + due_ms, if_missing)
    end
    if aside ~= '' then
      -- Nothing is looked for there before the claim has had its time, unless it tells.
      put_on(key, id .. '\n' .. aside, now + (hastened and due_ms or 2 * due_ms + 60000), if_missing)
    end
    live_for(key, math.max(FORGOTTEN_MS, stays_ms))
  end
end

-- What has become of the end of a generation in one feed; nil if nothing has yet.
local function end_state(ends, feed, gen)
  local text = redis.call('HGET', ends, feed)
  if not text then
    return nil
  end
  local readable, state = pcall(cjson.decode, text)
  if not readable or type(state) ~= 'table' then
    error('damaged record')
  end
  if state.generation == gen then
    return state
  end
end

local function set_end_state(meta, ends, feed, state)
  redis.call('HSET', ends, feed, cjson.encode(state))
  local ttl = redis.call('PTTL', meta)
  if ttl > 0 then
    redis.call('PEXPIRE', ends, ttl)
  else
    redis.call('PEXPIRE', ends, KEPT_MS)
  end
end

-- Each field as it is given; one that is empty is not there.
local function set_fields(meta, fields)
  for field, value in pairs(fields) do
    if value ~= '' then
      redis.call('HSET', meta, field, value)
    else
      redis.call('HDEL', meta, field)
    end
  end
end

-- Whether a feed has not done the end of the generation yet. Supervisors have nothing to do with it.
local function is_awaited(ends, gen, names)
  for name in string.gmatch(names, '%S+') do
    if string.sub(name, 1, 1) ~= ':' then
      local state = end_state(ends, name, gen)
      if not state or state.state ~= 'done' then
        return true
      end
    end
  end
  return false
end

-- A stream that is replaced is kept for the feeds that have not done its end, those among `names`
-- included: its keys take the name of the generation that replaces it. Answers whether it was, and
-- the generations for which something of this session was set aside before or now.
local MOST_ASIDE = 100
local function set_aside(record, from, to, gen, names, unsaved_ms)
  local f = redis.call('HMGET', from.meta, 'feeds', 'unsaved', 'asides', 'ended')
  local asides, wanted, seen = f[3] or '', {}, {}
  for name in string.gmatch((f[1] or '') .. ' ' .. names, '%S+') do
    if not seen[name] then
      seen[name], wanted[#wanted + 1] = true, name
    end
  end
  wanted = table.concat(wanted, ' ')
  if not record.ours or not is_awaited(from.ends, record.gen, wanted) then
    return false, asides
  end
  local kept = math.max(kept_ms(from.meta), unsaved_ms)
  local left = (number(f[4]) or now_ms()) + kept - now_ms()
  for kind, key in pairs(from) do
    if redis.call('EXISTS', key) == 1 then
      redis.call('RENAME', key, to[kind])
      live_for(to[kind], math.max(left, 1))
    end
  end
  redis.call('HSET', to.meta, 'feeds', wanted, 'unsaved', int(kept))
  local all = {}
  for one in string.gmatch(asides .. ' ' .. gen, '%S+') do
    all[#all + 1] = one
  end
  return true, table.concat(all, ' ', math.max(1, #all - MOST_ASIDE + 1))
end
