-- Forgets an event that will not be mailed. KEYS[1] what is known of its user's events; ARGV: when it was created.
local newest, accepted = unpack(redis.call('HMGET', KEYS[1], 'newest', 'accepted'))
if newest ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'newest', accepted or '0')
return 1
