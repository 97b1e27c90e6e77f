-- Takes the lock of a token store, where nobody has it; gives the mark of this turn, and that of who saved last.
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then
  local mark = redis.call('INCR', KEYS[3]) .. ':' .. ARGV[1]
  return {1, mark, redis.call('HGET', KEYS[1], 'mark') or ''}
end
return {0, redis.call('PTTL', KEYS[2]), ''}
