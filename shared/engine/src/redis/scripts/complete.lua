-- Records that the mail was sent, whoever holds the lease by now. ARGV: owner, fence, ms to remember, the relay's queue id.
-- With a user: KEYS[2] what is known of their events; ARGV: when this one was created, ms to remember the user.
-- Returns RECORDED, LATE (the lease had passed to another owner) or ALREADY (another owner had completed it).
-- A finished record is kept for days: what it needs no longer is deleted. The fence alone tells who completed it.
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
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local state, owner, fence, created = unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'fence', 'c'))
local ours = fence == ARGV[2] and (owner == ARGV[1] or (state == 'done' and not owner))
if state == 'done' then return ours and 'RECORDED' or 'ALREADY' end
redis.call('HSET', KEYS[1], 'state', 'done', 'fence', ARGV[2], 'receipt', ARGV[4],
  's', string.format('%.0f', now - tonumber(created or '0')))
redis.call('HDEL', KEYS[1], 'owner', 'until', 'x')
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return ours and 'RECORDED' or 'LATE'
