-- Return what is unused of a slice, if the limit was not whole again meanwhile.
-- KEYS: the limit
-- ARGV: unused, the id of the time of the slice
if redis.call('HGET', KEYS[1], 'id') == ARGV[2] then
  local taken = tonumber(redis.call('HGET', KEYS[1], 'taken')) - tonumber(ARGV[1])
  redis.call('HSET', KEYS[1], 'taken', string.format('%.17g', math.max(0, taken)))
end
return 0
