-- Store chunks of one or more sessions: each after its `base`. Renew the lease if a quarter of it has
-- passed, tell the live channel.
-- KEYS: of each session: meta, chunks
-- ARGV: lease ms, ttl ms; then of each session: generation, base, bytes of the epoch afterwards,
--       chunks (msgpack: an array of data, or of [data, event]), live channel
-- Answers: of each session: last | cancelling, last | behind, last | gone | fenced, generation |
--          over, outcome | an error

local now, lease_text, ttl_ms = now_ms(), ARGV[1], ARGV[2]
local lease_ms = tonumber(lease_text)

local function append(meta, chunks, gen, base_text, bytes, packed, live)
  local base = tonumber(base_text)
  local record = load(meta)
  local no = refusal(record, gen)
  if no then
    return no
  elseif not whole(chunks, record.last) then
    return {'gone'}
  elseif record.last < base then
    return {'behind', int(record.last)}
  end

  local items = cmsgpack.unpack(packed)
  local last = base + #items
  if last <= record.last then
    -- One that was still on its way when the claim was given up must not revive it.
    if record.lease ~= 0 then
      extend(meta, chunks, lease_ms, ttl_ms)
    end
    return stored(record, record.last)
  end
  local id = record.epoch_text .. '-%d'
  local pcall, format, type = redis.pcall, string.format, type
  for offset = record.last + 1, last do
    local item = items[offset - base]
    local entry = format(id, offset)
    local added
    if type(item) == 'table' then
      added = pcall('XADD', chunks, entry, 'd', item[1], 'e', item[2])
    else
      added = pcall('XADD', chunks, entry, 'd', item)
    end
    if added ~= entry then
      if offset > record.last + 1 then
        redis.call('PEXPIRE', chunks, ttl_ms)
      elseif string.find(added.err, 'equal or smaller', 1, true) then
        return {'gone'}
      end
      -- Nothing is written where nothing was: a script that has written may exceed `maxmemory`.
      return added
    end
  end
  if record.lease ~= 0 and record.lease < now + 0.75 * lease_ms then
    extend(meta, chunks, lease_ms, ttl_ms, 'last', last, 'bytes', bytes)
  else
    if record.last == 0 then
      -- The log is new.
      redis.call('PEXPIRE', chunks, ttl_ms)
    end
    redis.call('HSET', meta, 'last', last, 'bytes', bytes)
  end
  -- Chunks are told last: they must be stored first, and are, if this fails.
  tell(live, table.concat({'a', record.epoch_text, base_text, lease_text, packed}, ' '))
  return stored(record, last)
end

-- What is wrong with one session is its own answer. Before Redis 7.0 an error is a text.
local answers = {}
for i = 1, #KEYS / 2 do
  local done, answer = pcall(append, KEYS[2 * i - 1], KEYS[2 * i], unpack(ARGV, 5 * i - 2, 5 * i + 2))
  answers[i] = (done or type(answer) == 'table') and answer or {err = 'ERR ' .. answer}
end
return answers
