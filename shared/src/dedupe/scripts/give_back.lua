-- Ends a lease. ARGV: owner, fence, 'free' (nothing was sent) or 'doubt' (a mail may be out).
-- Answers 1, or 0 when it was not ours any more.
local state, owner, fence = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence'))
if (state ~= 'lease' and state ~= 'sending') or owner ~= ARGV[1] or fence ~= ARGV[2] then return 0 end
if ARGV[3] == 'free' then redis.call('HSET', KEYS[1], 'state', 'free') end
redis.call('HSET', KEYS[1], 'until', '0')
return 1
