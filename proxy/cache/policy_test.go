package cache

import (
	"testing"
	"time"
)

func TestPolicy(t *testing.T) {
	const tag, day = `|ETag: "a"`, "|Last-Modified: {-86400}"
	heuristic := Policy{HeuristicMax: time.Hour}
	for _, c := range []struct {
		name     string
		policy   Policy
		request  string
		status   int
		response string
		want     Reason
		lifetime int64 // seconds
	}{
		// RFC 9111, section 4.2.2.
		{"heuristic", heuristic, "", 200, "Date: {0}|Last-Modified: {-1000}", None, 100},
		{"heuristic, from Date", heuristic, "", 200, "Date: {-500}|Last-Modified: {-10500}", None, 1000},
		{"heuristic, bounded", heuristic, "", 200, "Date: {0}" + day, None, 3600},
		{"heuristic, of no use", heuristic, "", 200, "Date: {0}|Last-Modified: {0}", NoFreshness, 0},
		{"heuristic, modified later", heuristic, "", 200, "Date: {0}|Last-Modified: {10}", NoFreshness, 0},
		{"heuristic, unreadable", heuristic, "", 200, "Date: {0}|Last-Modified: yesterday", NoFreshness, 0},
		{"heuristic, two dates", heuristic, "", 200, "Date: {0}" + day + day, NoFreshness, 0},
		{"heuristic, no date", heuristic, "", 200, "Cache-Control: foo" + tag, NoFreshness, 0},
		{"heuristic, explicit", heuristic, "", 200, "Cache-Control: max-age=1" + day, None, 1},
		{"heuristic, explicitly invalid", heuristic, "", 200, "Expires: 0" + day, None, 0},
		{"heuristic, quotes open", heuristic, "", 200, `Cache-Control: a="b` + day, NoFreshness, 0},
		{"heuristic, off", Policy{}, "", 200, "Date: {0}" + day, NoFreshness, 0},
		{"heuristic, 206", heuristic, "", 206, "Cache-Control: public" + day, Partial, 0},
		{"heuristic, unknown and public", heuristic, "", 599, "Cache-Control: public" + day, None, 3600},
		{"heuristic, Pragma", heuristic, "", 200, "Pragma: no-cache" + day, None, 3600},
		{"heuristic, authorized", heuristic, "Authorization: x", 200, day[1:], Authorization, 0},

		{"default", Policy{DefaultTTL: time.Minute}, "", 200, "", None, 60},
		{"default, after a heuristic", Policy{DefaultTTL: time.Minute, HeuristicMax: time.Hour}, "", 200, "Last-Modified: {-1000}", None, 100},
		{"default, for want of a heuristic", Policy{DefaultTTL: time.Minute, HeuristicMax: time.Hour}, "", 200, "Last-Modified: {0}", None, 60},
		{"default, explicit", Policy{DefaultTTL: time.Minute}, "", 200, "Expires: 0", NoFreshness, 0},
		{"default, 302", Policy{DefaultTTL: time.Minute}, "", 302, "", NoFreshness, 0},
		{"default, 302 and public", Policy{DefaultTTL: time.Minute}, "", 302, "Cache-Control: public", None, 60},
		{"default, 503", Policy{DefaultTTL: time.Minute}, "", 503, "", NoFreshness, 0},
		{"default, no-store", Policy{DefaultTTL: time.Minute}, "", 200, "Cache-Control: no-store", ResponseNoStore, 0},
		{"default, no-cache", Policy{DefaultTTL: time.Minute}, "", 200, "Cache-Control: no-cache", NoFreshness, 0},
		{"default, cookie", Policy{DefaultTTL: time.Minute}, "", 200, "Set-Cookie: a=b", SetCookie, 0},
		{"default, old", Policy{DefaultTTL: time.Minute}, "", 200, "Age: 60", NoFreshness, 0},

		{"negative", negative(404, 5), "", 404, "", None, 5},
		{"negative, class", negative(4, 5), "", 403, "", None, 5},
		{"negative, unknown of the class", negative(5, 5), "", 599, "", None, 5},
		{"negative, other class", negative(4, 5), "", 503, "", NoFreshness, 0},
		{"negative, status before class", Policy{NegativeTTL: map[int]time.Duration{4: time.Second, 404: 5 * time.Second}}, "", 404, "", None, 5},
		{"negative, none", Policy{NegativeTTL: map[int]time.Duration{404: 0}, DefaultTTL: time.Minute}, "", 404, "", NoFreshness, 0},
		{"negative, none, validator", negative(404, 0), "", 404, tag[1:], NoFreshness, 0},
		{"negative, before heuristic and default", Policy{NegativeTTL: map[int]time.Duration{404: 5 * time.Second}, HeuristicMax: time.Hour, DefaultTTL: time.Hour}, "", 404, day[1:], None, 5},
		{"negative, explicit", negative(404, 5), "", 404, "Cache-Control: max-age=60", None, 60},
		{"negative, redirect", negative(302, 5), "", 302, "", None, 5},
		{"negative, not of 2xx", negative(2, 5), "", 201, "", NoFreshness, 0},
		{"negative, a challenge", negative(4, 5), "", 401, "", NoFreshness, 0},
		{"negative, a challenge by name", negative(401, 5), "", 401, "", None, 5},
		{"negative, come later", negative(4, 5), "", 429, "", NoFreshness, 0},
		{"negative, cookie", negative(4, 5), "", 404, "Set-Cookie: a=b", SetCookie, 0},

		// RFC 9111, section 7.3.
		{"cookie stored", Policy{SetCookie: SetCookieStore}, "", 200, "Cache-Control: max-age=60|Set-Cookie: a=b", None, 60},
		{"cookie stripped", Policy{SetCookie: SetCookieStrip}, "", 200, "Cache-Control: max-age=60|Set-Cookie: a=b", None, 60},
		{"cookie stripped, withheld", Policy{SetCookie: SetCookieStrip}, "", 200, `Cache-Control: max-age=60, private="set-cookie"|Set-Cookie: a=b` + tag, None, 60},
		{"cookie bypasses", Policy{SetCookie: SetCookieBypass}, "", 200, "Cache-Control: s-maxage=60|Set-Cookie: a=b", SetCookie, 0},
		{"cookie bypasses, withheld", Policy{SetCookie: SetCookieBypass}, "", 200, `Cache-Control: max-age=60, private="set-cookie"|Set-Cookie: a=b` + tag, SetCookie, 0},
		{"cookie withheld", Policy{}, "", 200, `Cache-Control: max-age=60, private="set-cookie"|Set-Cookie: a=b` + tag, None, 60},
		{"no cookie bypasses nothing", Policy{SetCookie: SetCookieBypass}, "", 200, "Cache-Control: max-age=60", None, 60},

		{"the policy's stale window stores nothing", Policy{StaleOnError: time.Hour}, "", 200, "Cache-Control: max-age=0", NoFreshness, 0},
		{"no-store is ignored", Policy{Ignore: DirectiveNoStore}, "Cache-Control: no-store", 200, "Cache-Control: max-age=60", None, 60},
	} {
		rq := NewRequest(&c.policy, "GET", lines(t, c.request))
		m, why := Assess(&c.policy, rq, c.status, lines(t, c.response), epoch, epoch)
		if why != c.want || why == None && seconds64(m.Lifetime) != c.lifetime {
			t.Errorf("%s: %v, lifetime %v; want %v, %ds", c.name, why, m.Lifetime, c.want, c.lifetime)
		}
		sent := m.Fields.Has("Set-Cookie") || m.Withheld.Has("Set-Cookie")
		if sent != (c.policy.SetCookie != SetCookieStrip && lines(t, c.response).Has("Set-Cookie")) {
			t.Errorf("%s: somebody gets a cookie: %v", c.name, sent)
		}
	}
}

