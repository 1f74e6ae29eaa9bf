package main_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringfence/loadtest/origin"
)

// What a user writes for each form of engine is what two instances of the real
// binary are given here, before real servers.

// redisProcess is a redis-server, or a sentinel, in a process of its own.
type redisProcess struct {
	t    *testing.T
	port string
	dir  string
	cmd  *exec.Cmd
	log  bytes.Buffer
	cli  []string // what redis-cli needs to reach it
}

// startRedis runs a redis-server on a free port until the test ends. conf are
// lines of its configuration, PORT standing for the port and DIR for a folder
// of its own; those beginning with "cli " are for redis-cli.
func startRedis(t *testing.T, conf string) *redisProcess {
	t.Helper()
	r := &redisProcess{t: t, port: freePort(t), dir: t.TempDir()}
	conf = strings.NewReplacer("PORT", r.port, "DIR", r.dir).Replace(conf)
	lines := []string{"bind 127.0.0.1", "dir " + r.dir}
	if !strings.Contains(conf, "\nport ") {
		lines = append(lines, "port "+r.port)
	}
	args := []string{filepath.Join(r.dir, "redis.conf")}
	if strings.Contains(conf, "sentinel monitor") {
		args = append(args, "--sentinel")
	} else {
		lines = append(lines, `save ""`)
	}
	r.cli = []string{"-h", "127.0.0.1", "-p", r.port}
	for line := range strings.Lines(conf) {
		line = strings.TrimSpace(line)
		if flags, ok := strings.CutPrefix(line, "cli "); ok {
			r.cli = append(r.cli, strings.Fields(flags)...)
		} else {
			lines = append(lines, line)
		}
	}
	if err := os.WriteFile(args[0], []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.cmd = exec.Command("redis-server", args...)
	r.cmd.Stdout, r.cmd.Stderr = &r.log, &r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatalf("redis-server: %v (make deps installs it)", err)
	}
	t.Cleanup(r.kill)
	eventually(t, "redis-server answers", func() bool { return r.ask("PING") == "PONG" })
	return r
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func (r *redisProcess) kill() {
	if r.cmd.ProcessState == nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
	}
}

// ask gives the answer to a command, or "".
func (r *redisProcess) ask(words ...string) string {
	out, _ := exec.Command("redis-cli", append(r.cli, words...)...).Output()
	return strings.TrimSpace(string(out))
}

// pair is two instances that share an engine, before one origin.
type pair struct {
	t    *testing.T
	o    *origin.Origin
	ps   [2]*process
	keys atomic.Int64
}

// startPair runs them with these lines in cache.shared.redis.
func startPair(t *testing.T, redis string) *pair {
	t.Helper()
	a := origin.Text("max-age=60", strings.Repeat("x", 5000))
	a.Delay = 20 * time.Millisecond
	p := &pair{t: t, o: newOrigin(t, "one", always(a))}
	// The machine may have other things to do.
	top := "cache:\n  shared:\n    timeout: 200ms\n    redis:\n"
	for line := range strings.Lines(strings.TrimSpace(redis)) {
		top += "      " + strings.TrimSpace(line) + "\n"
	}
	for i := range p.ps {
		p.ps[i] = startProxy(t, setup{top: top, route: "cache_key: [path]", origins: []*origin.Origin{p.o}})
	}
	return p
}

// shares has one instance fill a key, and reports whether the other finds it in
// the engine. Both have to answer, whether it is there or not.
func (p *pair) shares() bool {
	p.t.Helper()
	key := fmt.Sprint("/", p.keys.Add(1))
	p.ps[0].get(key).must(p.t, 200)
	p.ps[0].settle()
	r := p.ps[1].get(key).must(p.t, 200)
	return r.is("detail=shared") && p.o.Count(key).Total == 1
}

// asksBoth has both instances asked for fresh keys at once until done.
func (p *pair) asksBoth(done <-chan struct{}) (asked int) {
	for {
		select {
		case <-done:
			return asked
		default:
		}
		key := fmt.Sprint("/", p.keys.Add(1))
		var both sync.WaitGroup
		for _, in := range p.ps {
			both.Go(func() {
				if r := in.get(key); r.err != nil || r.status != 200 || len(r.body) != 5000 {
					p.t.Errorf("%s: %s", key, r)
				}
			})
		}
		both.Wait()
		if n := p.o.Count(key).Total; n > len(p.ps) {
			p.t.Errorf("%s: %d requests to the origin", key, n)
		}
		asked++
	}
}

