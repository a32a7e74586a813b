-- Records that the mail was sent, whoever holds the lease by now. ARGV: owner, fence, ms to remember, the relay's queue id.
-- Returns RECORDED, LATE (the lease had passed to another owner) or ALREADY (another owner had completed it).
local state, owner, fence = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence'))
local ours = owner == ARGV[1] and fence == ARGV[2]
if state == 'done' then return ours and 'RECORDED' or 'ALREADY' end
redis.call('HSET', KEYS[1], 'state', 'done', 'owner', ARGV[1], 'fence', ARGV[2], 'receipt', ARGV[4])
redis.call('HDEL', KEYS[1], 'until')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return ours and 'RECORDED' or 'LATE'
