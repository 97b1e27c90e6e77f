-- Saves tokens, unless somebody has saved others since the caller looked: a lock may run out under its holder.
local content, mark, based_on = ARGV[1], ARGV[2], ARGV[3]
local stored = redis.call('HGET', KEYS[1], 'mark')
if mark == '' then
  mark = redis.call('INCR', KEYS[3]) .. ':'
elseif stored and stored ~= based_on and stored ~= mark then
  return 0
end
redis.call('HSET', KEYS[1], 'tokens', content, 'mark', mark)
return 1
