-- Removes a journal, unless somebody has it.
local wait = left()
if wait > 0 then return {'held', wait, current} end
redis.call('UNLINK', unpack(KEYS))
return {'ok'}
