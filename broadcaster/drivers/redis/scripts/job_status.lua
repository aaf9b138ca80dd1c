-- Changes the status of one job, or makes it.
--
-- KEYS
--   1  hash  fields of the status; updated_at in ms of this server's clock
-- ARGV
--   1   ms      after which it is forgotten
--   2   fresh   1: leave a status that there is as it is
--   3+  field, value, ...
-- Reply: HGETALL of the hash.
-- Expiry: this script sets it, at every change.
--
-- A completed job stays completed, whoever writes later. Idempotent but for the clock.
local known = redis.call('HGET', KEYS[1], 'status')
if not (known and (ARGV[2] == '1' or known == 'completed')) then
  local time = redis.call('TIME')
  redis.call('HSET', KEYS[1], 'updated_at',
    string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000)), unpack(ARGV, 3))
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return redis.call('HGETALL', KEYS[1])
