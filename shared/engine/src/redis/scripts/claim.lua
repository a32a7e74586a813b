-- Claims an event. KEYS[1] the claim, which is also its record, KEYS[2] and [3] the indexes of `create`; ARGV: owner, term of
-- the lease in ms, ms to keep the record (longer than all its terms), number of the attempt, and from [5] on what `create`
-- wants. With a user: KEYS[4] what is known of their events; from ARGV[11] on: 1 if it gives way to newer ones, ms to remember
-- the user (no less than the period of the limit), and of the user's limit: ms between two events (0: none), its period; ms to
-- keep the record of a dead letter; ms before its end until which it gives way, by the clock of this server, too.
-- With a limit for all: KEYS[5] when the next mail is due; from ARGV[17] on: ms between two events, its period.
-- Without KEYS[2] (a probe), there is no record to make.
-- Returns {'DONE'}, {'BUSY', ms left}, {'SUPERSEDED'}, {'GIVES_WAY'}, {'LIMIT'}, {'HELD', ms to wait}, or {'FRESH', fence,
-- unanswered sends, 1 if an owner crashed while sending}.
-- The end of the lease is a field, not the key's expiry: the fence and the state "sending" must outlive the lease.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local state, owner, ends, fence, silences, died =
  unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'until', 'fence', 'silences', 'died'))
if state == 'done' then return { 'DONE' } end
if state == 'superseded' then return { 'SUPERSEDED' } end
local held = (state == 'lease' or state == 'sending') and tonumber(ends or '0') > now
if held and owner ~= ARGV[1] then return { 'BUSY', tonumber(ends) - now } end
if not state and KEYS[2] then create(1, 5, ARGV[3]) end
if KEYS[4] and not held then
  local created = tonumber(ARGV[7])
  local user = redis.call('HMGET', KEYS[4], 'newest', 'accepted', 'due')
  local newest = user[1]
  local is_newest = not newest or tonumber(newest) <= created
  if user[2] and tonumber(user[2]) > created then
    redis.call('HSET', KEYS[1], 'state', 'superseded', 'until', '0')
    return { 'SUPERSEDED' }
  end
  if not is_newest and ARGV[11] == '1' and now < created + ARGV[8] - ARGV[16] then
    redis.call('HSET', KEYS[1], 'w', 'gives_way')
    return { 'GIVES_WAY' }
  end
  local due = user[3]
  if not fence and ARGV[13] ~= '0' then
    local next = math.max(tonumber(due or '0'), now) + ARGV[13]
    if next - now > tonumber(ARGV[14]) then
      redis.call('HSET', KEYS[1], 'state', 'dead', 'w', 'person_limit')
      redis.call('PEXPIRE', KEYS[1], ARGV[15])
      return { 'LIMIT' }
    end
    due = string.format('%.0f', next)
  end
  if KEYS[5] and not fence then
    local next = math.max(tonumber(redis.call('GET', KEYS[5]) or '0'), now) + ARGV[17]
    local wait = next - now - ARGV[18]
    if wait > 0 then
      redis.call('HSET', KEYS[1], 'w', 'mail_limit')
      return { 'HELD', wait }
    end
    redis.call('SET', KEYS[5], string.format('%.0f', next), 'PX', ARGV[18])
  end
  if due ~= user[3] or newest ~= ARGV[7] then
    redis.call('HSET', KEYS[4], 'newest', is_newest and ARGV[7] or newest, 'due', due or '0')
    -- What is there was noted for a shorter time only if the period of the limit is a long one.
    if not newest or ARGV[12] == ARGV[14] then redis.call('PEXPIRE', KEYS[4], ARGV[12]) end
  end
end
silences, died = tonumber(silences or '0'), tonumber(died or '0')
if held and state == 'sending' then return { 'FRESH', tonumber(fence), silences, died } end
-- Still "sending" after its term: that owner crashed.
if state == 'sending' then
  died = 1
  redis.call('HSET', KEYS[1], 'died', 1)
end
local new_fence = tonumber(fence or '0') + 1
redis.call('HSET', KEYS[1], 'state', 'lease', 'owner', ARGV[1], 'fence', new_fence, 'n', ARGV[4] or '0',
  'until', string.format('%.0f', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { 'FRESH', new_fence, silences, died }
