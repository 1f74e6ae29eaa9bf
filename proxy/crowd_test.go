package proxy

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// memoryInUse is what the heap and the stacks take after a collection.
func memoryInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// Ten thousand clients of one cold key cost one request, and a bounded amount
// of memory each while they wait: connection, buffers and all.
func TestCrowd(t *testing.T) {
	const crowd, most = 10_000, 48 << 10
	hold := make(chan struct{})
	s := newSite(t, always(origin.Answer{
		Hold: hold, Body: make([]byte, 1<<10), Fields: []origin.Field{{Name: "Cache-Control", Value: "max-age=60"}},
	}), func(o *Options) { o.MaxWaiters, o.WaitTimeout = crowd, time.Minute })
	front := testFront(s.h)
	before := memoryInUse()
	var all sync.WaitGroup
	for range crowd {
		all.Go(func() {
			if c := (&loopConn{request: []byte(benchRequest), left: 1}); front.ServeConn(c) != nil || c.wrote < 1<<10 {
				t.Errorf("%d bytes answered", c.wrote)
			}
		})
	}
	s.waiting(crowd)
	each := (memoryInUse() - before) / crowd
	t.Logf("each takes %d bytes", each)
	if each > most {
		t.Errorf("each takes more than %d bytes", most)
	}
	close(hold)
	all.Wait()
	if n := s.o.Record().Total; n != 1 {
		t.Errorf("%d requests reached the origin", n)
	}
}
