-- Take tokens of a bucket that fills steadily.
--
-- KEYS: 1 bucket HASH tokens (with fractions), at (Redis us); expires when it would be full
-- ARGV: 1 capacity, 2 tokens that come per second, 3 tokens to take, 0 to look for one
-- Reply: {allowed 0/1, whole tokens left, ms until so many are there, 0 when allowed}

local capacity, rate, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens = tonumber(state[1]) or capacity
tokens = math.min(capacity, tokens + math.max(0, now - (tonumber(state[2]) or now)) / 1000000 * rate)
local allowed, wait = 0, 0
local need = math.max(1, cost)
if tokens >= need then
  allowed, tokens = 1, tokens - cost
else
  wait = math.max(1, math.ceil((need - tokens) / rate * 1000))
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((capacity - tokens) / rate * 1000) + 1000)
return {allowed, math.floor(tokens), wait}
