-- Forget jobs that wait, a thousand of each kind at a time. Runs behind queue_drop_start.lua, whose
-- keys it takes.
--
-- ARGV: 1 token for `notify`
-- Reply: {jobs that were forgotten, 1 if there may be more}

local PAGE = 1000
local ids = {}
for _, list in ipairs({KEYS[2], KEYS[4]}) do
  for _, id in ipairs(redis.call('LPOP', list, PAGE) or {}) do ids[#ids + 1] = id end
end
local delayed = redis.call('ZPOPMIN', KEYS[3], PAGE)
for i = 1, #delayed, 2 do ids[#ids + 1] = delayed[i] end
if #ids == 0 then return {0, 0} end
return {drop(ids, false), 1}
