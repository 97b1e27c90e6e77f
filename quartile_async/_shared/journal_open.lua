-- Takes hold of a journal, or makes a new one; once more, where the answer was lost.
-- ARGV: holder, lease, version, subject. One that is about something else is not touched.
if not version and redis.call('EXISTS', unpack(KEYS)) > 0 then return {'damaged'} end
if version and tonumber(version) > tonumber(ARGV[3]) then return {'version', version} end
if version and redis.call('HGET', meta, 'subject') ~= ARGV[4] then return {'another', redis.call('HGET', meta, 'subject') or ''} end
local wait = left()
if wait > 0 then return {'held', wait, current} end
if not version then
  redis.call('HSET', meta, 'version', ARGV[3], 'subject', ARGV[4], 'seq', 0, 'items', 0, 'batches', 0)
  redis.call('HSET', meta, 'started', whole(now), 'touched', whole(now), 'sizes', sizes())
elseif redis.call('HGET', meta, 'sizes') ~= sizes() then
  return {'damaged'}
end
if current ~= holder then redis.call('HINCRBY', meta, 'fence', 1) end
keep()
return {'ok', contents()}
