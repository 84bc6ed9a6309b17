-- Set how much of a limit one process has. Return that, the milliseconds until the limit is whole, and the id of this time.
-- KEYS: the limit
-- ARGV: process, amount, limit, milliseconds, the id if the limit is whole now
if redis.call('HSETNX', KEYS[1], 'id', ARGV[5]) == 1 or redis.call('PTTL', KEYS[1]) < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[4]) -- also if another program has removed its end
end
local field, amount = 'has:' .. ARGV[1], tonumber(ARGV[2])
local had = tonumber(redis.call('HGET', KEYS[1], field) or '0')
local taken = tonumber(redis.call('HGET', KEYS[1], 'taken') or '0')
local has = amount
if amount > had then
  has = math.max(had, math.min(amount, tonumber(ARGV[3]) - (taken - had)))
end
redis.call('HSET', KEYS[1], field, string.format('%.17g', has))
redis.call('HSET', KEYS[1], 'taken', string.format('%.17g', math.max(0, taken + has - had)))
local left = math.max(1, redis.call('PTTL', KEYS[1]))
return {string.format('%.17g', has), left, redis.call('HGET', KEYS[1], 'id')}
