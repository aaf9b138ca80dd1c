-- Forget jobs that wait, a thousand of each kind at a time.
--
-- KEYS: 1 jobs, 2 ready, 3 delayed, 4 suspects, 5 attempts, 6 crashes (types: queue_step.lua)
-- Reply: {jobs that were forgotten, 1 if there may be more}

local PAGE = 1000
local ids = {}
for _, list in ipairs({KEYS[2], KEYS[4]}) do
  for _, id in ipairs(redis.call('LPOP', list, PAGE) or {}) do ids[#ids + 1] = id end
end
local delayed = redis.call('ZPOPMIN', KEYS[3], PAGE)
for i = 1, #delayed, 2 do ids[#ids + 1] = delayed[i] end
if #ids == 0 then return {0, 0} end
local tries = {}
for i = 1, #ids do
  tries[#tries + 1], tries[#tries + 2], tries[#tries + 3] = ids[i], ids[i] .. ':e', ids[i] .. ':p'
end
for first = 1, #tries, 3000 do
  redis.call('HDEL', KEYS[5], unpack(tries, first, math.min(first + 2999, #tries)))
end
redis.call('HDEL', KEYS[6], unpack(ids))
return {redis.call('HDEL', KEYS[1], unpack(ids)), 1}
