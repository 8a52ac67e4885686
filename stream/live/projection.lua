-- One partition's read model: every write to it goes through here, atomically.
--
-- KEYS  at, labels, buckets, feed, command, then the bucket of each group of the parcel
-- ARGV  mode, epoch, ledger, fill, step, feed length, then by mode:
--   begin   meta                                  a new fill starts; nothing else is touched
--   erase   number                                takes so many old buckets away; answers what is left
--   chunk   parcel, groups written                part of a fill
--   finish  through, meta, entry                  the fill is whole
--   step    from, through, meta, entry, parcel, groups written
--
-- A call is taken only from exactly (epoch, fill, step - 1) in the state it belongs to, a step also
-- only from its `from`; the same call again answers as it did. Answers {'taken', x}, {'elsewhere'}
-- or {'fenced', epoch}. The first write of each mode is one that `noeviction` refuses when memory
-- is full, and so refuses the whole call.

local at, labels, buckets, feed, command = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local mode, epoch, ledger, fill, step = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local prefix = string.sub(at, 1, -3)

local function in_runs(list, act)
  for i = 1, #list, 4000 do act(unpack(list, i, math.min(i + 3999, #list))) end
end

local function tell(...)
  redis.call('XADD', feed, 'MAXLEN', '~', ARGV[6], '*', ...)
end

local function write(raw, written)
  local groups, names = cmsgpack.unpack(raw), {}
  in_runs(groups[1], function(...) redis.call('HSET', labels, ...) end)
  for i = 1, written do
    local key = KEYS[5 + i]
    names[i] = string.sub(key, #prefix + 1)
    in_runs(groups[1 + i], function(...) redis.call('HSET', key, ...) end)
  end
  in_runs(names, function(...) redis.call('SADD', buckets, ...) end)
  for i = written + 1, #groups - 1 do
    local key, ids = KEYS[5 + i], {}
    for j = 1, #groups[1 + i], 2 do ids[#ids + 1] = groups[1 + i][j] end
    in_runs(ids, function(...) redis.call('HDEL', key, ...) end)
    if redis.call('EXISTS', key) == 0 then
      redis.call('SREM', buckets, string.sub(key, #prefix + 1))
    end
  end
end

local held = redis.call('HMGET', at, 'epoch', 'ledger', 'fill', 'step', 'state', 'through')
if held[1] and held[2] == ledger and tonumber(held[1]) > tonumber(epoch) then
  return {'fenced', held[1]}
end

if mode == 'begin' then
  redis.call('HSET', at, 'epoch', epoch, 'ledger', ledger, 'fill', fill, 'step', step,
    'state', 'filling', 'through', '', 'meta', ARGV[7])
  tell('f', fill)
  return {'taken', 0}
end

if held[1] ~= epoch or held[3] ~= fill then return {'elsewhere'} end
local again = tonumber(held[4]) == step
if not again then
  local state = mode == 'step' and 'whole' or 'filling'
  if tonumber(held[4]) ~= step - 1 or held[5] ~= state then return {'elsewhere'} end
  if mode == 'step' and held[6] ~= ARGV[7] then return {'elsewhere'} end
  redis.call('HSET', at, 'step', step)
end

if mode == 'erase' then
  local names = redis.call('SPOP', buckets, ARGV[7])
  for i = 1, #names do redis.call('UNLINK', prefix .. names[i]) end
  redis.call('UNLINK', labels)
  return {'taken', redis.call('SCARD', buckets)}
elseif again then
  return {'taken', redis.call('GET', command)}
elseif mode == 'chunk' then
  write(ARGV[7], tonumber(ARGV[8]))
  tell('f', fill)
  return {'taken', 0}
elseif mode == 'finish' then
  redis.call('HSET', at, 'state', 'whole', 'through', ARGV[7], 'meta', ARGV[8])
  tell('d', ARGV[9])
else
  redis.call('HSET', at, 'through', ARGV[8], 'meta', ARGV[9])
  if ARGV[11] == '' then
    tell('d', ARGV[10])
  else
    write(ARGV[11], tonumber(ARGV[12]))
    tell('d', ARGV[10], 'c', ARGV[11])
  end
end
return {'taken', redis.call('GET', command)}
