-- The server wants no requests for a while: nobody gets one, and all who are there are told at once.
local pause, process, inbox = tonumber(ARGV[6]), ARGV[7], ARGV[8]
if now + pause > opens then
  opens = now + pause
  redis.call('HSET', state, 'opens', whole(opens))
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', members, '(' .. whole(now), '+inf')) do
    if member ~= process then
      redis.call('XADD', inbox .. member, 'MAXLEN', '~', 1000, '*', 'closed', whole(pause))
      redis.call('PEXPIRE', inbox .. member, kept)
    end
  end
end
return {generation}
