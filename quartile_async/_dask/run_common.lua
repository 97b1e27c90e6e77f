-- What a run of a distributed upload says of itself: who has begun it, until when its caller is alive, and whether it
-- goes on. Times are milliseconds of Redis's own clock. The answers are those of `Word` in channel.py.
local run, id = KEYS[1], ARGV[1]

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
local found = redis.call('HMGET', run, 'id', 'until', 'word')

local function word()
  if found[1] ~= id or found[3] == 'over' or tonumber(found[2]) < now then return 'leave' end
  return found[3]
end
