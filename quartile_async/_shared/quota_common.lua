-- The beginning of each script of a quota: the time, which is Redis's own, and what is known.
-- Times and spans are microseconds, whole numbers that a double holds exactly.
local state, times, leases, members = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local line, wants, sent, news = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local known, spread, lease, kept, return_time = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local function whole(number) return string.format('%.0f', number) end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local found = redis.call('HMGET', state, 'generation', 'clock', 'opens', 'floor', 'quiet')
local generation = found[1]
local opens, floor, quiet = tonumber(found[3] or 0), tonumber(found[4] or 0), tonumber(found[5] or 0)

if not generation then
  -- Nobody has been here; or all is lost, and others still hold leases. Those who are connected are told, and answer at
  -- once; those whose connection a restart has broken are back a few seconds after it. Until then nothing is given out.
  local info = redis.pcall('INFO', 'server')
  local uptime = type(info) == 'string' and tonumber(string.match(info, 'uptime_in_seconds:(%d+)')) or 0
  generation = whole(now)
  quiet = now + math.max(return_time / 10, return_time - uptime * 1000000)
  redis.call('HSET', state, 'generation', generation, 'quiet', whole(quiet))
  redis.call('PEXPIRE', state, kept)
  redis.call('DEL', news)
  redis.call('XADD', news, generation .. '-1', 'generation', generation)
end

-- The caller knows of a state that is lost, as after a restart without a file. Nothing is given out until those who
-- hold leases have had the time to say so, and until no burst can follow on another.
if known == 'alone' then
  -- The caller has gone on without Redis, and others may still do so: until they are back, nobody has the whole.
  floor, quiet = math.max(floor, now + 3000000), math.max(quiet, now + 3000000)
  redis.call('HSET', state, 'floor', whole(floor), 'quiet', whole(quiet))
elseif known ~= '' and known ~= generation then
  floor = math.max(floor, tonumber(generation) + spread)
  quiet = math.max(quiet, tonumber(generation) + lease / 2)
  redis.call('HSET', state, 'floor', whole(floor), 'quiet', whole(quiet))
end

-- Redis's clock was put back: times of before would be far in the future, and everybody would wait for them.
local back = tonumber(found[2] or 0) - now
if back > 1000000 then
  redis.call('DEL', times)
  floor, opens, quiet = now + spread, opens - back, quiet - back
  redis.call('HSET', state, 'floor', whole(floor), 'opens', whole(opens), 'quiet', whole(quiet))
  for _, key in ipairs({leases, members}) do
    for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      redis.call('ZADD', key, whole(now + lease), member)
    end
  end
end
redis.call('HSET', state, 'clock', whole(now))
local closed_for = math.max(0, opens - now)
