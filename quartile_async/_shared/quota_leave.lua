-- A process goes, and leaves nothing behind.
local process, inbox, limit = ARGV[6], ARGV[7], tonumber(ARGV[8])
for number = 9, #ARGV do redis.call('ZREM', leases, ARGV[number]) end
forget(process, inbox)
sweep(inbox)
serve(limit, process, inbox)
return {generation}
