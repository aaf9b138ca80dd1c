-- Finds nodes whose lease ended some time ago, and takes the sweepers' lock if there are any.
-- The lock saves work; sweeping twice at the same time announces nothing twice.
--
-- KEYS (slot {nodes})
--   1 nodes  ZSET    "node:epoch", scored by the Redis ms at which its lease ends
--   2 lock   STRING  token of the sweeper
-- ARGV  1 token
--       2 ms for which the lock is held at most
--       3 ms between the end of a lease and its sweep
--       4 nodes at a time
-- Reply {ms until the next node is due, -1 for none, "node:epoch", ...}: nobody named means
--       nothing to do, or that somebody else is at it
-- Expiry: lock by its time, or by lease_unlock

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local ended = now - tonumber(ARGV[3])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ended, 'LIMIT', 0, ARGV[4])
local after = string.format('(%.0f', ended)
local soon = redis.call('ZRANGEBYSCORE', KEYS[1], after, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
local reply = {soon[2] and tonumber(soon[2]) - ended or -1}
if #due > 0 and redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then
  for _, node in ipairs(due) do
    reply[#reply + 1] = node
  end
end
return reply
