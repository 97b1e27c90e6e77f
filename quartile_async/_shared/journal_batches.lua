-- The batches behind a place, by the index of their first item and their number, with what is known of each.
-- ARGV: holder, lease, place, highest number, most. A batch's number stands in the characters 13 to 24.
local place, known, most, page = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), {}
while true do
  local some = redis.call('ZRANGEBYLEX', intended, place, '+', 'LIMIT', 0, most)
  for _, batch in ipairs(some) do
    local number = tonumber(string.sub(batch, 13, 24))
    if number <= known then
      local name = whole(number)
      page[#page + 1] = {batch, redis.call('HGET', taken, name) or '', redis.call('HGET', ends, name) or ''}
    end
  end
  if #some < most or #page >= most then return page end
  place = '(' .. some[#some]
end
