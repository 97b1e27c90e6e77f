-- A process says what it gives back, what it holds and how many leases it waits for; and gets what there is.
local process, inbox, limit = ARGV[6], ARGV[7], tonumber(ARGV[8])
local waiting, seen = tonumber(ARGV[9]), tonumber(ARGV[10])
local place = 11

local function listed()
  local count = tonumber(ARGV[place])
  local ids = {}
  for number = 1, count do ids[number] = ARGV[place + number] end
  place = place + count + 1
  return ids
end

for _, id in ipairs(listed()) do redis.call('ZREM', leases, id) end
-- What is under way counts, also where its lease had run out or was lost.
for _, id in ipairs(listed()) do redis.call('ZADD', leases, whole(now + lease), id) end
sweep(inbox)
local is_new = redis.call('ZADD', members, whole(now + lease), process)

-- Leases that it was sent, and had not read of when it wrote this, are not wanted once more.
local unread = math.max(0, tonumber(redis.call('HGET', sent, process) or 0) - seen)
local wanted = math.max(0, waiting - unread)
if is_new == 1 then wanted = waiting end
if wanted > 0 then
  redis.call('HSET', wants, process, wanted)
  if not redis.call('ZSCORE', line, process) then
    redis.call('ZADD', line, redis.call('HINCRBY', state, 'tickets', 1), process)
  end
else
  redis.call('HDEL', wants, process)
  redis.call('ZREM', line, process)
end
local granted = serve(limit, process, inbox)
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, kept) end

-- Who waits comes again when a lease may have run out: a dead process cannot tell.
local next_end = redis.call('ZRANGE', leases, 0, 0, 'WITHSCORES')[2]
local again = math.max(quiet, tonumber(next_end or 0)) - now
return {generation, whole(closed_for), is_new, whole(math.max(0, again)), granted}
