-- Gives ARGV[1] back to the count in KEYS[1], unless it is gone. Returns the count, 0 where there is none.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
return redis.call('DECRBY', KEYS[1], ARGV[1])
