-- A compacted topic's last values: every write to the mirror goes through here, atomically.
--
-- KEYS  at, held, order
-- ARGV  mode, fill, now (ms), then by mode:
--   begin                                    empty, and from the topic's beginning
--   take   from, to, state, key, value, …    on from exactly there; 'v' stands before a value that is
--                                            kept, an empty one removes its key
--
-- Answers {'taken', seq} or {'elsewhere'}.

local at, held, order = KEYS[1], KEYS[2], KEYS[3]
local mode, fill, now = ARGV[1], ARGV[2], ARGV[3]

if mode == 'begin' then
  redis.call('HSET', at, 'fill', fill, 'state', 'filling', 'through', '', 'seq', 0, 'touched', now)
  redis.call('UNLINK', held, order)
  return {'taken', 0}
end

local stands = redis.call('HMGET', at, 'fill', 'through')
if stands[1] ~= fill or stands[2] ~= ARGV[4] then return {'elsewhere'} end
redis.call('HSET', at, 'through', ARGV[5], 'state', ARGV[6], 'touched', now)
local seq = redis.call('HINCRBY', at, 'seq', #ARGV > 6 and 1 or 0)
for i = 7, #ARGV, 2 do
  local key, value = ARGV[i], ARGV[i + 1]
  if value == '' then
    redis.call('HDEL', held, key)
  else
    redis.call('HSET', held, key, string.sub(value, 2))
  end
  redis.call('ZADD', order, seq, key)
end
return {'taken', seq}
