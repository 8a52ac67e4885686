-- Where one partition's picture stands and what belongs to it, all of one moment.
--
-- KEYS  at, labels, buckets, feed
-- Answers {state, fill, step, meta, ledger, epoch}, the id of the last feed entry, bucket names, labels.

local last = redis.call('XREVRANGE', KEYS[4], '+', '-', 'COUNT', 1)
return {
  redis.call('HMGET', KEYS[1], 'state', 'fill', 'step', 'meta', 'ledger', 'epoch'),
  last[1] and last[1][1] or '0-0',
  redis.call('SMEMBERS', KEYS[3]),
  redis.call('HGETALL', KEYS[2]),
}
