-- Add amounts to totals, each batch once. Return all totals: name, amount, name, amount, ...
-- KEYS: the totals, the batch
-- ARGV: milliseconds for which the batch is remembered, then name, amount, name, amount, ...
if #ARGV > 1 and redis.call('SET', KEYS[2], '1', 'NX', 'PX', ARGV[1]) then
  for place = 2, #ARGV, 2 do
    redis.call('HINCRBYFLOAT', KEYS[1], ARGV[place], ARGV[place + 1])
  end
end
return redis.call('HGETALL', KEYS[1])
