-- Keeps the journal for longer. A lease that has run out is no hindrance, as long as nobody else has come.
-- ARGV: holder, lease, fence, records that the caller knows to be written.
local refused = refusal()
if refused then return refused end
keep()
return {'ok'}
