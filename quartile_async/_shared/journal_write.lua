-- Appends all of these records or none, where the journal is still the caller's, and stands as the caller knows.
-- ARGV: holder, lease, fence, records before, of these, items, batches; then kind, name and content of each.
local refused = refusal()
if refused then return refused end
local before, count = tonumber(ARGV[4]), tonumber(ARGV[5])
if seq == before then
  for place = 8, #ARGV, 3 do
    local kind, name, content = ARGV[place], ARGV[place + 1], ARGV[place + 2]
    if kind == 'read' then
      redis.call('HSET', read, name, content)
    elseif kind == 'intended' then
      redis.call('ZADD', intended, 0, content)
    elseif kind == 'taken' then
      redis.call('HSET', taken, name, content)
    else
      redis.call('HSET', ends, name, content)
    end
  end
  redis.call('HSET', meta, 'seq', whole(before + count), 'items', ARGV[6], 'batches', ARGV[7])
  redis.call('HSET', meta, 'touched', whole(now), 'sizes', sizes())
  redis.call('HDEL', meta, 'finished')
elseif seq ~= before + count then  -- else an earlier try has written them, whose answer was lost
  return {'lost', seq}
end
keep()
return {'ok'}
