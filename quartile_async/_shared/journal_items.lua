-- The records of items read from an index on, each behind the other. ARGV: holder, lease, index, end, most.
-- Of each item a record has 4 bytes, and before these 16 for all.
local index, known, most, page = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), {}
while index < known and #page < most do
  local content = redis.call('HGET', read, whole(index))
  if not content or #content <= 16 then break end
  page[#page + 1] = content
  index = index + (#content - 16) / 4
end
return page
