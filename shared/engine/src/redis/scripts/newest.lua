-- Notes events that are waiting. KEYS what is known of each user's events; ARGV: ms to remember it, when each was created.
for index, key in ipairs(KEYS) do
  if tonumber(redis.call('HGET', key, 'newest') or '0') < tonumber(ARGV[index + 1]) then
    redis.call('HSET', key, 'newest', ARGV[index + 1])
    if redis.call('PTTL', key) < tonumber(ARGV[1]) then redis.call('PEXPIRE', key, ARGV[1]) end
  end
end
return #KEYS
