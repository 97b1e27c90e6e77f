-- The caller keeps the plan, where the run is still its own; gives 0 where it is not.
if found[1] ~= id then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
return 1
