-- Exempts an event from the limit on its user. KEYS[1] the claim; ARGV: ms to remember that.
-- An event with a claim is not new, and only new ones are counted. Returns 1 if it was new.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], 'state', 'free')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
