-- Claims an event. KEYS[1] the claim; ARGV: owner, term of the lease in ms, ms to remember an unfinished claim (all its
-- terms included), ms to remember a finished one. With a user: KEYS[2] what is known of their events; ARGV: when this one
-- was created, 1 if it gives way to newer ones, ms to remember the user (no less than the period of the limit), and of the
-- user's limit: ms between two events (0: none), its period.
-- With a limit for all: KEYS[3] when the next mail is due; ARGV: ms between two events, its period.
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
if KEYS[2] and not held then
  local created = tonumber(ARGV[5])
  local user = redis.call('HMGET', KEYS[2], 'newest', 'accepted', 'due')
  local newest = user[1]
  local is_newest = not newest or tonumber(newest) <= created
  if user[2] and tonumber(user[2]) > created then
    redis.call('HSET', KEYS[1], 'state', 'superseded', 'until', '0')
    redis.call('PEXPIRE', KEYS[1], ARGV[4])
    return { 'SUPERSEDED' }
  end
  if not is_newest and ARGV[6] == '1' then return { 'GIVES_WAY' } end
  local due = user[3]
  if not state and ARGV[8] ~= '0' then
    local next = math.max(tonumber(due or '0'), now) + ARGV[8]
    if next - now > tonumber(ARGV[9]) then return { 'LIMIT' } end
    due = string.format('%.0f', next)
  end
  if KEYS[3] and not state then
    local next = math.max(tonumber(redis.call('GET', KEYS[3]) or '0'), now) + ARGV[10]
    local wait = next - now - ARGV[11]
    if wait > 0 then return { 'HELD', wait } end
    redis.call('SET', KEYS[3], string.format('%.0f', next), 'PX', ARGV[11])
  end
  if due ~= user[3] or newest ~= ARGV[5] then
    redis.call('HSET', KEYS[2], 'newest', is_newest and ARGV[5] or newest, 'due', due or '0')
    -- What is there was noted for a shorter time only if the period of the limit is a long one.
    if not newest or ARGV[7] == ARGV[9] then redis.call('PEXPIRE', KEYS[2], ARGV[7]) end
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
redis.call('HSET', KEYS[1], 'state', 'lease', 'owner', ARGV[1], 'fence', new_fence,
  'until', string.format('%.0f', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { 'FRESH', new_fence, silences, died }
