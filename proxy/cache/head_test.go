package cache

import (
	"slices"
	"testing"
	"time"
)

// TestUpdateByHead follows RFC 9111, section 4.3.5. The stored body has ten
// bytes.
func TestUpdateByHead(t *testing.T) {
	const full = `Cache-Control: max-age=60|ETag: "a"|Last-Modified: {-100}|X: 1`
	for _, c := range []struct {
		name, before, request string
		status                int
		answer                string
		want                  HeadVerdict
	}{
		{"all agrees", full, "", 200, `Cache-Control: max-age=9|ETag: "a"|Last-Modified: {-100}|Content-Length: 10|X: 2`, HeadFreshens},
		{"no validator was sent", full, "", 200, "Cache-Control: max-age=9|X: 2", HeadFreshens},
		{"none on either side", "Cache-Control: max-age=60", "", 200, "Cache-Control: max-age=9|X: 2", HeadFreshens},
		{"weak", full, "", 200, `ETag: W/"a"`, HeadFreshens},
		{"another tag", full, "", 200, `ETag: "b"|Content-Length: 10`, HeadInvalidates},
		{"a tag where there was none", "Cache-Control: max-age=60", "", 200, `ETag: "a"`, HeadInvalidates},
		{"modified since", full, "", 200, `ETag: "a"|Last-Modified: {-99}`, HeadInvalidates},
		{"modified before", full, "", 200, "Last-Modified: {-101}", HeadInvalidates},
		{"a date where there was none", "Cache-Control: max-age=60", "", 200, "Last-Modified: {-100}", HeadInvalidates},
		{"another length", full, "", 200, `ETag: "a"|Content-Length: 11`, HeadInvalidates},
		{"no length", full, "", 200, `ETag: "a"|Content-Length: x`, HeadInvalidates},
		{"another coding", full, "", 200, `ETag: "a"|Content-Length: 5|Content-Encoding: br`, HeadSilent},
		{"another coding and tag", full, "", 200, `ETag: "b"|Content-Encoding: br`, HeadInvalidates},
		{"now no-store", full, "", 200, "Cache-Control: no-store", HeadInvalidates},
		{"now varies", full, "", 200, "Vary: foo", HeadInvalidates},
		{"personal", "Cache-Control: max-age=60, public", "Authorization: x", 200, "Cache-Control: max-age=9", HeadSilent},
		{"client forbids storing", full, "Cache-Control: no-store", 200, "X: 2", HeadSilent},
		{"a cookie for one", full, "", 200, "Set-Cookie: a=b", HeadSilent},
		{"not 200", full, "", 410, "Cache-Control: max-age=9", HeadSilent},
		{"not modified", full, `If-None-Match: "a"`, 304, "Cache-Control: max-age=9", HeadSilent},
		{"failure", full, "", 503, "", HeadSilent},
	} {
		o := stored(t, c.before)
		before, at := slices.Clone(o.Fields), epoch.Add(90*time.Second)
		rq := NewRequest(&Policy{}, "HEAD", lines(t, c.request))
		fresh, verdict := UpdateByHead(&Policy{}, o, rq, c.status, lines(t, c.answer), at, at)
		if verdict != c.want || (fresh != nil) != (verdict == HeadFreshens) || !slices.Equal(o.Fields, before) {
			t.Errorf("%s: %v, object %v", c.name, verdict, fresh != nil)
			continue
		}
		if fresh == nil {
			continue
		}
		if x := lines(t, c.answer).Get("X"); x != "" && (fresh.Fields.Get("X") != x || fresh.Lifetime != 9*time.Second) {
			t.Errorf("%s: not updated: %v, fresh for %v", c.name, fresh.Fields, fresh.Lifetime)
		}
		if fresh.Fields.Has("Content-Length") || fresh.Key != o.Key || &fresh.Body[0] != &o.Body[0] || Decide(fresh, get(t, ""), at).Action != Serve {
			t.Errorf("%s: the object does not stand: %+v", c.name, fresh)
		}
	}
	missing, _ := Assess(&Policy{}, get(t, ""), 404, lines(t, "Cache-Control: max-age=60"), epoch, epoch)
	if _, v := UpdateByHead(&Policy{}, &Object{Meta: missing}, NewRequest(&Policy{}, "HEAD", nil), 200, nil, epoch, epoch); v != HeadInvalidates {
		t.Errorf("a stored 404 where there is something now: %v", v)
	}
	if _, v := UpdateByHead(&Policy{}, stored(t, full), get(t, ""), 200, lines(t, "X: 2"), epoch, epoch); v != HeadSilent {
		t.Errorf("the answer to a GET: %v", v)
	}
}
