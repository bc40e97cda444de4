-- Store chunks of one or more sessions: each after its `base`. Renew the lease if a quarter of it has
-- passed, tell the live channel.
-- KEYS: of each session: meta, chunks
-- ARGV: lease ms, ttl ms; then of each session: generation, and with it, each after a blank, the ids
--       of messages that leave the inbox together with this; what the live channel is told, in msgpack:
--       [term of the chunks as text, base, lease ms, bytes of the epoch afterwards as text,
--       [chunk, …]], a chunk being its data or [data, event]; live channel
-- Answers: of each session: last | cancelling, last | behind, last | holes | gone |
--          fenced, generation | over, outcome | an error
-- Lua hashes all of each string, and collects it as garbage: few are made, and short ones.

local now, lease_ms, ttl_ms = now_ms(), tonumber(ARGV[1]), ARGV[2]
local try_call, format, type, tonumber = redis.pcall, string.format, type, tonumber
local read = cmsgpack.unpack_limit

local function handle(meta, ids)
  local f = redis.call('HMGET', meta, 'inbox_messages', 'inbox_bytes')
  local waiting, size = tonumber(f[1]) or 0, tonumber(f[2]) or 0
  for id in string.gmatch(ids, '%S+') do
    local field = 'message:' .. id
    local stored_size = redis.call('HSTRLEN', meta, field)
    if stored_size > 0 then
      redis.call('HDEL', meta, field)
      waiting, size = waiting - 1, size - (stored_size - 1)
    end
  end
  redis.call('HSET', meta, 'inbox_messages', int(math.max(0, waiting)),
    'inbox_bytes', int(math.max(0, size)))
end

local function append(meta, chunks, gen, message, live)
  -- All five of the array, which begins after a byte that says so.
  local _, term, base, _, bytes, items = read(message, 5, 1)
  local f = redis.call('HMGET', meta, 'gen', 'status', 'term', 'last', 'lease', 'cancel')
  local stored_last, lease, cancelling, handled = base, tonumber(f[5]), false, nil
  -- Fast path of `load` and `refusal`: saves the making of a record wherever its producer has left
  -- all as it is now, which is nearly always. `claim` is not looked at: nobody else knows the
  -- generation.
  if not (f[1] == gen and f[2] == 'active' and f[3] == term and tonumber(f[4]) == base
    and lease and not f[6])
  then
    gen, handled = string.match(gen, '^(%S*)(.*)$')
    local record = load(meta)
    local no = refusal(record, gen)
    if no then
      return no
    end
    stored_last, lease, cancelling = record.last, record.lease, record.cancelling
    -- A log that was lost is put back under the terms that wrote it.
    if not string.find(' ' .. record.terms, ' ' .. term .. '-', 1, true) then
      return {'holes'}
    end
  end
  if not whole(chunks, stored_last) then
    return {'holes'}
  elseif stored_last < base then
    return {'behind', int(stored_last)}
  end

  local last = base + #items
  if last <= stored_last then
    -- One that was still on its way when the claim was given up must not revive it.
    if lease ~= 0 then
      extend(meta, chunks, lease_ms, ttl_ms)
    end
    if handled then
      handle(meta, handled)
    end
    return stored(cancelling, stored_last)
  end
  -- As text: Redis would write a number with 17 digits first.
  local last_text = format('%d', last)
  local id = last > stored_last + 1 and term .. '-%d'
  for offset = stored_last + 1, last do
    local item = items[offset - base]
    local entry = offset == last and term .. '-' .. last_text or format(id, offset)
    local added
    if type(item) == 'table' then
      added = try_call('XADD', chunks, entry, 'd', item[1], 'e', item[2])
    else
      added = try_call('XADD', chunks, entry, 'd', item)
    end
    if added ~= entry then
      if offset > stored_last + 1 then
        redis.call('PEXPIRE', chunks, ttl_ms)
      elseif string.find(added.err, 'equal or smaller', 1, true) then
        return {'holes'}
      end
      -- Nothing is written where nothing was: a script that has written may exceed `maxmemory`.
      return added
    end
  end
  if lease ~= 0 and (lease < now + 0.75 * lease_ms or lease > now + lease_ms) then
    extend(meta, chunks, lease_ms, ttl_ms, 'last', last_text, 'bytes', bytes)
  else
    if stored_last == 0 then
      -- The log is new.
      redis.call('PEXPIRE', chunks, ttl_ms)
    end
    redis.call('HSET', meta, 'last', last_text, 'bytes', bytes)
  end
  if handled then
    handle(meta, handled)
  end
  -- Chunks are told last: they must be stored first, and are, if this fails.
  tell(live, message)
  return stored(cancelling, last)
end

-- What is wrong with one session is its own answer. Before Redis 7.0 an error is a text.
local answers = {}
for i = 1, #KEYS / 2 do
  local done, answer = pcall(append, KEYS[2 * i - 1], KEYS[2 * i], unpack(ARGV, 3 * i, 3 * i + 2))
  answers[i] = (done or type(answer) == 'table') and answer or {err = 'ERR ' .. answer}
end
return answers
