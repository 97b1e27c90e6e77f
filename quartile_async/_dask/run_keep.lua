-- The caller is alive, and says whether the run goes on; gives 0 where the run is not its own any more.
local lease, kept, said = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
if found[1] ~= id then return 0 end
redis.call('HSET', run, 'until', now + lease, 'word', said)
redis.call('PEXPIRE', run, kept)
return 1