func TestEngineForms(t *testing.T) {
	t.Parallel()
	ca, certs := newAuthority(t), t.TempDir()
	ca.issue(certs, "server", "redis.internal")
	ca.issue(certs, "client", "ringfence")
	password := filepath.Join(certs, "password")
	if err := os.WriteFile(password, []byte("hush\nnot this\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const secure = `
		port 0
		tls-port PORT
		tls-ca-cert-file CERTS/ca.pem
		tls-cert-file CERTS/server.pem
		tls-key-file CERTS/server.key
		cli --tls --insecure --cert CERTS/client.pem --key CERTS/client.key`
	for _, tt := range []struct {
		name, conf, redis string
		works             bool
		keys              string // redis-cli's arguments that count what is shared
	}{
		{"plain", "", "addresses: ['127.0.0.1:PORT']", true, ""},
		{"database", "", "addresses: ['127.0.0.1:PORT']\ndb: 3", true, "-n 3"},
		{"password of all", "requirepass hush\ncli -a hush", "addresses: ['127.0.0.1:PORT']\npassword_file: CERTS/password", true, ""},
		{"login", "user default off\nuser ringfence on >hush ~ringfence:* &ringfence:* +@all\ncli --user ringfence --pass hush", `
			addresses: ['127.0.0.1:PORT']
			username: ringfence
			password: hush`, true, ""},
		{"wrong password", "requirepass hush\ncli -a hush", "addresses: ['127.0.0.1:PORT']\npassword: other", false, ""},
		{"socket", "unixsocket DIR/s", "addresses: ['unix:DIR/s']", true, ""},
		{"TLS", secure, `
			addresses: ['127.0.0.1:PORT']
			tls: on
			tls_ca_file: CERTS/ca.pem
			tls_server_name: redis.internal
			tls_cert_file: CERTS/client.pem
			tls_key_file: CERTS/client.key`, true, ""},
		{"TLS, no certificate", secure, `
			addresses: ['127.0.0.1:PORT']
			tls: on
			tls_ca_file: CERTS/ca.pem
			tls_server_name: redis.internal`, false, ""},
		{"TLS, another name", secure + "\ntls-auth-clients no", `
			addresses: ['127.0.0.1:PORT']
			tls: on
			tls_ca_file: CERTS/ca.pem`, false, ""},
		{"TLS, unknown roots", secure + "\ntls-auth-clients no", `
			addresses: ['127.0.0.1:PORT']
			tls: on
			tls_server_name: redis.internal`, false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := startRedis(t, strings.ReplaceAll(tt.conf, "CERTS", certs))
			p := startPair(t, strings.NewReplacer("PORT", r.port, "DIR", r.dir, "CERTS", certs).Replace(tt.redis))
			if tt.works {
				eventually(t, "the engine is in use", p.shares)
			} else {
				for _, in := range p.ps { // both know that they cannot use it
					if !in.stderr.await(in.exited, func(log string) bool { return strings.Contains(log, "instances fill by themselves") }) {
						t.Error("nothing is said of an engine that cannot be used")
					}
				}
				if p.shares() {
					t.Error("the engine is in use")
				}
			}
			if n := r.ask(append(strings.Fields(tt.keys), "DBSIZE")...); (n != "0" && n != "") != tt.works {
				t.Errorf("%q keys in the engine", n)
			}
		})
	}
}

// The primary dies while fills run: nobody notices, and the one that the
// sentinels choose in its place is in use within 5 s.
func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	const login = "requirepass hush\nmasterauth hush\ncli -a hush\n"
	primary := startRedis(t, login)
	replica := startRedis(t, login+"replicaof 127.0.0.1 "+primary.port)
	sentinel := startRedis(t, `
		sentinel monitor main 127.0.0.1 `+primary.port+` 1
		sentinel auth-pass main hush
		sentinel down-after-milliseconds main 1000
		sentinel failover-timeout main 3000
		user default off
		user watcher on >quiet allchannels +@all
		cli --user watcher --pass quiet`)
	eventually(t, "the replica follows", func() bool { return strings.Contains(replica.ask("INFO", "replication"), "master_link_status:up") })
	eventually(t, "the sentinel knows it", func() bool { return strings.Contains(sentinel.ask("SENTINEL", "REPLICAS", "main"), replica.port) })
	p := startPair(t, `
		mode: sentinel
		addresses: ['127.0.0.1:`+sentinel.port+`']
		sentinel_master: main
		sentinel_username: watcher
		sentinel_password: quiet
		password: hush`)
	failOver(t, p, primary, func() bool { return strings.Contains(replica.ask("ROLE"), "master") })
}

// failOver kills a server while fills run, and wants the fleet to share them
// within 5 s after promoted says that another is in its place.
func failOver(t *testing.T, p *pair, dies *redisProcess, promoted func() bool) {
	t.Helper()
	eventually(t, "the engine is in use", p.shares)
	done, asked := make(chan struct{}), make(chan int)
	go func() { asked <- p.asksBoth(done) }()
	before := p.keys.Load()
	eventually(t, "fills run", func() bool { return p.keys.Load() > before+3 })
	dies.kill()
	killed := time.Now()
	eventually(t, "another is in its place", promoted)
	there := time.Now()
	eventually(t, "it is in use, for whatever key", func() bool {
		for range 5 {
			if !p.shares() {
				return false
			}
		}
		return true
	})
	if took := time.Since(there); took > 5*time.Second {
		t.Errorf("it is used after %v", took)
	}
	t.Logf("another was there after %v, and used %v later", there.Sub(killed), time.Since(there))
	close(done)
	if n := <-asked; n < 10 {
		t.Errorf("only %d keys were asked for meanwhile", n)
	}
}

// In a cluster a master dies, and its replica takes over.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	var nodes []*redisProcess
	create := []string{"--cluster", "create"}
	for range 6 {
		n := startRedis(t, "cluster-enabled yes\ncluster-node-timeout 1000\ncluster-port "+freePort(t))
		nodes = append(nodes, n)
		create = append(create, "127.0.0.1:"+n.port)
	}
	if out, err := exec.Command("redis-cli", append(create, "--cluster-replicas", "1", "--cluster-yes")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dies, heir := nodes[0], (*redisProcess)(nil)
	eventually(t, "the cluster is formed", func() bool {
		heir = nil
		for _, n := range nodes {
			info := n.ask("INFO", "replication")
			if !strings.Contains(n.ask("CLUSTER", "INFO"), "cluster_state:ok") ||
				strings.Contains(info, "role:slave") && !strings.Contains(info, "master_link_status:up") {
				return false
			}
			if strings.Contains(info, "master_port:"+dies.port) {
				heir = n
			}
		}
		return heir != nil
	})
	p := startPair(t, "mode: cluster\naddresses: ['127.0.0.1:"+nodes[1].port+"', '127.0.0.1:"+nodes[2].port+"']")
	failOver(t, p, dies, func() bool {
		return strings.Contains(heir.ask("ROLE"), "master") && strings.Contains(nodes[1].ask("CLUSTER", "INFO"), "cluster_state:ok")
	})
	eventually(t, "it has keys", func() bool { p.shares(); return heir.ask("DBSIZE") != "0" })
}

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	a := authority{t: t}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true,
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = a.newKey()
	return a
}

func (a authority) newKey() *ecdsa.PrivateKey {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

// issue writes FILE.pem and FILE.key for a name, and ca.pem, into a folder.
func (a authority) issue(dir, file, name string) {
	a.t.Helper()
	key := a.newKey()
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(filepath.Join(dir, file+".key"), "PRIVATE KEY", secret)
	for path, c := range map[string]*x509.Certificate{file + ".pem": leaf, "ca.pem": a.cert} {
		public := &key.PublicKey
		if c == a.cert {
			public = &a.key.PublicKey
		}
		der, err := x509.CreateCertificate(rand.Reader, c, a.cert, public, a.key)
		if err != nil {
			a.t.Fatal(err)
		}
		a.write(filepath.Join(dir, path), "CERTIFICATE", der)
	}
}

func (a authority) write(path, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}
