package cache

import (
	"strings"
	"testing"
	"time"

	"ringfence/proxy/wire"
)

// epoch is the second at which the tests' responses are made and received.
var epoch = time.Date(2026, time.March, 4, 12, 0, 0, 0, time.UTC)

// lines reads field lines separated by "|"; {+10} stands for the HTTP-date ten
// seconds after epoch.
func lines(t testing.TB, s string) wire.Fields {
	t.Helper()
	for {
		before, rest, ok := strings.Cut(s, "{")
		if !ok {
			break
		}
		offset, after, _ := strings.Cut(rest, "}")
		d, err := time.ParseDuration(offset + "s")
		if err != nil {
			t.Fatal(err)
		}
		s = before + string(AppendDate(nil, epoch.Add(d))) + after
	}
	f, err := wire.ParseFields(nil, strings.ReplaceAll(s, "|", "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func get(t testing.TB, fields string) Request { return NewRequest(&Policy{}, "GET", lines(t, fields)) }

// stored makes the object of a response that must be storable.
func stored(t testing.TB, fields string) *Object {
	t.Helper()
	m, why := Assess(&Policy{}, get(t, ""), 200, lines(t, fields), epoch, epoch)
	if why != None {
		t.Fatalf("%q is not storable: %v", fields, why)
	}
	return &Object{Meta: m, Key: "key", Body: []byte("0123456789"), Epoch: 7}
}

func seconds64(d time.Duration) int64 { return int64(d / time.Second) }
