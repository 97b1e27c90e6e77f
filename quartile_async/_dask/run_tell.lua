-- A worker tells how far a part has come, and hears whether the run goes on.
local progress, part, told, kept = KEYS[2], ARGV[2], ARGV[3], tonumber(ARGV[4])
local answer = word()
if answer ~= 'leave' then
  redis.call('HSET', progress, part, told)
  redis.call('PEXPIRE', progress, kept)
end
return answer