func negative(status, seconds int) Policy {
	return Policy{NegativeTTL: map[int]time.Duration{status: time.Duration(seconds) * time.Second}}
}

// TestHeuristicStatuses: those of RFC 9110, section 15.1, and no others.
func TestHeuristicStatuses(t *testing.T) {
	want := map[int]bool{200: true, 203: true, 204: true, 300: true, 301: true, 308: true, 404: true, 405: true, 410: true, 414: true, 501: true}
	for status := 200; status < 600; status++ {
		m, why := Assess(&Policy{HeuristicMax: time.Hour}, get(t, ""), status, lines(t, "Last-Modified: {-1000}"), epoch, epoch)
		if (why == None) != want[status] || m.Source.IsExplicit() {
			t.Errorf("%d: %v, explicit %v", status, why, m.Source.IsExplicit())
		}
	}
}

// TestUnderstoodStatuses: no-store with must-understand stores those of RFC
// 9110, section 15, but for the parts and conditions that nobody stores.
func TestUnderstoodStatuses(t *testing.T) {
	for from, to := range map[int]int{200: 205, 300: 303, 305: 305, 307: 308, 400: 417, 421: 422, 426: 426, 500: 505} {
		for _, status := range []int{from, to} {
			if _, why := Assess(&Policy{}, get(t, ""), status, lines(t, "Cache-Control: no-store, must-understand, max-age=60"), epoch, epoch); why != None {
				t.Errorf("%d: %v", status, why)
			}
		}
	}
	for _, status := range []int{207, 299, 306, 309, 418, 420, 423, 425, 427, 429, 451, 499, 506, 511, 599, 999} {
		if _, why := Assess(&Policy{}, get(t, ""), status, lines(t, "Cache-Control: must-understand, max-age=60"), epoch, epoch); why != MustUnderstand {
			t.Errorf("%d: %v", status, why)
		}
	}
}
