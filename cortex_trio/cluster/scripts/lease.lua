-- Take or renew a lease. Return 0, or the milliseconds left of the lease of another holder.
-- KEYS: the lease
-- ARGV: holder, milliseconds
local holder, left = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])
if holder and holder ~= ARGV[1] and left >= 0 then -- below 0: another program has removed its end
  return math.max(1, left)
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 0
