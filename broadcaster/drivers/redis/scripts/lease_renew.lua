-- Starts or extends the lease of one node in one epoch.
--
-- KEYS (slot {nodes})
--   1 nodes        ZSET    "node:epoch", scored by the Redis ms at which its lease ends
--   2 starts       HASH    "node:epoch" -> random text of the call that started the lease
--   3 incarnation  STRING  random text of the data set; set by whoever comes first
-- ARGV  1 "node:epoch"
--       2 length of a lease in ms
--       3 random text, in case this call starts the lease
--       4 random text of the start that the caller knows of, or the empty string
--       5 random text, in case there is no incarnation
-- Reply {until ms, known, start, incarnation, run_id}; `known` is 1 when this is the lease
--       that the caller knows of. An answer that was lost thus cannot hide that the lease
--       had been swept and was started again. A lease that has ended is not extended
--       (perhaps it is being swept): its old end comes back, and `known` is 0.
-- Expiry: none; lease_drop removes it

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local until_ms = now + tonumber(ARGV[2])

redis.call('SET', KEYS[3], ARGV[5], 'NX')
local incarnation = redis.call('GET', KEYS[3])
local run_id = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''

local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ends and tonumber(ends) <= now then
  return {tonumber(ends), 0, '', incarnation, run_id}
end
if not ends then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
end
redis.call('ZADD', KEYS[1], until_ms, ARGV[1])
local start = redis.call('HGET', KEYS[2], ARGV[1]) or ''
local known = (ends and start == ARGV[4]) and 1 or 0
return {until_ms, known, start, incarnation, run_id}
