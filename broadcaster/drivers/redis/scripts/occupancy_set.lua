-- Sets how many connections a node has in some channels. Repeating it changes nothing.
--
-- KEYS  as in occupancy_totals, and
--    8 nodes   ZSET  "node:epoch", scored by the Redis ms at which its lease ends
--    9 mine    HASH  entry -> connections of this node and epoch
--   10 former  HASH  the same of the epoch before, whose connections are taken over
-- ARGV  1 prefix of topics
--       2 "node:epoch"
--       3 Redis ms at which the writer's lease ends
--       4 "1" if facts of these channels are wanted, else "0"
--       5 "1" if their subscribers are told how many they are, else "0"
--       6 "1" to announce, "0" while a node registers everything anew after data loss
--       7 ms in which an empty channel may fill again silently
--       8, 9 and following: entry, connections; 0 forgets the channel
-- Reply {} or, when subscribers are told, {number, total of the first entry, ...}; error LEASE
--       when the lease has ended, or is not known here (swept, data lost)
-- Expiry as in occupancy_totals; `mine` goes with lease_drop

local NODES, MINE, FORMER = KEYS[8], KEYS[9], KEYS[10]

local ends = tonumber(redis.call('ZSCORE', NODES, ARGV[2]) or 0)
if now > tonumber(ARGV[3]) or now >= ends then
  return redis.error_reply('LEASE of ' .. ARGV[2] .. ' has ended or is not known')
end
redis.call('HLEN', MINE)

local counts = ARGV[5] == '1'
local wanted = {
  facts = ARGV[4] == '1', counts = counts, announce = ARGV[6] == '1', grace = tonumber(ARGV[7]),
}
local takes_over = redis.call('HLEN', FORMER) > 0
local reply = {}
for i = 8, #ARGV, 2 do
  local entry, count = ARGV[i], tonumber(ARGV[i + 1])
  local had = read_count(redis.call('HGET', MINE, entry))
  if takes_over then
    had = had + read_count(redis.call('HGET', FORMER, entry))
    redis.call('HDEL', FORMER, entry)
  end
  local before = read_count(redis.call('HGET', TOTALS, entry))
  local total = math.max(before - had + count, count)
  if count > 0 then
    redis.call('HSET', MINE, entry, count)
  else
    redis.call('HDEL', MINE, entry)
  end
  if total ~= before then
    set_total(entry, total)
  end
  conclude(entry, total, wanted)
  if counts then
    reply[#reply + 1] = total
  end
end
if counts then
  table.insert(reply, 1, next_number())
end
return reply
