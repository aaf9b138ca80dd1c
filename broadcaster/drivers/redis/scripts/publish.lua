-- Publishes messages of ONE channel, in order, each at most once.
--
-- KEYS
--   1  hash    position: o offset of the last event, i its id, p its predecessor's id,
--              b bytes in the history list
--   2  list    history: whole envelopes, oldest first
--   3  string  last envelope of a cache channel (untouched for others)
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
-- Expiry: this script sets all of it, and history.touch renews key 1.
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
local NO_ID = string.rep('\0', 16)

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local horizon = now - ARGV[4] * 1000

local known = redis.call('HMGET', meta, 'o', 'i', 'p', 'b')
local offset = tonumber(known[1] or 0)
local last, before_last = known[2] or NO_ID, known[3] or NO_ID
local bytes = tonumber(known[4] or 0)
local count = nil

-- Milliseconds at which the oldest kept envelope was published.
local function oldest()
  return struct.unpack('>I8', redis.call('LINDEX', list, 0), 11)
end

local function make_room(size)
  if count == nil then
    count = redis.call('LLEN', list)
  end
  while count > 0
    and (count >= max_events or bytes + size > max_bytes or oldest() < horizon) do
    bytes = bytes - #redis.call('LPOP', list)
    count = count - 1
  end
  if count == 0 then
    bytes = 0
  end
end

local offsets = {}
local published = false
for index = 1, #KEYS - 3 do
  local mark = KEYS[index + 3]
  local at = 8 + (index - 1) * 3
  local id, flags, tail = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if redis.call('EXISTS', mark) == 1 then
    offsets[index] = 0
  else
    local resumed = id == last
    if not resumed then
      offset, before_last, last = offset + 1, last, id
    end
    local envelope = struct.pack('>BBI8I8', 1, flags, offset, now) .. id .. before_last .. tail
    local kept = max_events == 0
    if resumed and not kept then
      local tip = redis.call('LINDEX', list, -1)
      kept = tip and string.sub(tip, 19, 34) == id
    end
    if not kept then
      make_room(#envelope)
      bytes = bytes + #envelope
    elseif max_events == 0 and bytes > 0 then
      redis.call('UNLINK', list)
      bytes = 0
    end
    redis.call('HSET', meta, 'o', offset, 'i', last, 'p', before_last, 'b', bytes)
    if not kept then
      count = redis.call('RPUSH', list, envelope)
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
if published then
  redis.call('EXPIRE', meta, ARGV[6])
  if max_events > 0 then
    redis.call('EXPIRE', list, ARGV[4])
  end
end
return offsets
