package cache

import (
	"net/http"
	"testing"
	"time"
)

func TestParseDate(t *testing.T) {
	want := time.Date(1994, time.November, 6, 8, 49, 37, 0, time.UTC)
	for s, year := range map[string]int{ // 0: refused
		"Sun, 06 Nov 1994 08:49:37 GMT":       1994,
		"SUN, 06 nov 1994 08:49:37 gMT":       1994,
		"Mon, 06 Nov 1994 08:49:37 GMT":       1994, // the weekday is not checked
		"Sunday, 06-Nov-94 08:49:37 GMT":      1994,
		"wednesday, 06-NOV-94 08:49:37 GMT":   1994,
		"Sunday, 06-Nov-76 08:49:37 GMT":      1976, // 2076-11 is past 50 years after 2026-03
		"Friday, 06-Nov-75 08:49:37 GMT":      2075,
		"Sun Nov  6 08:49:37 1994":            1994,
		"Sun Nov 06 08:49:37 1994":            1994,
		"Sun, 06 Nov 1994 08:49:37 UTC":       0,
		"Sun, 06 Nov 94 08:49:37 GMT":         0,
		"Sun 06 Nov 1994 08:49:37 GMT":        0,
		"Sun, 06  Nov  1994 08:49:37 GMT":     0,
		"Sun, 06-Nov-1994 08:49:37 GMT":       0,
		"Sun, 06 Nov 1994 08.49.37 GMT":       0,
		"Sun, 06 Nov 1994 8:49:37 GMT":        0,
		"Sun, 6 Nov 1994 08:49:37 GMT":        0,
		"Sun, 06 Nov 1994 24:49:37 GMT":       0,
		"Sun, 06 Nov 1994 08:60:37 GMT":       0,
		"Sun, 06 Nov 1994 08:49:61 GMT":       0,
		"Sun, 31 Nov 1994 08:49:37 GMT":       0,
		"Sun, 00 Nov 1994 08:49:37 GMT":       0,
		"Sun, 06 Nix 1994 08:49:37 GMT":       0,
		"Sol, 06 Nov 1994 08:49:37 GMT":       0,
		"Sun, 06 Nov 1994 08:49:37 GMT, more": 0,
		"Sun, 06 Nov -994 08:49:37 GMT":       0,
		"Sunday, 06 Nov 94 08:49:37 GMT":      0,
		"Sun, 06-Nov-94 08:49:37 GMT":         0,
		"Sun Nov  6 08:49:37 94":              0,
		"Sun Nov 6 08:49:37 1994":             0,
		"1994-11-06T08:49:37Z":                0,
		"0":                                   0,
		"":                                    0,
	} {
		got, ok := parseDate(s, epoch)
		if ok != (year != 0) || ok && !got.Equal(want.AddDate(year-1994, 0, 0)) {
			t.Errorf("parseDate(%q) = %v, %v; want the year %d", s, got, ok, year)
		}
	}
	leap, ok := parseDate("Sat, 31 Dec 2016 23:59:60 GMT", epoch)
	if !ok || !leap.Equal(time.Date(2017, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("a leap second gave %v, %v", leap, ok)
	}
}

func FuzzParseDate(f *testing.F) {
	f.Add("Sun, 06 Nov 1994 08:49:37 GMT", int64(0))
	f.Add("Thursday, 29-Feb-00 08:49:37 GMT", int64(253402300799))
	f.Add("Sun Nov  6 08:49:37 1994", int64(-62167219200))
	f.Fuzz(func(t *testing.T, s string, unix int64) {
		// Where the standard library reads s too, it reads the same; but that it
		// gives two digits another century.
		ours, ok := parseDate(s, epoch)
		if theirs, err := http.ParseTime(s); ok && err == nil && !ours.Equal(theirs) && !ours.Equal(theirs.AddDate(100, 0, 0)) {
			t.Fatalf("%q is %v, and to net/http %v", s, ours, theirs)
		}
		const first, last = -62167219200, 253402300799 // the years 0 and 9999
		now := time.Unix(first+(unix%(last-first+1)+last-first+1)%(last-first+1), 0)
		for _, layout := range []string{http.TimeFormat, time.ANSIC} {
			got, ok := parseDate(now.UTC().Format(layout), epoch)
			if !ok || !got.Equal(now) {
				t.Fatalf("%q parsed as %v, %v", now.UTC().Format(layout), got, ok)
			}
		}
		if got := string(AppendDate(nil, now)); got != now.UTC().Format(http.TimeFormat) {
			t.Fatalf("AppendDate(%v) = %q", now, got)
		}
		if got, ok := parseDate(now.UTC().Format("Monday, 02-Jan-06 15:04:05 GMT"), now); !ok || !got.Equal(now) {
			t.Fatalf("RFC 850 form of %v parsed as %v, %v", now, got, ok)
		}
	})
}
