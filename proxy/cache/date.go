package cache

import (
	"time"

	"ringfence/proxy/wire"
)

const (
	dayNames   = "SunMonTueWedThuFriSat"
	monthNames = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

// parseDate reads an HTTP-date in any of its three forms: IMF-fixdate,
// RFC 850 and asctime (RFC 9110, section 5.6.7). It is strict: names in any
// case but spelled out, every number with all its digits, single spaces, GMT
// only, and a day that the month has. The weekday is not compared with the
// date.
//
// ref is a time near the present. It gives the two-digit year of an RFC 850
// date its century: the latest that is not more than 50 years after ref.
func parseDate(s string, ref time.Time) (time.Time, bool) {
	switch {
	case len(s) == len("Sun, 06 Nov 1994 08:49:37 GMT") && s[3] == ',':
		return parseFixdate(s)
	case len(s) == len("Sun Nov  6 08:49:37 1994") && s[3] == ' ':
		return parseAsctime(s)
	}
	return parseRFC850(s, ref)
}

// parseFixdate reads "Sun, 06 Nov 1994 08:49:37 GMT".
func parseFixdate(s string) (time.Time, bool) {
	if nameIndex(dayNames, s[:3]) < 0 || s[3:5] != ", " || s[7] != ' ' || s[11] != ' ' || s[16] != ' ' || !isGMT(s[25:]) {
		return time.Time{}, false
	}
	day, ok1 := digits(s[5:7])
	year, ok2 := digits(s[12:16])
	if !ok1 || !ok2 {
		return time.Time{}, false
	}
	return makeDate(year, nameIndex(monthNames, s[8:11])+1, day, s[17:25])
}

// parseAsctime reads "Sun Nov  6 08:49:37 1994".
func parseAsctime(s string) (time.Time, bool) {
	if nameIndex(dayNames, s[:3]) < 0 || s[7] != ' ' || s[10] != ' ' || s[19] != ' ' {
		return time.Time{}, false
	}
	from := 8
	if s[from] == ' ' {
		from++
	}
	day, ok1 := digits(s[from:10])
	year, ok2 := digits(s[20:])
	if !ok1 || !ok2 {
		return time.Time{}, false
	}
	return makeDate(year, nameIndex(monthNames, s[4:7])+1, day, s[11:19])
}

// parseRFC850 reads "Sunday, 06-Nov-94 08:49:37 GMT".
func parseRFC850(s string, ref time.Time) (time.Time, bool) {
	const tail = ", 06-Nov-94 08:49:37 GMT"
	if len(s) < len(tail) || !isLongDay(s[:len(s)-len(tail)]) {
		return time.Time{}, false
	}
	s = s[len(s)-len(tail):]
	if s[:2] != ", " || s[4] != '-' || s[8] != '-' || s[11] != ' ' || !isGMT(s[20:]) {
		return time.Time{}, false
	}
	day, ok1 := digits(s[2:4])
	year, ok2 := digits(s[9:11])
	if !ok1 || !ok2 {
		return time.Time{}, false
	}
	month := nameIndex(monthNames, s[5:8]) + 1
	limit := ref.UTC().AddDate(50, 0, 0)
	year += limit.Year() - limit.Year()%100
	if t, ok := makeDate(year, month, day, s[12:20]); ok && !t.After(limit) {
		return t, true
	}
	return makeDate(year-100, month, day, s[12:20])
}

func isLongDay(s string) bool {
	for _, day := range [...]string{"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"} {
		if wire.EqualFold(s, day) {
			return true
		}
	}
	return false
}

// isGMT accepts " GMT" in any case.
func isGMT(s string) bool { return wire.EqualFold(s, " GMT") }

// nameIndex returns the place of the three-letter name in names, or -1.
func nameIndex(names, name string) int {
	for i := 0; i < len(names); i += 3 {
		if wire.EqualFold(names[i:i+3], name) {
			return i / 3
		}
	}
	return -1
}

// digits reads the few digits of a date, in place: it is [number] without a
// bound.
func digits(s string) (int, bool) {
	n := 0
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int(d)
	}
	return n, s != ""
}

// makeDate checks the ranges; clock is "08:49:37". The 60th second, which a
// leap second has, is the first of the next minute.
func makeDate(year, month, day int, clock string) (time.Time, bool) {
	h, ok1 := digits(clock[:2])
	m, ok2 := digits(clock[3:5])
	s, ok3 := digits(clock[6:8])
	if !ok1 || !ok2 || !ok3 || clock[2] != ':' || clock[5] != ':' || h > 23 || m > 59 || s > 60 || month < 1 || day < 1 {
		return time.Time{}, false
	}
	minute := time.Date(year, time.Month(month), day, h, m, 0, 0, time.UTC)
	if minute.Day() != day { // the month has no such day
		return time.Time{}, false
	}
	return minute.Add(time.Duration(s) * time.Second), true
}

// AppendDate appends t as an IMF-fixdate (RFC 9110, section 5.6.7), which is
// 29 bytes long, to dst. The year must be between 0 and 9999.
func AppendDate(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	dst = append(dst, dayNames[3*t.Weekday():][:3]...)
	dst = append(dst, ", "...)
	dst = append(appendTwo(dst, day), ' ')
	dst = append(dst, monthNames[3*(month-1):][:3]...)
	dst = append(dst, ' ')
	dst = append(appendTwo(appendTwo(dst, year/100), year%100), ' ')
	dst = append(appendTwo(dst, hour), ':')
	dst = append(appendTwo(dst, minute), ':')
	dst = appendTwo(dst, second)
	return append(dst, " GMT"...)
}

func appendTwo(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10%10), byte('0'+n%10))
}
