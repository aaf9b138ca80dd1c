-- Put failed jobs back into their queue, with all their tries, under their old ids. Runs behind
-- queue_start.lua.
--
-- KEYS: 1 failed, 2 failed_jobs, 3 failed_retried, 4 jobs, 5 ready, 6 notify, 7 stats
--   (types: queue_step.lua)
-- ARGV: 1 token for `notify`, then for each job: id, body to queue in place of its own or ""
-- Reply: ids of the jobs that were put back. They stay listed as failed, marked and without
--   their bodies, until they are trimmed or fail again.

local done = {}
for i = 2, #ARGV, 2 do
  local id, body = ARGV[i], redis.call('HGET', KEYS[2], ARGV[i])
  if body then
    -- Whatever stops this in between, it can be repeated: an id without a body is passed over.
    if redis.call('HEXISTS', KEYS[4], id) == 0 then
      redis.call('RPUSH', KEYS[5], id)
      redis.call('HSET', KEYS[4], id, ARGV[i + 1] ~= '' and ARGV[i + 1] or body)
      done[#done + 1] = id
    end
    redis.call('HDEL', KEYS[2], id)
    redis.call('HSET', KEYS[3], id, text(now))
  end
end
if #done > 0 then
  tally(KEYS[7], 'r', #done)
  if not redis.call('LPOS', KEYS[6], ARGV[1]) then redis.call('LPUSH', KEYS[6], ARGV[1]) end
end
return done
