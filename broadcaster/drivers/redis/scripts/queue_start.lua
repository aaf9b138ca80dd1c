-- The clock and the counts of a queue. Not a script of its own: this text stands in front of
-- queue_step, _push and _retry.
--
-- A stats key is a HASH of counts per 15 seconds of Redis time: a letter and the number of the
-- quarter minute -> jobs that became ready ("r"), were done ("d"), failed for good ("f").
-- What is older than an hour goes when a new quarter minute begins; of what became ready the
-- sums per quarter of an hour stay for a week ("R" and its number). Nothing expires by itself.

local BUCKET, BUCKETS, COARSE, WEEK = 15000, 240, 60, 672
local clock = redis.call('TIME')
local now_us = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local now = math.floor(now_us / 1000)

local function text(number) return string.format('%.0f', number) end

-- The moment at which `ms` have passed: rounded up, as `now` is rounded down, so that what is
-- due is never early.
local function after(ms) return math.ceil(now_us / 1000) + ms end

-- A number that was read: nil unless it is one that a script could have written.
local function whole(value)
  local number = tonumber(value)
  return number and number >= 0 and number < 9007199254740992 and number or nil
end

-- HINCRBY; what is there and is no number counts as nothing.
local function increase(key, field, by)
  local reply = redis.pcall('HINCRBY', key, field, by)
  if type(reply) == 'number' then return reply end
  redis.call('HSET', key, field, by)
  return by
end

local function tally(key, letter, number)
  if number == 0 then return end
  local bucket = math.floor(now / BUCKET)
  if increase(key, letter .. bucket, number) ~= number then return end
  local fields, old = redis.call('HKEYS', key), {}
  for i = 1, #fields do
    local kind, of = string.sub(fields[i], 1, 1), tonumber(string.sub(fields[i], 2)) or 0
    if kind == 'R' then
      if of < bucket / COARSE - WEEK then old[#old + 1] = fields[i] end
    elseif of <= bucket - BUCKETS then
      old[#old + 1] = fields[i]
      if kind == 'r' then
        increase(key, 'R' .. math.floor(of / COARSE), whole(redis.call('HGET', key, fields[i])) or 0)
      end
    end
  end
  for first = 1, #old, 4000 do
    redis.call('HDEL', key, unpack(old, first, math.min(first + 3999, #old)))
  end
end

