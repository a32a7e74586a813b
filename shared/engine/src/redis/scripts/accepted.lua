-- Notes events that were accepted. For each: KEYS the record, the two indexes of `create`, and what is known of the user's
-- events; ARGV what `create` wants. ARGV[1] ms to keep a record, ARGV[2] ms to remember a user.
-- Older events of the user give way to it before a worker has seen it. Returns how many records were made.
local made = 0
for event = 0, #KEYS / 4 - 1 do
  local record, first = event * 4 + 1, event * 6 + 3
  local state = redis.call('HGET', KEYS[record], 'state')
  if not state then
    create(record, first, ARGV[1])
    made = made + 1
  end
  local user, created = KEYS[record + 3], ARGV[first + 2]
  -- Nothing gives way to one that a worker has made a dead letter meanwhile.
  if state ~= 'dead' and ARGV[first + 1] ~= '' and tonumber(redis.call('HGET', user, 'newest') or '0') < tonumber(created) then
    redis.call('HSET', user, 'newest', created)
    if redis.call('PTTL', user) < tonumber(ARGV[2]) then redis.call('PEXPIRE', user, ARGV[2]) end
  end
end
return made
