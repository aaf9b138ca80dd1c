-- Subtracts connections of a node whose lease has ended, a batch at most. Whoever calls this,
-- and however often, each count is subtracted once.
--
-- KEYS  as in occupancy_totals, and
--    8 nodes  ZSET  "node:epoch", scored by the Redis ms at which its lease ends
--    9 mine   HASH  entry -> connections of this node and epoch
-- ARGV  1 prefix of topics
--       2 "node:epoch"
--       3 ms in which an empty channel may fill again silently
--       4 cursor; "0" begins
--       5 entries per call
-- Reply {more, cursor}: when `more` is 1, go on with the cursor
-- Expiry as in occupancy_totals

local NODES, MINE = KEYS[8], KEYS[9]

local ends = redis.call('ZSCORE', NODES, ARGV[2])
if ends and tonumber(ends) > now then
  return {0, '0'}
end

look()
redis.call('HLEN', TOTALS)
local wanted = {facts = false, counts = false, announce = true, grace = tonumber(ARGV[3])}
local batch = tonumber(ARGV[5])
local page = redis.call('HSCAN', MINE, ARGV[4], 'COUNT', batch)
local cursor, fields = page[1], page[2]
for i = 1, #fields, 2 do
  if i > 2 * batch then
    return {1, ARGV[4]} -- a small hash comes in one page, whatever its COUNT: read it again
  end
  local entry, count = fields[i], read_count(fields[i + 1])
  redis.call('HDEL', MINE, entry)
  local before = read_count(redis.call('HGET', TOTALS, entry))
  local total = math.max(before - count, 0)
  if string.find(entry, '|', 1, true) and total ~= before then
    set_total(entry, total)
    conclude(entry, total, wanted)
  end
end
if cursor ~= '0' then
  return {1, cursor}
end
return {0, '0'}
