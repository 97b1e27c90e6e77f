-- What Redis says of itself that matters to a journal; nothing where the caller may not ask.
local found = {}
for _, section in ipairs({'persistence', 'memory'}) do
  local info = redis.pcall('INFO', section)
  found[#found + 1] = type(info) == 'string' and info or ''
end
return found
