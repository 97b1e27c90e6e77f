-- A process goes, and leaves nothing behind.
local process, inbox, limit = ARGV[5], ARGV[6], tonumber(ARGV[7])
for number = 8, #ARGV do redis.call('ZREM', leases, ARGV[number]) end
forget(process, inbox)
sweep(inbox)
serve(limit, process, inbox)
return {generation}
