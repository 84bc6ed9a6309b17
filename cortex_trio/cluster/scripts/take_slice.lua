-- Take a part of a limit. Return what was granted, the milliseconds until the limit is whole, and the id of this time.
-- KEYS: the limit
-- ARGV: amount, limit, milliseconds, the id if the limit is whole now
local taken = tonumber(redis.call('HGET', KEYS[1], 'taken') or '0')
local is_new = redis.call('HSETNX', KEYS[1], 'id', ARGV[4]) == 1
if is_new then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
local granted = math.max(0, math.min(tonumber(ARGV[1]), tonumber(ARGV[2]) - taken))
redis.call('HSET', KEYS[1], 'taken', string.format('%.17g', taken + granted))
local left = math.max(1, redis.call('PTTL', KEYS[1]))
return {string.format('%.17g', granted), left, redis.call('HGET', KEYS[1], 'id')}
