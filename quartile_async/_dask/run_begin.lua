-- A caller begins a run, where no other one is alive; gives the milliseconds until the other one counts as dead.
local lease, kept = tonumber(ARGV[2]), tonumber(ARGV[3])
if found[1] and found[1] ~= id and found[3] ~= 'over' and tonumber(found[2]) >= now then
  return tonumber(found[2]) - now
end
if found[1] and found[1] ~= id then redis.call('DEL', ARGV[4] .. found[1], ARGV[5] .. found[1]) end
redis.call('HSET', run, 'id', id, 'until', now + lease, 'word', 'go on')
redis.call('PEXPIRE', run, kept)
return -1
