-- Gives the journal back. ARGV: as for a renewal, and 1 where every item has its final result; fence may be unknown.
local refused = refusal()
if refused then return refused end
if ARGV[5] == '1' and not redis.call('HGET', meta, 'finished') then
  redis.call('HSET', meta, 'touched', whole(now), 'finished', whole(now))
end
redis.call('HSET', meta, 'holder', '', 'until', 0)
return {'ok'}
