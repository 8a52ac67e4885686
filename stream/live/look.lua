-- Some buckets of one partition's picture and where it stands, all of one moment. Writes nothing.
--
-- KEYS  at, labels, buckets, then the buckets to read; ARGV  1 to answer all names and labels too
-- Answers {state, ledger, meta}, bucket names, labels, and the cells of each bucket.

local names, labels, cells = {}, {}, {}
if ARGV[1] == '1' then
  names, labels = redis.call('SMEMBERS', KEYS[3]), redis.call('HGETALL', KEYS[2])
end
for i = 4, #KEYS do cells[i - 3] = redis.call('HGETALL', KEYS[i]) end
return { redis.call('HMGET', KEYS[1], 'state', 'ledger', 'meta'), names, labels, cells }
