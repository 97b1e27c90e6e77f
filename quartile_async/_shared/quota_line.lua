-- Who waits for a lease, in the order of coming, and who is told that there is one.
local function forget(process, inbox)
  redis.call('ZREM', members, process)
  redis.call('ZREM', line, process)
  redis.call('HDEL', wants, process)
  redis.call('HDEL', sent, process)
  redis.call('DEL', inbox .. process)
end

-- The leases and the places in line of those who have died.
local function sweep(inbox)
  for _, process in ipairs(redis.call('ZRANGEBYSCORE', members, '-inf', whole(now))) do
    forget(process, inbox)
  end
  redis.call('ZREMRANGEBYSCORE', leases, '-inf', whole(now))
end

-- One lease at a time to the first in line, who then goes to its end. What the caller gets is returned; the others
-- are told in their inbox.
local function serve(limit, caller, inbox)
  local granted = {}
  local free = limit - redis.call('ZCARD', leases)
  while free > 0 and now >= quiet do
    local first = redis.call('ZRANGE', line, 0, 0)[1]
    if not first then break end
    local id = first .. ':' .. redis.call('HINCRBY', state, 'leases', 1)
    redis.call('ZADD', leases, whole(now + lease), id)
    if redis.call('HINCRBY', wants, first, -1) > 0 then
      redis.call('ZADD', line, redis.call('HINCRBY', state, 'tickets', 1), first)
    else
      redis.call('HDEL', wants, first)
      redis.call('ZREM', line, first)
    end
    if first == caller then
      granted[#granted + 1] = id
    else
      redis.call('HINCRBY', sent, first, 1)
      redis.call('XADD', inbox .. first, 'MAXLEN', '~', 1000, '*', 'lease', id)
      redis.call('PEXPIRE', inbox .. first, kept)
    end
    free = free - 1
  end
  return granted
end
