-- Announces that the relay is about to be contacted. ARGV: owner, fence, term in ms, ms to remember an unfinished claim.
-- Returns 1, or 0 when the lease is lost.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local state, owner, fence, ends = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence', 'until'))
local held = (state == 'lease' or state == 'sending') and tonumber(ends or '0') > now
if not held or owner ~= ARGV[1] or fence ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'state', 'sending', 'until', string.format('%.0f', now + ARGV[3]))
redis.call('PEXPIRE', KEYS[1], ARGV[3] + ARGV[4])
return 1
