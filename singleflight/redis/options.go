package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Mode is how the addresses of an engine hang together.
type Mode uint8

const (
	// Standalone: each address is a node that knows nothing of the others. Each
	// key has its place on one of them, by ring.New over the addresses.
	Standalone Mode = iota
	// Sentinel: the addresses are sentinels that know the master.
	Sentinel
	// Cluster: the addresses are some nodes of one Cluster.
	Cluster
)

// Options configure an Engine. The zero value of each field but Addresses
// stands for its default.
type Options struct {
	// Addresses are each a host:port or, with Standalone, unix: and the path of
	// a socket; at least one.
	Addresses []string
	Mode      Mode
	Username  string
	Password  string
	TLS       *tls.Config // nil: in the clear, as over a socket
	DB        int         // not with Cluster

	SentinelMaster   string // the name that the sentinels know the master by
	SentinelUsername string // the login at the sentinels, which is not that at the master
	SentinelPassword string

	// Prefix begins all keys; default "ringfence:". Instances with the same
	// prefix are a fleet.
	Prefix string
	// MaxObject is the longest body that goes through the engine, in bytes;
	// default 8 MiB.
	MaxObject int64
	// LeaseTTL is how long a leader that died blocks its key; default 1 s. A
	// lease is renewed at a third of it.
	LeaseTTL time.Duration
	// Timeout is how long one call of the engine may take before its request
	// goes on without; default 30 ms, at most a third of LeaseTTL. Calls that
	// move more than 64 KiB have 1 ms more per 32 KiB.
	Timeout time.Duration
	// Silence is how long a follower waits for new bytes of a living leader;
	// default 60 s.
	Silence time.Duration
	// PrivateMemory is for how long a key is known to give answers that cannot
	// be shared, or are too large; default 10 s.
	PrivateMemory time.Duration
	// FailureMemory is for how long a failure answers the other instances;
	// default 250 ms.
	FailureMemory time.Duration
	// MaxBuffered is how many bytes may be on their way from and to the engine;
	// default 64 MiB. Near it reads get smaller, and past it flights go on
	// without the engine.
	MaxBuffered int64
	// MaxLeases is how many leases this instance may hold; default 16384. Past
	// it fills go on without one.
	MaxLeases int
	// MaxFollows is how many fills of others this instance may follow; default
	// 16384. Past it fills go on by themselves.
	MaxFollows int
	// Tier is what invalidations of the fleet apply to here; nil: there are
	// none, and Invalidate must not be called.
	Tier Tier
	// Resume are the positions that the tier's content was stored with by an earlier
	// process; nil: the tier is empty. See Positions.
	Resume []Position
	// OnNode is told when a node comes into or goes out of use, err saying why
	// it went; nil: nobody is. It is called by the node's goroutine and should
	// return soon.
	OnNode func(address string, up bool, err error)
}

// Tier is what this instance has of its own, as far as invalidation goes. Its
// methods are called by many goroutines.
type Tier interface {
	// Apply makes what carries one of the tags unusable. It is called before
	// the instance confirms, for each invalidation of the fleet, its own too,
	// at least once. The slice must not be kept.
	Apply(tags []string)
	// Drop makes everything unusable that was filled before: some
	// invalidations are lost.
	Drop()
	// Now is the tier's own clock, which each Apply and Drop advances. What an
	// instance begins to fill after Now has said t is usable where no tag of it
	// was invalidated after t.
	Now() uint64
}

func (o Options) withDefaults() Options {
	if o.Prefix == "" {
		o.Prefix = "ringfence:"
	}
	o.MaxObject = orDefault(o.MaxObject, 8<<20)
	o.LeaseTTL = orDefault(o.LeaseTTL, time.Second)
	o.Timeout = orDefault(o.Timeout, 30*time.Millisecond)
	o.Silence = orDefault(o.Silence, time.Minute)
	o.PrivateMemory = orDefault(o.PrivateMemory, 10*time.Second)
	o.FailureMemory = orDefault(o.FailureMemory, 250*time.Millisecond)
	o.MaxBuffered = orDefault(o.MaxBuffered, 64<<20)
	o.MaxLeases = orDefault(o.MaxLeases, 16384)
	o.MaxFollows = orDefault(o.MaxFollows, 16384)
	return o
}

func orDefault[T ~int | ~int64](v, def T) T {
	if v == 0 {
		return def
	}
	return v
}

// validate names every fault of options that have their defaults.
func (o Options) validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf("redis: "+format, args...))
		}
	}
	fault(len(o.Addresses) == 0, "no address")
	fault(o.Mode > Cluster, "mode %d is none", o.Mode)
	fault(o.Mode == Sentinel && o.SentinelMaster == "", "no name of the sentinels' master")
	fault(o.Mode != Standalone && strings.Contains(strings.Join(o.Addresses, ","), "unix:"), "a socket is for standalone nodes")
	fault(o.Mode == Cluster && o.DB != 0, "a cluster has no database %d", o.DB)
	fault(o.Timeout < time.Millisecond, "timeout %v is under a millisecond", o.Timeout)
	fault(o.LeaseTTL < 3*o.Timeout, "lease ttl %v is under three timeouts of %v", o.LeaseTTL, o.Timeout)
	for name, n := range map[string]int64{
		"max object": o.MaxObject, "silence": int64(o.Silence), "private memory": int64(o.PrivateMemory),
		"failure memory": int64(o.FailureMemory), "max buffered": o.MaxBuffered,
		"max leases": int64(o.MaxLeases), "max follows": int64(o.MaxFollows), "database": int64(o.DB),
	} {
		fault(n < 0, "%s is negative", name)
	}
	return errors.Join(faults...)
}
