-- The id of the event of a record, without `event_`; other ids get a mark.
local function short(record)
  local id = string.match(record, '[^:]+$')
  return string.match(id, '^event_(.*)$') or '=' .. id
end

-- Makes the record of an event in KEYS[record] and enters the event into two indexes, KEYS[record + 1] by object and
-- KEYS[record + 2] by user, which last a day longer than the record. From ARGV[first] on: object, user ('' if there is none),
-- ms when it was created, ms from then until it expires and until it was accepted, trace ('' if there is none).
local function create(record, first, kept)
  local event, indexed = short(KEYS[record]), 1
  redis.call('HSET', KEYS[record], 'state', 'accepted', 'o', ARGV[first], 'c', ARGV[first + 2],
    'e', ARGV[first + 3], 'a', ARGV[first + 4])
  if ARGV[first + 1] ~= '' then
    redis.call('HSET', KEYS[record], 'u', ARGV[first + 1])
    indexed = 2
  end
  if ARGV[first + 5] ~= '' then redis.call('HSET', KEYS[record], 't', ARGV[first + 5]) end
  redis.call('PEXPIRE', KEYS[record], kept)
  for index = record + 1, record + indexed do
    if redis.call('RPUSH', KEYS[index], event) == 1 then redis.call('PEXPIRE', KEYS[index], kept + 90000000) end
  end
end
