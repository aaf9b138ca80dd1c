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

local counts = ARGV[5] == '1'
local wanted = {
  facts = ARGV[4] == '1', counts = counts, announce = ARGV[6] == '1', grace = tonumber(ARGV[7]),
}
local concerns = wanted.facts or counts or any_told or any_shown
if concerns then
  look()
end

local entries = {}
for i = 8, #ARGV, 2 do
  entries[#entries + 1] = ARGV[i]
end
local had = redis.call('HMGET', MINE, unpack(entries))
local before = redis.call('HMGET', TOTALS, unpack(entries))
local taken
if redis.call('HLEN', FORMER) > 0 then
  taken = redis.call('HMGET', FORMER, unpack(entries))
  redis.call('HDEL', FORMER, unpack(entries))
end

-- Commands are collected: one for all channels costs a fraction of one for each.
local here, not_here, everywhere, nowhere = {}, {}, {}, {}
local totals = {}
for i, entry in ipairs(entries) do
  local count, was, mine = tonumber(ARGV[2 * i + 7]), read_count(before[i]), read_count(had[i])
  local total = math.max(was - mine + count - (taken and read_count(taken[i]) or 0), count)
  totals[i] = total
  if count == 0 then
    not_here[#not_here + 1] = entry
  elseif count ~= mine then
    here[#here + 1] = entry
    here[#here + 1] = count
  end
  if total == 0 then
    nowhere[#nowhere + 1] = entry
  elseif total ~= was then
    everywhere[#everywhere + 1] = entry
    everywhere[#everywhere + 1] = total
  end
end
if #here > 0 then
  redis.call('HSET', MINE, unpack(here))
end
if #not_here > 0 then
  redis.call('HDEL', MINE, unpack(not_here))
end
if #everywhere > 0 then
  redis.call('HSET', TOTALS, unpack(everywhere))
end
if #nowhere > 0 then
  redis.call('HDEL', TOTALS, unpack(nowhere))
end

if concerns then
  for i, entry in ipairs(entries) do
    conclude(entry, totals[i], wanted)
  end
end
if not counts then
  return {}
end
table.insert(totals, 1, next_number())
return totals
