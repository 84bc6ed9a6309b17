-- Store an entry if it replaces the stored one, and publish it. The rule is `replaces` of entry.py.
-- KEYS: the entry, the index of names, the sequence number
-- ARGV: name, id of the fact, value, milliseconds left, channel
local left = tonumber(ARGV[4])
local stored = redis.call('GET', KEYS[1])
local ok, known = pcall(cjson.decode, stored or '')
if ok and type(known) == 'table' and type(known[1]) == 'string' and type(known[2]) == 'string' then
  local known_left = redis.call('PTTL', KEYS[1])
  local known_has_ended, new_has_ended = known[2] == '', ARGV[3] == ''
  local replaces
  if known[1] == ARGV[2] then
    replaces = not known_has_ended and (new_has_ended or left > known_left)
  elseif known_has_ended ~= new_has_ended then
    replaces = known_has_ended
  else
    replaces = left > known_left
  end
  if not replaces then
    return 0
  end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], cjson.encode({ARGV[2], ARGV[3]}), 'PX', left)
redis.call('ZADD', KEYS[2], now + left, ARGV[1])
local sequence = redis.call('INCR', KEYS[3])
redis.call('PUBLISH', ARGV[5], cjson.encode({sequence, ARGV[1], ARGV[2], ARGV[3], left}))
return 1
