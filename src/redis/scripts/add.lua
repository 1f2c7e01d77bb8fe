-- Adds ARGV[1] to the count in KEYS[1]; one that has no end gets one, ARGV[2] in seconds since the epoch.
-- Returns the count.
local used = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIREAT', KEYS[1], ARGV[2]) end
return used
