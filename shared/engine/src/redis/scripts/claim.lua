-- Claims an event. KEYS[1] the claim; ARGV: owner, term of the lease in ms, ms to remember an unfinished claim.
-- With a limit on its user: KEYS[2] when this user's last events were claimed; ARGV: most of them, period in ms.
-- Returns {'DONE'}, {'LIMIT'}, {'BUSY', ms left}, or {'FRESH', fence, unanswered sends, 1 if an owner crashed while sending}.
-- The end of the lease is a field, not the key's expiry: the fence and the state "sending" must outlive the lease.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local state, owner, ends, fence, silences, died =
  unpack(redis.call('HMGET', KEYS[1], 'state', 'owner', 'until', 'fence', 'silences', 'died'))
if state == 'done' then return { 'DONE' } end
if not state and KEYS[2] then
  local most = tonumber(ARGV[4])
  if redis.call('LPUSH', KEYS[2], string.format('%.0f', now)) > most then
    if tonumber(redis.call('LINDEX', KEYS[2], most)) > now - ARGV[5] then
      redis.call('LPOP', KEYS[2])
      return { 'LIMIT' }
    end
    redis.call('LTRIM', KEYS[2], 0, most - 1)
  end
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
local held = (state == 'lease' or state == 'sending') and tonumber(ends or '0') > now
if held and owner ~= ARGV[1] then return { 'BUSY', tonumber(ends) - now } end
silences, died = tonumber(silences or '0'), tonumber(died or '0')
if held and state == 'sending' then return { 'FRESH', tonumber(fence), silences, died } end
-- Still "sending" after its term: that owner crashed.
if state == 'sending' then
  died = 1
  redis.call('HSET', KEYS[1], 'died', 1)
end
local new_fence = redis.call('HINCRBY', KEYS[1], 'fence', 1)
redis.call('HSET', KEYS[1], 'state', 'lease', 'owner', ARGV[1], 'until', string.format('%.0f', now + ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[2] + ARGV[3])
return { 'FRESH', new_fence, silences, died }
