-- A dead letter waits in the queue again. KEYS[1] the record. Returns 1 if it was one.
if redis.call('HGET', KEYS[1], 'state') ~= 'dead' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'free')
redis.call('HDEL', KEYS[1], 'x')
return 1
