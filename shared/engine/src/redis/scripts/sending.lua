-- Announces that the relay is about to be contacted. ARGV: owner, fence, term in ms. The claim is remembered for long
-- enough since it was made. With a user: KEYS[2] what is known of their events; ARGV: when this one was created, ms to
-- remember a finished claim.
-- Returns 1, 2 when a newer event of the user was mailed meanwhile, or 0 when the lease is lost.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local state, owner, fence, ends = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence', 'until'))
local held = (state == 'lease' or state == 'sending') and tonumber(ends or '0') > now
if not held or owner ~= ARGV[1] or fence ~= ARGV[2] then return 0 end
local accepted = KEYS[2] and redis.call('HGET', KEYS[2], 'accepted')
if accepted and tonumber(accepted) > tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[1], 'state', 'superseded', 'until', '0')
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  return 2
end
redis.call('HSET', KEYS[1], 'state', 'sending', 'until', string.format('%.0f', now + ARGV[3]))
return 1
