-- Report that a process runs. Return how many run, the id of the data of this server, and the sequence number.
-- KEYS: the processes, the id of the data, the sequence number
-- ARGV: id of the process, milliseconds for which it counts, the id of the data if it has none
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if tonumber(ARGV[2]) > 0 then
  redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
redis.call('SET', KEYS[2], ARGV[3], 'NX')
return {redis.call('ZCARD', KEYS[1]), redis.call('GET', KEYS[2]), redis.call('GET', KEYS[3]) or '0'}
