-- A worker tells how far a part has come, and hears whether the run goes on. A part of which something is told was
-- begun: by this worker, or by one that has died, of which nothing is taken back by who has not read anything yet.
local progress, part, told, kept = KEYS[2], ARGV[2], ARGV[3], tonumber(ARGV[4])
local answer = word()
if answer ~= 'leave' then
  if told ~= '{}' then
    redis.call('HSET', progress, part, told)
  elseif answer == 'go on' then
    redis.call('HSETNX', progress, part, told)
  end
  redis.call('PEXPIRE', progress, kept)
end
return answer
