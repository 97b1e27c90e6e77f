-- A worker hands results over, where there is room for them.
local results, most, content, kept = KEYS[2], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local answer = word()
if answer == 'leave' then return answer end
if redis.call('XLEN', results) >= most then return 'full' end
redis.call('XADD', results, '*', 'results', content)
redis.call('PEXPIRE', results, kept)
return answer
