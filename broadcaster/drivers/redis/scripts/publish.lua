-- Publishes messages of ONE channel, in order, each at most once.
--
-- KEYS
--   1  hash    position: o offset of the last event, i its id, p its predecessor's id;
--              history: b its bytes, n its length, u when upkeep was last done (ms)
--   2  list    history: whole envelopes, oldest first
--   3  string  last envelope of a cache channel (untouched for others); history.missed may
--              have left its mark there, which the envelope overwrites
--   4..        string, one per message: mark of that event id
-- ARGV
--   1  topic          pub/sub channel
--   2  events         history: envelopes kept, 0 keeps none
--   3  bytes          history: bytes kept (one envelope over the limit is kept alone)
--   4  seconds        history: age kept
--   5  dedupe         seconds a repeat is recognised
--   6  meta           seconds a quiet channel remembers its position
--   7  cache          seconds a cached event is kept, 0 for channels without cache
--   8..               three per message: event id (16 bytes), flags, tail (what follows the
--                     predecessor's id in an envelope)
-- Reply: list of offsets, one per message; 0 for a repeat.
-- Expiry: this script sets all of it, and history.touch renews key 1. Upkeep (dropping what
-- is too old, renewing expiry) is done once a second and channel: it costs as much as the rest.
--
-- Redis does not roll back a script that stops half-way, so the order is the protocol:
-- position, history, cache, PUBLISH, and the mark LAST. What a repeat finds, and does:
--   mark                        everything was done: nothing
--   position names its id       some of it was done: the same envelope position again, history
--                               only if it is not there; readers drop what they have seen
--   neither                     nothing was done, or others were published since: a new event
local meta, list, cache = KEYS[1], KEYS[2], KEYS[3]
local topic = ARGV[1]
local max_events, max_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
local cache_seconds = tonumber(ARGV[7])
local NO_ID = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local known = redis.call('HMGET', meta, 'o', 'i', 'p', 'b', 'n', 'u')
local offset = tonumber(known[1] or 0)
local last, before_last = known[2] or NO_ID, known[3] or NO_ID
local bytes, count = tonumber(known[4] or 0), tonumber(known[5] or 0)
local upkeep_at = tonumber(known[6] or 0)
local upkeep = now >= upkeep_at + 1000 or now < upkeep_at

local function drop_oldest()
  local gone = redis.call('LPOP', list)
  if gone then
    count, bytes = count - 1, bytes - #gone
  else
    count = 0
  end
  if count == 0 then
    bytes = 0
  end
end

local function drop_old()
  local horizon = now - ARGV[4] * 1000
  count = redis.call('LLEN', list)
  while count > 0 and struct.unpack('>I8', redis.call('LINDEX', list, 0), 11) < horizon do
    drop_oldest()
  end
  if count == 0 then
    bytes = 0
  end
end

local function keep(id, envelope, resumed)
  if resumed then
    local tip = redis.call('LINDEX', list, -1)
    if tip and string.sub(tip, 19, 34) == id then
      return
    end
  end
  while count > 0 and (count >= max_events or bytes + #envelope > max_bytes) do
    drop_oldest()
  end
  count, bytes = count + 1, bytes + #envelope
  redis.call('HSET', meta, 'o', offset, 'i', last, 'p', before_last, 'b', bytes, 'n', count)
  local length = redis.call('RPUSH', list, envelope)
  if length ~= count then
    -- The list expired or was deleted, or an earlier call stopped half-way.
    count = length
    if length == 1 then
      bytes = #envelope
    end
    redis.call('HSET', meta, 'b', bytes, 'n', count)
    upkeep = true
  elseif length == 1 then
    -- The list is new: a list that becomes empty is deleted, and its expiry with it.
    upkeep = true
  end
end

local offsets = {}
local published = false
for index = 1, #KEYS - 3 do
  local mark = KEYS[index + 3]
  local at = 5 + index * 3
  local id = ARGV[at]
  if redis.call('EXISTS', mark) == 1 then
    offsets[index] = 0
  else
    if upkeep and not published and max_events > 0 then
      drop_old()
    end
    local resumed = id == last
    if not resumed then
      offset, before_last, last = offset + 1, last, id
    end
    local envelope = struct.pack('>BBI8I8', 1, ARGV[at + 1], offset, now)
      .. id .. before_last .. ARGV[at + 2]
    if max_events > 0 then
      keep(id, envelope, resumed)
    else
      redis.call('HSET', meta, 'o', offset, 'i', last, 'p', before_last, 'b', 0, 'n', 0)
    end
    if cache_seconds > 0 then
      redis.call('SET', cache, envelope, 'EX', cache_seconds)
    end
    redis.call('PUBLISH', topic, envelope)
    redis.call('SET', mark, offset, 'EX', ARGV[5])
    offsets[index] = offset
    published = true
  end
end
if published and upkeep then
  redis.call('HSET', meta, 'u', now)
  redis.call('EXPIRE', meta, ARGV[6])
  if max_events > 0 then
    redis.call('EXPIRE', list, ARGV[4] + 1)
  else
    redis.call('UNLINK', list)
  end
end
return offsets
