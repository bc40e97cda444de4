-- Store chunks of one or more sessions: each after its `base`. Renew the lease if a quarter of it has
-- passed, tell the live channel.
-- KEYS: of each session: meta, chunks
-- ARGV: lease ms, ttl ms; then of each session: generation, base, bytes of the epoch afterwards,
--       'a <epoch> <base> <lease ms> ' and the chunks (msgpack: an array of data, or of
--       [data, event]), which is what the live channel is told; live channel
-- Answers: of each session: last | cancelling, last | behind, last | gone | fenced, generation |
--          over, outcome | an error
-- Lua hashes all of each string, and collects it as garbage: few are made, and short ones.

local now, lease_text, ttl_ms = now_ms(), ARGV[1], ARGV[2]
local lease_ms = tonumber(lease_text)
local try_call, format, type, find = redis.pcall, string.format, type, string.find
local unpack_one = cmsgpack.unpack_one

local function append(meta, chunks, gen, base_text, bytes, message, live)
  local base = tonumber(base_text)
  local f = redis.call('HMGET', meta, 'gen', 'status', 'epoch', 'last', 'lease', 'cancel')
  local epoch, stored_last, lease, cancelling = f[3], base, tonumber(f[5]), false
  -- Nearly always all is as its producer left it, and the record need not be made. Whose generation
  -- it is has claimed it, too.
  if not (f[1] == gen and f[2] == 'active' and epoch and find(message, epoch, 3, true) == 3
    and f[4] == base_text and lease and not f[6])
  then
    local record = load(meta)
    local no = refusal(record, gen)
    if no then
      return no
    end
    epoch, stored_last, lease, cancelling =
      record.epoch_text, record.last, record.lease, record.cancelling
    if find(message, epoch, 3, true) ~= 3 then
      return {'gone'}
    end
  end
  if not whole(chunks, stored_last) then
    return {'gone'}
  elseif stored_last < base then
    return {'behind', int(stored_last)}
  end

  local _, items = unpack_one(message, #epoch + #base_text + #lease_text + 5)
  local last = base + #items
  if last <= stored_last then
    -- One that was still on its way when the claim was given up must not revive it.
    if lease ~= 0 then
      extend(meta, chunks, lease_ms, ttl_ms)
    end
    return stored(cancelling, stored_last)
  end
  -- As text: Redis would write a number with 17 digits first.
  local last_text = format('%d', last)
  local id = last > stored_last + 1 and epoch .. '-%d'
  for offset = stored_last + 1, last do
    local item = items[offset - base]
    local entry = offset == last and epoch .. '-' .. last_text or format(id, offset)
    local added
    if type(item) == 'table' then
      added = try_call('XADD', chunks, entry, 'd', item[1], 'e', item[2])
    else
      added = try_call('XADD', chunks, entry, 'd', item)
    end
    if added ~= entry then
      if offset > stored_last + 1 then
        redis.call('PEXPIRE', chunks, ttl_ms)
      elseif find(added.err, 'equal or smaller', 1, true) then
        return {'gone'}
      end
      -- Nothing is written where nothing was: a script that has written may exceed `maxmemory`.
      return added
    end
  end
  if lease ~= 0 and lease < now + 0.75 * lease_ms then
    extend(meta, chunks, lease_ms, ttl_ms, 'last', last_text, 'bytes', bytes)
  else
    if stored_last == 0 then
      -- The log is new.
      redis.call('PEXPIRE', chunks, ttl_ms)
    end
    redis.call('HSET', meta, 'last', last_text, 'bytes', bytes)
  end
  -- Chunks are told last: they must be stored first, and are, if this fails.
  tell(live, message)
  return stored(cancelling, last)
end

-- What is wrong with one session is its own answer. Before Redis 7.0 an error is a text.
local answers = {}
for i = 1, #KEYS / 2 do
  local done, answer = pcall(append, KEYS[2 * i - 1], KEYS[2 * i], unpack(ARGV, 5 * i - 2, 5 * i + 2))
  answers[i] = (done or type(answer) == 'table') and answer or {err = 'ERR ' .. answer}
end
return answers
