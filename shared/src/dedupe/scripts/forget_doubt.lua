-- An operator takes the responsibility for a mail that may be out. KEYS[1] the claim. Answers 1, or 0 when there is
-- nothing to forget: no record, a mail that is certainly out, or a worker that has it right now.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local state, ends = unpack(redis.call('HMGET', KEYS[1], 'state', 'until'))
if not state or state == 'done' then return 0 end
if (state == 'lease' or state == 'sending') and tonumber(ends or '0') > now then return 0 end
redis.call('HSET', KEYS[1], 'state', 'free', 'silences', '0', 'died', '0')
return 1
