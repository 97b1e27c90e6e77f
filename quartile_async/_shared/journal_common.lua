-- The beginning of each script of a journal: the time, which is Redis's own, who has it, and how it stands.
-- Times and spans are milliseconds. A journal has no time to live.
local meta, read, intended, taken, ends = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local holder, lease = ARGV[1], tonumber(ARGV[2])

local function whole(number) return string.format('%.0f', number) end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local found = redis.call('HMGET', meta, 'version', 'holder', 'fence', 'lease', 'until', 'seq')
local version, current, fence = found[1], found[2] or '', found[3]
local current_lease, held_until, seq = tonumber(found[4] or 0), tonumber(found[5] or 0), tonumber(found[6] or 0)

-- Keeps it for the caller for as long as a lease lasts, from now on.
local function keep()
  redis.call('HSET', meta, 'holder', holder, 'lease', whole(lease), 'until', whole(now + lease))
end

-- For how long another one still has it.
local function left()
  if current == '' or current == holder then return 0 end
  if held_until > now + current_lease then  -- Redis's clock was put back
    held_until = now + current_lease
    redis.call('HSET', meta, 'until', whole(held_until))
  end
  return math.max(0, held_until - now)
end

-- Why the caller may do nothing; nothing where it may.
local function refusal()
  if not version then return {'gone'} end
  if current ~= holder or (ARGV[3] ~= '' and ARGV[3] ~= fence) then return {'fenced', current} end
  if seq < tonumber(ARGV[4]) then return {'lost', seq} end
end

local function sizes()
  local counts = {redis.call('HLEN', read), redis.call('ZCARD', intended), redis.call('HLEN', taken), redis.call('HLEN', ends)}
  return table.concat(counts, ' ')
end

local function contents()
  local fields = redis.call('HMGET', meta, 'fence', 'seq', 'items', 'batches', 'started', 'touched', 'finished')
  for place = 1, 7 do fields[place] = fields[place] or '' end
  return fields
end
