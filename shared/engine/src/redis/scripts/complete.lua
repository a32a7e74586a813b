-- Records that the mail was sent, whoever holds the lease by now. ARGV: owner, fence, ms to remember, the relay's queue id.
-- With a user: KEYS[2] what is known of their events; ARGV: when this one was created, ms to remember the user.
-- Returns RECORDED, LATE (the lease had passed to another owner) or ALREADY (another owner had completed it).
if KEYS[2] then
  local user = redis.call('HMGET', KEYS[2], 'newest', 'accepted')
  if not user[2] or tonumber(user[2]) < tonumber(ARGV[5]) then
    redis.call('HSET', KEYS[2], 'accepted', ARGV[5])
    if not user[1] then
      redis.call('HSET', KEYS[2], 'newest', ARGV[5])
      redis.call('PEXPIRE', KEYS[2], ARGV[6])
    end
  end
end
local state, owner, fence = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence'))
local ours = owner == ARGV[1] and fence == ARGV[2]
if state == 'done' then return ours and 'RECORDED' or 'ALREADY' end
redis.call('HSET', KEYS[1], 'state', 'done', 'owner', ARGV[1], 'fence', ARGV[2], 'receipt', ARGV[4], 'until', '0')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return ours and 'RECORDED' or 'LATE'
