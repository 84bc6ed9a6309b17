-- Return the sequence number, and all entries that have not expired, with the milliseconds left of each.
-- KEYS: the index of names, the sequence number
-- ARGV: what stands before a name in the key of an entry
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local found = {redis.call('GET', KEYS[2]) or '0'}
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local stored = redis.call('GET', ARGV[1] .. name)
  local left = redis.call('PTTL', ARGV[1] .. name)
  if stored and left > 0 then
    local ok, known = pcall(cjson.decode, stored) -- what another program has written is no entry
    if ok and type(known) == 'table' and type(known[1]) == 'string' and type(known[2]) == 'string' then
      table.insert(found, cjson.encode({name, known[1], known[2], left}))
    end
  end
end
return found
