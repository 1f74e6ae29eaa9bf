package redis

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// backend is an engine as the protocol sees it.
type backend interface {
	// eval carries a script out.
	eval(ctx context.Context, s script, keys, args []string) (value, error)
	// listen calls wake, which must not block, for each message on a channel,
	// and ready once it is sure to hear them, until ctx ends or the connection
	// is lost.
	listen(ctx context.Context, channel string, ready, wake func()) error
	close()
}

// value is a reply: a number, a text or a list.
type value struct {
	n    int64
	s    string
	list []value
}

// at gives an element of a list, or the zero value.
func (v value) at(i int) value {
	if i < len(v.list) {
		return v.list[i]
	}
	return value{}
}

// conn is a backend on a rueidis client.
type conn struct {
	client  rueidis.Client
	scripts [scriptCount]*rueidis.Lua
}

// dial connects to an engine, and fails where it is away.
func dial(o *Options, addresses []string) (backend, error) {
	co := rueidis.ClientOption{
		InitAddress: addresses,
		Username:    o.Username,
		Password:    o.Password,
		TLSConfig:   o.TLS,
		SelectDB:    o.DB,
		ClientName:  "ringfence",

		DisableCache:        true,
		DisableRetry:        true,
		AlwaysPipelining:    true,
		ForceSingleClient:   o.Mode == Standalone,
		RingScaleEachConn:   11, // above maxCalls, so that no call waits for its place
		ReadBufferEachConn:  64 << 10,
		WriteBufferEachConn: 64 << 10,
		ConnWriteTimeout:    connTimeout,
	}
	co.Dialer.Timeout = connTimeout
	co.Dialer.KeepAlive = connTimeout
	if o.Mode == Standalone {
		co.DialCtxFn = dialAddress
	}
	switch o.Mode {
	case Sentinel:
		co.Sentinel = rueidis.SentinelOption{
			MasterSet: o.SentinelMaster, Username: o.SentinelUsername, Password: o.SentinelPassword,
			TLSConfig: o.TLS, TopologyRefreshInterval: 2 * time.Second,
		}
	case Cluster:
		co.ClusterOption.ShardsRefreshInterval = 2 * time.Second
	}
	client, err := rueidis.NewClient(co)
	if err != nil {
		return nil, fmt.Errorf("redis: connect to %s: %w", strings.Join(addresses, ", "), err)
	}
	c := &conn{client: client}
	for i, text := range sources() {
		c.scripts[i] = rueidis.NewLuaScript(text)
	}
	return c, nil
}

// dialAddress connects to a node by itself, over a socket in the clear.
func dialAddress(ctx context.Context, address string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
	if socket, ok := strings.CutPrefix(address, "unix:"); ok {
		return d.DialContext(ctx, "unix", socket)
	}
	if secure != nil {
		return (&tls.Dialer{NetDialer: d, Config: secure}).DialContext(ctx, "tcp", address)
	}
	return d.DialContext(ctx, "tcp", address)
}

// connTimeout bounds dialling, and how long a silent connection is kept.
const connTimeout = time.Second

func (c *conn) eval(ctx context.Context, s script, keys, args []string) (value, error) {
	m, err := c.scripts[s].Exec(ctx, c.client, keys, args).ToMessage()
	if err != nil {
		return value{}, err
	}
	return toValue(m)
}

func toValue(m rueidis.RedisMessage) (value, error) {
	switch {
	case m.IsInt64():
		n, err := m.AsInt64()
		return value{n: n}, err
	case m.IsArray():
		elements, err := m.ToArray()
		if err != nil {
			return value{}, err
		}
		v := value{list: make([]value, len(elements))}
		for i, e := range elements {
			if v.list[i], err = toValue(e); err != nil {
				return value{}, err
			}
		}
		return v, nil
	}
	s, err := m.ToString()
	return value{s: s}, err
}

func (c *conn) listen(ctx context.Context, channel string, ready, wake func()) error {
	hooked := rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		if s.Kind == "ssubscribe" {
			ready()
		}
	})
	// Receive's own end of ctx would leave the subscription behind.
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), connTimeout)
		defer cancel()
		_ = c.client.Do(bounded, c.client.B().Sunsubscribe().Channel(channel).Build()).Error() // or the connection is lost, and all with it
	})
	err := c.client.Receive(hooked, c.client.B().Ssubscribe().Channel(channel).Build(), func(rueidis.PubSubMessage) { wake() })
	if !stop() {
		<-ended
	}
	return err
}

func (c *conn) close() { c.client.Close() }

// isFull says that the engine lives and has no room.
func isFull(err error) bool {
	r, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(r.Error(), "OOM")
}
