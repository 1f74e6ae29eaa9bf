package redis

// What the engine does in one step. All keys of a call lie in one slot, and a
// script publishes on channels named like its keys. Times are the engine's own
// and only their differences count.

// script names one of the scripts below.
type script uint8

const (
	scriptJoin script = iota
	scriptAppend
	scriptRenew
	scriptDrop
	scriptSync
	scriptBump
	scriptLaggards
	scriptPeek
	scriptCount
)

// sources are the scripts' texts.
func sources() [scriptCount]string {
	return [scriptCount]string{
		scriptJoin:     joinSource,
		scriptAppend:   appendSource,
		scriptRenew:    renewSource,
		scriptDrop:     dropSource,
		scriptSync:     syncSource,
		scriptBump:     bumpSource,
		scriptLaggards: laggardsSource,
		scriptPeek:     peekSource,
	}
}

// joinSource reads a log, or takes the lease where there is none: no key, or
// one whose first entry is the rejected one, or a foreign value. In place of a
// variant's log that is not there it reads the log of the name alone, where the
// heading of that one, behind its checksum, says that it is of this variant. A
// fence is the engine's time in microseconds, and greater than the one before
// it.
//
//	KEYS log, log of the name alone if another
//	ARGV rejected id, last id read, bytes to read, token, opening, ttl, variant
//	-> 0, id of the first entry, milliseconds left, microseconds since the
//	   lease, 1 where more can be read at once, entries, 1 or 2 for the log
//	-> 1, id of the first entry, 1 where a foreign value was in the way
const joinSource = `
local log, plain, rejected, last = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function read(log, which, id, fence)
  local from = '-'
  if string.match(last, '^%d+') == string.match(id, '^%d+') then from = '(' .. last end
  local entries, size, got = {}, 0, nil
  repeat
    got = redis.call('XRANGE', log, from, '+', 'COUNT', 4)
    for _, entry in ipairs(got) do
      entries[#entries + 1] = entry
      size = size + #entry[2][2]
      from = '(' .. entry[1]
    end
  until #got < 4 or size >= tonumber(ARGV[3])
  local more = 0
  if #got == 4 then more = 1 end
  return {0, id, redis.call('PTTL', log), string.format('%.0f', now - fence), more, entries, which}
end
local first = redis.pcall('XRANGE', log, '-', '+', 'COUNT', 1)
local foreign = 0
if first.err then
  if not string.find(first.err, 'WRONGTYPE', 1, true) then return first end
  foreign = 1
elseif first[1] then
  local id = first[1][1]
  local fence = tonumber(string.match(id, '^(%d+)%-0$'))
  if not fence then
    foreign = 1
  elseif id ~= rejected then
    return read(log, 1, id, fence)
  elseif fence >= now and fence < 2^52 then
    now = fence + 1
  end
elseif plain then
  local two = redis.pcall('XRANGE', plain, '-', '+', 'COUNT', 2)
  local head = not two.err and two[2]
  local fence = head and tonumber(string.match(two[1][1], '^(%d+)%-0$'))
  if fence and two[1][1] ~= rejected and head[2][1] == 'h' and string.sub(head[2][2], 9, 16) == ARGV[7] then
    return read(plain, 2, two[1][1], fence)
  end
end
-- A script that has written may go on past maxmemory: no lease of a full engine.
if foreign == 1 or first[1] then redis.call('DEL', log) end
local id = string.format('%.0f', now) .. '-0'
redis.call('XADD', log, id, ARGV[4], ARGV[5])
redis.call('PEXPIRE', log, ARGV[6])
return {1, id, foreign}`

// held begins the scripts that only a log's holder may carry out.
const held = `
local function held(log, id, token)
  local first = redis.call('XRANGE', log, '-', '+', 'COUNT', 1)[1]
  return first and first[1] == id and first[2][1] == token
end
`

// appendSource writes entries to the holder's log, renews the lease and wakes
// those who follow. A call whose answer was lost may be repeated: what is there
// already is left as it is.
//
//	KEYS log   ARGV id, token, ttl, sequence number, kind, value, kind, ...
//	-> 1, or 0 where the log is another's or gone
const appendSource = held + `
local log, id = KEYS[1], ARGV[1]
if not held(log, id, ARGV[2]) then return 0 end
local fence = string.match(id, '^%d+')
for i = 5, #ARGV, 2 do
  local done = redis.pcall('XADD', log, fence .. '-' .. string.format('%.0f', ARGV[4] + (i - 5) / 2), ARGV[i], ARGV[i + 1])
  if type(done) == 'table' and done.err and not string.find(done.err, 'equal or smaller', 1, true) then return done end
end
redis.call('PEXPIRE', log, ARGV[3])
redis.call('SPUBLISH', log, '')
return 1`

