-- Times at which requests may go out: ascending, `burst` in any `spread` and `limit` in any `period` at most.
-- All that may go at once are given, and beyond them `ahead`, so that whoever wants many still takes turns.
local want, ahead = tonumber(ARGV[6]), tonumber(ARGV[7])
local limit, burst, period = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local reply = {generation, whole(closed_for)}
if closed_for > 0 then return reply end

local function the_one_before(count)
  return tonumber(redis.call('LINDEX', times, -count) or 0)
end

local last = the_one_before(1)
for _ = 1, want do
  local at = math.max(now, floor, last)
  local by_burst, by_limit = the_one_before(burst), the_one_before(limit)
  if by_burst > 0 then at = math.max(at, by_burst + spread) end
  if by_limit > 0 then at = math.max(at, by_limit + period) end
  if at > now then
    if ahead == 0 then break end
    ahead = ahead - 1
  end
  redis.call('RPUSH', times, whole(at))
  last = at
  reply[#reply + 1] = whole(at - now)
end
redis.call('LTRIM', times, -limit, -1)
redis.call('PEXPIRE', times, kept)
redis.call('HINCRBY', state, 'admitted', #reply - 2)
return reply
