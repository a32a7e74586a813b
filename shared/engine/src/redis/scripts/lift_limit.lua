-- Exempts an event from the limit on its user. KEYS[1] the claim; ARGV: ms to remember that.
-- Only events without a fence are counted. Returns 1 if it was one.
if redis.call('HSETNX', KEYS[1], 'fence', '0') == 0 then return 0 end
redis.call('HSET', KEYS[1], 'state', 'free')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
