package cache

import (
	"slices"
	"strings"
	"testing"
	"time"

	"ringfence/proxy/wire"
)

func TestTags(t *testing.T) {
	both := CacheTag | SurrogateKey
	for _, c := range []struct {
		from   TagFields
		fields string
		want   string // joined with "|"
		rest   int    // lines that clients get
	}{
		{both, "Cache-Tag: a, b c,,\t d ,a", "a|b c|d", 0},
		{both, "Surrogate-Key:  b\ta  a,c ", "a|a,c|b", 0},
		{both, "cache-tag: a|X: 1|SURROGATE-KEY: a b|Cache-Tag: c", "a|b|c", 1},
		{both, "Cache-Tag: A,a", "A|a", 0},
		{both, "Cache-Tag: , ,|Surrogate-Key: ", "", 0},
		{both, "Cache-Tags: a|Surrogate-Keys: b|Surrogate-Control: c|Edge-Cache-Tag: d", "", 4},
		{CacheTag, "Cache-Tag: a|Surrogate-Key: b", "a", 1},
		{SurrogateKey, "Cache-Tag: a|Surrogate-Key: b", "b", 1},
		{0, "Cache-Tag: a|Surrogate-Key: b", "", 2},
	} {
		fields := lines(t, "Cache-Control: max-age=60|"+c.fields)
		m, why := Assess(&Policy{TagFields: c.from}, get(t, ""), 200, fields, epoch, epoch)
		if got := strings.Join(m.Tags, "|"); got != c.want || why != None {
			t.Errorf("%q: %q, want %q; %v", c.fields, got, c.want, why)
		}
		if got := c.from.Strip(fields); len(got) != 1+c.rest || slices.ContainsFunc(got, func(f wire.Field) bool { return c.from.has(f.Name) }) {
			t.Errorf("%q: clients get %v", c.fields, got)
		}
		// They stay among what is stored, for 304s and for other instances.
		if len(m.Fields) != len(fields)+1 {
			t.Errorf("%q: stored are %v", c.fields, m.Fields)
		}
	}
	fields := lines(t, "Cache-Tag: a|X: 1")
	if both.Strip(fields); len(fields) != 2 || fields[0].Value != "a" {
		t.Errorf("Strip changes its argument: %v", fields)
	}
}

// Groups and tags are bounded together; a 304 without tags leaves them as they
// are, and one with tags gives others; a response whose tags are its requester's
// alone is not shared.
func TestTagsOfResponses(t *testing.T) {
	p := &Policy{TagFields: CacheTag, MaxTags: 33}
	many := "Cache-Control: max-age=60|Cache-Groups: " + manyGroups(20) + "|Cache-Tag: " + strings.TrimSuffix(manyGroups(13), `,`)
	for fields, want := range map[string]Reason{
		many: None, many + "|Cache-Tag: one more": TooManyTags, `Cache-Control: max-age=60, private="cache-tag"|Cache-Tag: a`: Private,
	} {
		if _, why := Assess(p, get(t, ""), 200, lines(t, fields), epoch, epoch); why != want {
			t.Errorf("%.60s: %v, want %v", fields, why, want)
		}
	}
	m, _ := Assess(p, get(t, ""), 200, lines(t, `Cache-Control: max-age=60|ETag: "1"|Cache-Tag: a, b`), epoch, epoch)
	for fields, want := range map[string]string{"X: 1": "a b", "Cache-Tag: c": "c", "Cache-Tag: ": ""} {
		o, why := Freshen(p, &Object{Meta: m}, get(t, ""), lines(t, fields), epoch, epoch)
		if why != None || strings.Join(o.Tags, " ") != want {
			t.Errorf("after a 304 with %q: %v, %q, want %q", fields, why, o.Tags, want)
		}
	}
}

// FuzzTags: each tag is in the field, none is empty, and they are the same once
// they are written in the other field, where that can hold them.
func FuzzTags(f *testing.F) {
	for _, seed := range []string{"a, b", "a b\tc", ",,", " a ,a", "\t"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		tags := CacheTag.read(wire.Fields{{Name: "Cache-Tag", Value: value}})
		for i, tag := range tags {
			if tag == "" || tag != wire.TrimSpace(tag) || strings.Contains(tag, ",") || !strings.Contains(value, tag) || i > 0 && tags[i-1] >= tag {
				t.Fatalf("%q: %q", value, tags)
			}
		}
		again := CacheTag.read(wire.Fields{{Name: "Cache-Tag", Value: strings.Join(tags, ", ")}})
		if !slices.Equal(again, tags) {
			t.Fatalf("%q: %q, then %q", value, tags, again)
		}
		keys := SurrogateKey.read(wire.Fields{{Name: "Surrogate-Key", Value: value}})
		if swapped := CacheTag.read(wire.Fields{{Name: "Cache-Tag", Value: strings.Join(keys, ",")}}); !strings.Contains(value, ",") && !slices.Equal(swapped, keys) {
			t.Fatalf("%q: keys %q, as tags %q", value, keys, swapped)
		}
	})
}

// Expired: never fresh from that age on, stale windows from there, and no longer
// fresh than before.
func TestExpired(t *testing.T) {
	const windows = "Cache-Control: max-age=60, stale-while-revalidate=10, stale-if-error=20|ETag: \"1\""
	for _, c := range []struct {
		name   string
		fields string
		age    int64 // at which it is expired
		at     int64 // seconds after epoch
		want   Action
		onFail bool
	}{
		{"before", windows, 30, 29, Serve, true},
		{"at once", windows, 30, 30, ServeAndRefresh, true},
		{"end of the first window", windows, 30, 40, ServeAndRefresh, true},
		{"past it", windows, 30, 41, Revalidate, true},
		{"past both", windows, 30, 51, Revalidate, false},
		{"it was stale before", windows, 300, 65, ServeAndRefresh, true},
		{"it was stale before, for long", windows, 300, 300, Revalidate, false},
		{"at its birth", windows, 0, 0, ServeAndRefresh, true},
		{"a negative age", windows, -5, 0, ServeAndRefresh, true},
		{"no window", "Cache-Control: max-age=60", 30, 30, Fetch, false},
		{"must-revalidate", windows + "|Cache-Control: must-revalidate", 30, 30, Revalidate, false},
	} {
		o := stored(t, c.fields)
		before := *o
		x := Expired(o, time.Duration(c.age)*time.Second)
		now := epoch.Add(time.Duration(c.at) * time.Second)
		if d := Decide(x, get(t, ""), now); d.Action != c.want || (d.Action != Serve) != (d.TTL <= 0) {
			t.Errorf("%s: %+v, want %v", c.name, d, c.want)
		}
		if got := ServesOnError(x, get(t, ""), now); got != c.onFail {
			t.Errorf("%s: serves on error: %v", c.name, got)
		}
		if o.Lifetime != before.Lifetime || x.Key != o.Key || string(x.Body) != string(o.Body) || x.Epoch != o.Epoch {
			t.Errorf("%s: %+v became %+v", c.name, o, x)
		}
	}
}
