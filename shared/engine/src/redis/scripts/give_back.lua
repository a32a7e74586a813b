-- Ends a lease. ARGV: owner, fence, 'free' (nothing was sent) or 'doubt' (the relay had the whole mail and did not answer).
-- Returns 1, or 0 when the lease had passed to another owner.
local state, owner, fence = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence'))
if (state ~= 'lease' and state ~= 'sending') or owner ~= ARGV[1] or fence ~= ARGV[2] then return 0 end
if ARGV[3] == 'doubt' then redis.call('HINCRBY', KEYS[1], 'silences', 1) end
redis.call('HSET', KEYS[1], 'state', 'free', 'until', '0')
return 1