// renewSource lengthens leases.
//
//	KEYS logs   ARGV ttl, id, token, id, ...
//	-> 1 or 0 for each
const renewSource = held + `
local kept = {}
for i, log in ipairs(KEYS) do
  kept[i] = 0
  if held(log, ARGV[2 * i], ARGV[2 * i + 1]) then kept[i] = redis.call('PEXPIRE', log, ARGV[1]) end
end
return kept`

// dropSource gives a lease up with all that was written.
//
//	KEYS log   ARGV id, token
const dropSource = held + `
if not held(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SPUBLISH', KEYS[1], '')
return 1`

// syncSource tells an instance which invalidations it has not applied, notes
// how far it has, and that it lives. Where there is no line, or it goes less
// far than the instance has seen, a new one begins; on a line that is new to it
// an instance has applied nothing, unless it is new itself, with nothing to
// invalidate. A full engine can still be read, so the instance goes on with
// what it says.
//
//	KEYS line, members   ARGV instance, line id or 0, applied, new line id, ttl
//	-> line id, number of the last, 1 where some are lost, entries
const syncSource = `
local line, members = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local id = redis.call('HGET', members, 'line')
local at = tonumber(redis.call('HGET', members, 'at') or 0)
local applied = tonumber(ARGV[3])
if not id or (id == ARGV[2] and at < applied) then
  redis.call('DEL', line)
  id, at = ARGV[4], 0
  redis.call('HSET', members, 'line', id, 'at', 0, 'born', string.format('%.0f', now))
end
local entries, lost = {}, 0
if ARGV[2] == '0' then
  applied = at
elseif id ~= ARGV[2] then
  applied = 0
end
if applied < at then
  entries = redis.call('XRANGE', line, string.format('(%.0f-0', applied), '+', 'COUNT', 256)
  if not entries[1] or entries[1][1] ~= string.format('%.0f-0', applied + 1) then
    entries, lost = {}, 1
  end
end
local done = redis.pcall('HSET', members, 'i:' .. ARGV[1], string.format('%.0f %.0f %s', now + ARGV[5], applied, id))
if type(done) == 'table' and done.err and not string.find(done.err, 'OOM', 1, true) then return done end
return {id, string.format('%.0f', at), lost, entries}`

// bumpSource adds an invalidation to the line. Where there is no line, or it
// goes less far than the instance has seen, a new one begins: a number is never
// given twice.
//
//	KEYS line, members   ARGV limit, new line id, tags, packed, line id, applied
//	-> line id, its number
const bumpSource = `
local line, members = KEYS[1], KEYS[2]
local id = redis.call('HGET', members, 'line')
local last = tonumber(redis.call('HGET', members, 'at') or 0)
if not id or (id == ARGV[4] and last < tonumber(ARGV[5])) then
  local time = redis.call('TIME')
  redis.call('HSET', members, 'line', ARGV[2])
  redis.call('DEL', line)
  redis.call('HSET', members, 'at', 0, 'born', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
end
local at = redis.call('HINCRBY', members, 'at', 1)
redis.call('XADD', line, 'MAXLEN', '~', ARGV[1], string.format('%.0f-0', at), 't', ARGV[3])
redis.call('SPUBLISH', line, '')
return {redis.call('HGET', members, 'line'), string.format('%.0f', at)}`

// laggardsSource counts the live instances that have not applied an
// invalidation, and forgets those that are gone. Of a line that is younger than
// an instance's word is good for, not all who live may have heard: that counts
// as one more.
//
//	KEYS line, members   ARGV line id, number, ttl of an instance
//	-> live, laggards
const laggardsSource = `
local members = KEYS[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local live, laggards = 0, 0
local all = redis.call('HGETALL', members)
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'i:' then
    local till, applied, line = string.match(all[i + 1], '^(%d+) (%d+) (%S+)$')
    if not till or tonumber(till) <= now then
      redis.call('HDEL', members, all[i])
    else
      live = live + 1
      if line ~= ARGV[1] or tonumber(applied) < tonumber(ARGV[2]) then laggards = laggards + 1 end
    end
  elseif all[i] == 'born' and now - tonumber(all[i + 1]) < tonumber(ARGV[3]) then
    laggards = laggards + 1
  end
end
return {live, laggards}`

// peekSource reads the beginning and the end of a log, or else of that of the
// name alone where that is of the variant, as joinSource chooses them. It writes
// nothing.
//
//	KEYS log, log of the name alone if another   ARGV variant
//	-> 0
//	-> 1 or 2 for the log, id of the first entry, milliseconds left, microseconds
//	   since the lease, the first two entries, the last one
const peekSource = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i, log in ipairs(KEYS) do
  local two = redis.pcall('XRANGE', log, '-', '+', 'COUNT', 2)
  local fence = not two.err and two[1] and tonumber(string.match(two[1][1], '^(%d+)%-0$'))
  local head = fence and two[2]
  if fence and (i == 1 or head and head[2][1] == 'h' and string.sub(head[2][2], 9, 16) == ARGV[1]) then
    return {i, two[1][1], redis.call('PTTL', log), string.format('%.0f', now - fence), two, redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)}
  end
end
return {0}`
