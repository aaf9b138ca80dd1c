-- Writes down jobs that were done.
--
-- KEYS
--   1  list  entries "<ms> <json>", newest first; ms is this server's clock
-- ARGV
--   1  most     entries kept
--   2  ms       age of the oldest entry kept
--   3+ json     one entry each, oldest first
-- Reply: number of entries.
-- Expiry: this script sets it, to the age of the oldest entry kept.
--
-- What is too old is looked for at the old end, at most 500 entries a call.
-- Not idempotent: a repeated call writes its entries again.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, #ARGV do
  redis.call('LPUSH', KEYS[1], string.format('%d %s', now, ARGV[i]))
end
redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
for _ = 1, 500 do
  local oldest = redis.call('LINDEX', KEYS[1], -1)
  if not oldest or now - tonumber(string.match(oldest, '^%d+')) <= tonumber(ARGV[2]) then
    break
  end
  redis.call('RPOP', KEYS[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('LLEN', KEYS[1])
