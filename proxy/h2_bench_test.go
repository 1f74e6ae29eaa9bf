package proxy

import (
	"testing"

	"ringfence/loadtest/origin"
)

// A hit by HTTP/2, one stream after the other.
func BenchmarkH2Hit(b *testing.B) {
	s := newH2Site(b, always(origin.Answer{Size: 1 << 10}.With("Cache-Control", "max-age=600")), withoutTLS)
	r := s.dialRaw()
	id := uint32(1)
	one := func() {
		if err := r.request(id, true, ":scheme: http"); err != nil {
			b.Fatal(err)
		}
		if id == 1 {
			_ = r.WriteWindowUpdate(0, 1<<30)
		}
		for {
			f, err := r.ReadFrame()
			if err != nil {
				b.Fatal(err)
			}
			if f.Header().StreamID == id && f.Header().Flags.Has(1) {
				break
			}
			r.ack(f)
		}
		id += 2
	}
	one()
	s.stored(1)
	b.ReportAllocs()
	for b.Loop() {
		one()
	}
}
