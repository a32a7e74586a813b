-- Ends a lease. ARGV: owner, fence, what follows ('free': another attempt; 'expired', 'dead'), 1 if the relay had the whole mail
-- and did not answer, why, ms from the event's creation until the next attempt ('' if there is none), ms to keep the record of
-- a dead letter. KEYS[2] and on: indexes that last a day longer, for a dead letter.
-- Returns 1, or 0 when the lease had passed to another owner.
local state, owner, fence = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence'))
if (state ~= 'lease' and state ~= 'sending') or owner ~= ARGV[1] or fence ~= ARGV[2] then return 0 end
if ARGV[4] == '1' then redis.call('HINCRBY', KEYS[1], 'silences', 1) end
redis.call('HSET', KEYS[1], 'state', ARGV[3], 'until', '0', 'w', ARGV[5])
if ARGV[6] ~= '' then redis.call('HSET', KEYS[1], 'x', ARGV[6]) end
if ARGV[3] == 'dead' then
  redis.call('PEXPIRE', KEYS[1], ARGV[7])
  for index = 2, #KEYS do
    if redis.call('RPUSH', KEYS[index], short(KEYS[1])) == 1 then redis.call('PEXPIRE', KEYS[index], ARGV[7] + 90000000) end
  end
end
return 1
