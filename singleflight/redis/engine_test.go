package redis

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"ringfence/singleflight"
)

// TestCost counts the calls that the engine sees.
func TestCost(t *testing.T) {
	s := startServer(t)
	all := fleet(t, 2, Options{Timeout: 3 * time.Second, LeaseTTL: 30 * time.Second}, s)
	all[0].get("warm", give(plain, singleflight.Store, 0, 0, []byte("x"))) // loads the scripts
	all[1].get("warm", give(plain, singleflight.Store, 0, 0, []byte("x")))
	line := all[0].e.nodes[0].line.keys[0]
	eventually(t, 5*time.Second, "all listen for invalidations", func() bool { return s.must("PUBSUB", "SHARDNUMSUB", line) == line+"\n:2" })
	calls := func(do func()) int {
		t.Helper()
		s.must("CONFIG", "RESETSTAT")
		do()
		eventually(t, 5*time.Second, "all is written", func() bool { return all[0].e.Stats().Leading == 0 })
		return s.asked()
	}
	for _, tt := range []struct{ size, fill, hit int }{
		{0, 4, 1}, {1000, 4, 1}, {64 << 10, 4 + 1, 1}, {1 << 20, 4 + 16, 2}, {8 << 20, 4 + 128, 2},
	} {
		body, key := bodyOf(tt.size), fmt.Sprint(tt.size)
		p := page{Name: "n", Length: int64(tt.size), Keep: time.Minute, ETag: "e"}
		if n := calls(func() { all[0].get(key, give(p, singleflight.Store, 0, 0, body)) }); n > tt.fill || n < 2 {
			t.Errorf("%d bytes: a fill takes %d calls", tt.size, n)
		}
		var r result
		if n := calls(func() { r = all[1].get(key, give(p, singleflight.Store, 0, 0, nil)) }); n > tt.hit || n < 1 || !r.whole(body) {
			t.Errorf("%d bytes: a hit takes %d calls, %v", tt.size, n, r.err)
		}
	}
}

// TestBadValues: what is damaged or another's under a log's name is a miss, is
// counted and is replaced.
func TestBadValues(t *testing.T) {
	s := startServer(t)
	body := bodyOf(1000)
	fill := give(plain, singleflight.Store, 0, 0, body)
	spoil := map[string]func(key, other string){
		"a string":       func(key, _ string) { s.must("SET", key, "x") },
		"a hash":         func(key, _ string) { s.must("DEL", key); s.must("HSET", key, "a", "b") },
		"a stream":       func(key, _ string) { s.must("XADD", key, "*", "a", "b") },
		"a stream at 0":  func(key, _ string) { s.must("DEL", key); s.must("XADD", key, "5-0", "a", "b", "c", "d") },
		"no head":        func(key, _ string) { s.must("XDEL", key, s.ids(key)[1]) },
		"no opening":     func(key, _ string) { s.must("XDEL", key, s.ids(key)[0]) },
		"more after it":  func(key, _ string) { s.must("XTRIM", key, "MAXLEN", "2"); s.must("XADD", key, "*", "c", "junk") },
		"another's name": func(key, other string) { s.must("COPY", other, key, "REPLACE") },
	}
	for name, spoil := range spoil {
		t.Run(name, func(t *testing.T) {
			all := fleet(t, 2, Options{}, s)
			all[0].get(t.Name(), fill)
			all[0].get("other", fill)
			eventually(t, 5*time.Second, "all is written", func() bool { return all[0].e.Stats().Leading == 0 })
			key := all[0].e.logKey(Key{Name: t.Name()})
			spoil(key, all[0].e.logKey(Key{Name: "other"}))
			s.must("PERSIST", key)
			if r := all[1].get(t.Name(), fill); !r.whole(body) || all[1].fills.Load() != 1 {
				t.Errorf("%v, %d fills", r.err, all[1].fills.Load())
			}
			if n := all[1].e.Stats().BadValues; n != 1 {
				t.Errorf("%d bad values", n)
			}
			if r := all[0].get(t.Name(), fill); !r.whole(body) || all[0].fills.Load() > 2 {
				t.Errorf("%v, %d fills", r.err, all[0].fills.Load())
			}
			if left, _ := strconv.Atoi(s.must("PTTL", key)[1:]); left <= 0 {
				t.Error("it does not expire")
			}
		})
	}
}

func (s *server) ids(key string) (ids []string) {
	for _, line := range strings.Split(s.must("XRANGE", key, "-", "+"), "\n") {
		fence, seq, ok := strings.Cut(line, "-")
		_, err := strconv.ParseUint(fence, 10, 64)
		if _, err2 := strconv.ParseUint(seq, 10, 64); ok && err == nil && err2 == nil && len(fence) > 12 {
			ids = append(ids, line)
		}
	}
	return ids
}

// TestCluster: keys of one flight lie in one slot, and it works over shards.
func TestCluster(t *testing.T) {
	servers := make([]*server, 3)
	for i := range servers {
		servers[i] = startServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port", freePort(t))
	}
	for i, s := range servers {
		s.must("CLUSTER", "ADDSLOTSRANGE", fmt.Sprint(i*16384/3), fmt.Sprint((i+1)*16384/3-1))
		for _, o := range servers {
			s.must("CLUSTER", "MEET", "127.0.0.1", o.port(), o.args[5])
		}
	}
	for _, s := range servers {
		eventually(t, 20*time.Second, "the cluster is formed", func() bool {
			info := s.must("CLUSTER", "INFO")
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	all := fleet(t, 2, Options{Mode: Cluster, Timeout: time.Second, LeaseTTL: 3 * time.Second}, servers[:1]...)
	body := bodyOf(200_000)
	for i := range 8 {
		was := fills(all)
		rs := crowd(all, 3, fmt.Sprint(i), give(plain, singleflight.Store, 50*time.Millisecond, 0, body))
		if n := count(rs, func(r result) bool { return r.whole(body) }); n != 6 || fills(all)-was != 1 {
			t.Errorf("key %d: %d answered, %d fills: %+v", i, n, fills(all)-was, all[0].e.Stats())
		}
	}
	for i, s := range servers {
		if s.must("DBSIZE") == ":0" {
			t.Errorf("nothing on shard %d", i)
		}
	}
	if _, err := all[0].e.Invalidate(t.Context(), []string{"a"}); err != nil || all[1].tier.tags["a"] == 0 {
		t.Errorf("invalidation: %v", err)
	}
}

// TestSentinel: the master is found through the sentinels.
func TestSentinel(t *testing.T) {
	master := startServer(t)
	conf := t.TempDir() + "/sentinel.conf"
	text := "sentinel monitor main 127.0.0.1 " + master.port() + " 1\nsentinel down-after-milliseconds main 1000\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	sentinel := startServer(t, conf)
	all := fleet(t, 2, Options{Mode: Sentinel, SentinelMaster: "main"}, sentinel)
	body := bodyOf(1000)
	if rs := crowd(all, 3, "k", give(plain, singleflight.Store, 50*time.Millisecond, 0, body)); !rs[0].whole(body) || fills(all) != 1 {
		t.Errorf("%v, %d fills", rs[0].err, fills(all))
	}
	if master.must("DBSIZE") == ":0" {
		t.Error("nothing on the master")
	}
}

func freePort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
