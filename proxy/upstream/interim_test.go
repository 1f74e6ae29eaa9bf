package upstream

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"ringfence/proxy/wire"
)

// TestInterim: what a caller is told of interim responses, RFC 9110, section
// 15.2, before it has the final one.
func TestInterim(t *testing.T) {
	hint := func(n int) string { return fmt.Sprintf("HTTP/1.1 103 Early Hints\r\nLink: %d\r\nlink: b\r\n\r\n", n) }
	many, told := "", ""
	for n := range maxInterim {
		many += hint(n)
		told += fmt.Sprintf("103 Link: %d, link: b; ", n)
	}
	for _, tt := range []struct {
		name, answer, want string
		failure            Kind
	}{
		{"none", text("x"), "", none},
		{"102 and 103", "HTTP/1.1 102 Processing\r\n\r\n" + hint(1) + text("x"), "102 ; 103 Link: 1, link: b; ", none},
		{"unknown", "HTTP/1.1 199 X\r\nA: b\r\n\r\n" + text("x"), "199 A: b; ", none},
		{"100 is for who waits for it", "HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" + hint(1) + text("x"), "103 Link: 1, link: b; ", none},
		{"101", hint(1) + "HTTP/1.1 101 Switching Protocols\r\n\r\n", "103 Link: 1, link: b; ", Protocol},
		{"16", many + text("x"), told, none},
		{"17", many + hint(16) + text("x"), told + "103 Link: 16, link: b; ", Protocol},
		{"malformed", "HTTP/1.1 103 X\r\nA : b\r\n\r\n" + text("x"), "", Protocol},
		{"too large", "HTTP/1.1 103 X\r\nA: " + long(16<<10) + "\r\n\r\n" + text("x"), "", HeadTooLarge},
		{"then nothing", hint(1), "103 Link: 1, link: b; ", Terminated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := newOrigin(t, func(p *peer) {
				p.request()
				p.send(tt.answer)
				_ = p.CloseWrite()
				p.hold()
			})
			got := ""
			req := get("GET")
			req.Interim = func(status int, fields wire.Fields) {
				lines := make([]string, len(fields))
				for i, f := range fields {
					lines[i] = f.Name + ": " + f.Value
				}
				got += fmt.Sprintf("%d %s; ", status, strings.Join(lines, ", "))
			}
			_, body, err := roundTrip(t.Context(), pool(t, func(o *Options) { o.Retry.Attempts = 1 }, o.addr()), req)
			if tt.failure != none {
				wantKind(t, err, tt.failure)
			} else if err != nil || body != "x" {
				t.Errorf("%q, %v", body, err)
			}
			if got != tt.want {
				t.Errorf("told of %q, want %q", got, tt.want)
			}
		})
	}
}

// TestInterimArrivesAtOnce: a caller has an interim response while the final
// one is still to come, and that of a server which then fails.
func TestInterimArrivesAtOnce(t *testing.T) {
	told := make(chan int)
	var asked atomic.Int64
	script := func(p *peer) {
		p.request()
		if asked.Add(1) == 1 {
			p.send("HTTP/1.1 102 Processing\r\n\r\n")
			<-told
			return
		}
		p.send("HTTP/1.1 103 Early Hints\r\n\r\n")
		<-told
		p.send(text("x"))
		p.hold()
	}
	p := pool(t, nil, newOrigin(t, script).addr(), newOrigin(t, script).addr())
	var seen []int
	req := get("GET")
	req.Interim = func(status int, _ wire.Fields) {
		seen = append(seen, status)
		told <- status
	}
	soon(t, func() {
		resp, body, err := roundTrip(t.Context(), p, req)
		if err != nil || body != "x" || resp.Attempts != 2 {
			t.Errorf("%q, %v", body, err)
		}
	})
	if !slices.Equal(seen, []int{102, 103}) {
		t.Errorf("told of %v", seen)
	}
}

// TestMaxHeadSize: a head that just fits is taken, each for itself, and one
// that is a byte longer is a failure.
func TestMaxHeadSize(t *testing.T) {
	const limit = 1 << 10
	head := func(line string, size int) string {
		return line + "\r\nA: " + long(size-len(line)-len("\r\nA: \r\n\r\n")) + "\r\n\r\n"
	}
	ok, early := "HTTP/1.1 204 No Content", "HTTP/1.1 103 Early Hints"
	for _, tt := range []struct {
		name, answer string
		want         Kind
	}{
		{"fits", head(ok, limit), none},
		{"a byte more", head(ok, limit+1), HeadTooLarge},
		{"each fits", head(early, limit) + head(ok, limit), none},
		{"interim, a byte more", head(early, limit+1) + head(ok, limit), HeadTooLarge},
	} {
		o := newOrigin(t, always(tt.answer))
		_, _, err := roundTrip(t.Context(), pool(t, func(o *Options) { o.MaxHeadSize = limit }, o.addr()), get("GET"))
		if tt.want == none && err != nil {
			t.Errorf("%s: %v", tt.name, err)
		} else if tt.want != none {
			wantKind(t, err, tt.want)
		}
	}
}
