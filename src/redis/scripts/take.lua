-- Takes ARGV[1] of every count in KEYS, or of none where one of them has less than that left.
-- ARGV: what to take, then for each key its limit and, should it be new, its life in seconds.
-- Returns 1 (taken) or 0, then the counts as they are now.
local cost = tonumber(ARGV[1])
local said = {1}
for i, key in ipairs(KEYS) do
  local used = tonumber(redis.call('GET', key) or 0)
  if used + cost > tonumber(ARGV[2 * i]) then said[1] = 0 end
  said[i + 1] = used
end
if said[1] == 1 then
  for i, key in ipairs(KEYS) do
    local used = redis.call('INCRBY', key, cost)
    if used == cost then redis.call('EXPIRE', key, ARGV[2 * i + 1]) end
    said[i + 1] = used
  end
end
return said
