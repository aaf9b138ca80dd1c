-- A worker has stopped.
--
-- KEYS (one slot: {queues}): 1 workers, 2 worker_times (types: fleet_beat.lua)
-- ARGV  1 id
-- Reply whether it was known, 0/1. Expiry: none.

redis.call('HDEL', KEYS[1], ARGV[1])
return redis.call('ZREM', KEYS[2], ARGV[1])
