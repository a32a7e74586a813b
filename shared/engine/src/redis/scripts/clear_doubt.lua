-- Clears the doubt whether a mail was sent, on an operator's word. KEYS[1] the claim. Returns 1, or 0 when there is
-- nothing to clear: no record, a mail that was certainly sent, or a worker that holds the claim now.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local state, ends = unpack(redis.call('HMGET', KEYS[1], 'state', 'until'))
if not state or state == 'done' then return 0 end
if (state == 'lease' or state == 'sending') and tonumber(ends or '0') > now then return 0 end
redis.call('HSET', KEYS[1], 'state', 'free', 'silences', '0', 'died', '0')
return 1
