-- A worker describes itself; workers that have been silent too long are forgotten.
--
-- KEYS (one slot: {queues})
--   1 workers       HASH    id -> JSON, as `broadcaster.contracts.fleet` describes it
--   2 worker_times  ZSET    id, scored by the ms of its last description
--   3 restart       STRING  ms at which all workers were last asked to restart
-- ARGV  1 id
--       2 JSON
--       3 ms of silence after which a worker is forgotten
-- Reply the number in `restart`, or "0"
-- Expiry: 1 and 2 are swept here, at most 100 workers a call, and expire ten times as long
--         after the last call; 3 never

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local silent = now - tonumber(ARGV[3])

local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', silent), 'LIMIT', 0, 100)
if #old > 0 then
  redis.call('ZREM', KEYS[2], unpack(old))
  redis.call('HDEL', KEYS[1], unpack(old))
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[1])
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[3]) * 10)
redis.call('PEXPIRE', KEYS[2], tonumber(ARGV[3]) * 10)
return redis.call('GET', KEYS[3]) or '0'
