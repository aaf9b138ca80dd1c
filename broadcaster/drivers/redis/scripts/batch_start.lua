-- The state of one batch and what becomes due by it. Not a script of its own: this text stands
-- in front of the other batch_*.lua, which take these keys.
--
-- KEYS, all in the slot of the batch ({b:<id>}); all expire together, `keep` after the last
-- change of the batch:
--   1 meta       HASH    name, options (JSON), allow (1: failures do not cancel), total, pending
--                        (not done), failed, created, cancelled, finished (ms; absent if not);
--                        on:<moment> -> "due", or "called" once its jobs are queued
--   2 done       STRING  bitmap of the indices that are done; they stay so
--   3 failed     STRING  bitmap of the indices that failed and are not done
--   4 callbacks  HASH    moment -> JSON of the jobs to queue, until they are;
--                        culprit -> JSON of who failed first, while `catch` is there
--   5 adds       HASH    id of a request to add jobs -> the index that it got
-- ARGV[1] keep ms of an unfinished batch, ARGV[2] of a finished one
-- Reply of those that change a batch: {found 0/1, changed 0/1, meta flat, due flat, culprit};
--   due is moment, JSON of its jobs; culprit is "" unless `catch` is due

local k_meta, k_done, k_failed, k_callbacks, k_adds = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local clock = redis.call('TIME')
local now = string.format('%.0f', tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000))

local function field(name) return redis.call('HGET', k_meta, name) end

local function keep()
  local ms = redis.call('HEXISTS', k_meta, 'finished') == 1 and ARGV[2] or ARGV[1]
  for i = 1, 5 do redis.call('PEXPIRE', KEYS[i], ms) end
end

-- A moment comes once in the life of a batch.
local function come(moment) redis.call('HSETNX', k_meta, 'on:' .. moment, 'due') end

local function look_for_moments()
  local total, pending, failed = tonumber(field('total')), tonumber(field('pending')), tonumber(field('failed'))
  if failed > 0 then come('catch') end
  if pending > failed then return end
  local cancelled, allowed = redis.call('HEXISTS', k_meta, 'cancelled') == 1, field('allow') == '1'
  if pending == 0 and not cancelled then come('then') end
  redis.call('HSETNX', k_meta, 'finished', now)
  come('finally')
  if cancelled then
    if allowed or failed == 0 then come('broken') end
  elseif allowed or pending == 0 then
    come('next')
  end
end

local function reply(changed)
  if redis.call('EXISTS', k_meta) == 0 then return {0, 0, {}, {}, ''} end
  local due, culprit = {}, ''
  local states = redis.call('HMGET', k_meta, 'on:catch', 'on:then', 'on:finally', 'on:next', 'on:broken')
  for i, moment in ipairs({'catch', 'then', 'finally', 'next', 'broken'}) do
    if states[i] == 'due' then
      local jobs = redis.call('HGET', k_callbacks, moment)
      if jobs then
        due[#due + 1], due[#due + 2] = moment, jobs
        if moment == 'catch' then culprit = redis.call('HGET', k_callbacks, 'culprit') or '' end
      end
    end
  end
  return {1, changed and 1 or 0, redis.call('HGETALL', k_meta), due, culprit}
end

