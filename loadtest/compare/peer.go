package compare

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Peer is a kind of server that can be measured.
type Peer struct {
	Name string
	// program is looked up in the PATH; "" stands for one of Options.
	program string
	workers int
	// command writes what the server needs to a folder of its own, and returns how it
	// is started there.
	command func(site) ([]string, error)
}

// The peers with a part of their own in what is demanded.
const (
	ringfence  = "ringfence"
	ringfence2 = "ringfence-2" // on two cores
	fasthttp1  = "fasthttp"    // the floor
	nginx      = "nginx"
	haproxy    = "haproxy"
)

// Peers are those that there are, the floor first.
func Peers() []Peer {
	return []Peer{
		{Name: fasthttp1, workers: 1, command: site.floor},
		{Name: ringfence, workers: 1, command: site.ringfence},
		{Name: ringfence2, workers: 2, command: site.ringfence},
		{Name: nginx, program: "nginx", workers: 1, command: func(s site) ([]string, error) { return s.nginx("off") }},
		{Name: "nginx-sendfile", program: "nginx", workers: 1, command: func(s site) ([]string, error) { return s.nginx("on") }},
		{Name: haproxy, program: "haproxy", workers: 1, command: site.haproxy},
		{Name: "varnish", program: "varnishd", workers: 1, command: site.varnish},
	}
}

// FindPeers returns those with these names, the floor first.
func FindPeers(names []string) ([]Peer, error) {
	return find("peer", names, Peers(), func(p Peer) string { return p.Name })
}

// missing says what has to be installed to measure the peer, "" for nothing.
func (p Peer) missing() string {
	if p.program == "" {
		return ""
	}
	if _, err := lookPath(p.program); err != nil {
		return p.program + " is not installed"
	}
	return ""
}

// lookPath finds a program, in the folders of root's as well.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, folder := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(folder, name))
	}
	return path, err
}

// site is what a server is told: where to listen, and whom to ask.
type site struct {
	scenario             Scenario
	folder               string // of its own
	cache                string // a folder in memory, where there is one
	addr, port           string
	origin, originPort   string
	proxy, self          string // programs: Ringfence's, and the one that has the floor
	admin                string // a free address
	connections, workers int
}

func (s site) floor() ([]string, error) {
	return []string{s.self, "floor", "--listen", s.addr, "--size", strconv.Itoa(s.scenario.Size)}, nil
}

// write writes a file to the site's folder, and returns its path.
func (s site) write(name, text string) (string, error) {
	path := filepath.Join(s.folder, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

func (s site) ringfence() ([]string, error) {
	path, err := s.write("ringfence.yaml", fmt.Sprintf(`listen: %s
admin: {listen: '%s', pprof: on}
log: {level: error}
cache: {memory: %dMiB}
upstreams: {app: {servers: [{address: '%s'}]}}
routes: [{upstream: app}]
`, s.addr, s.admin, s.scenario.memory(), s.origin))
	return []string{"env", fmt.Sprintf("GOMAXPROCS=%d", s.workers), s.proxy, "run", "--config", path}, err
}

func (s site) nginx(sendfile string) ([]string, error) {
	user := "" // who else would not be let into the folders
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	path, err := s.write("nginx.conf", fmt.Sprintf(`%[9]sdaemon off;
worker_processes %[1]d;
pid %[2]s/pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile %[3]s;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  client_body_temp_path %[2]s/body;
  proxy_temp_path %[2]s/temp;
  proxy_cache_path %[4]s/cache keys_zone=one:256m max_size=%[5]dm inactive=1h use_temp_path=off;
  upstream app { server %[6]s; keepalive %[7]d; keepalive_requests 1000000000; }
  server {
    listen %[8]s backlog=4096;
    location / {
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache one;
      add_header X-Cache $upstream_cache_status;
    }
  }
}
`, s.workers, s.folder, sendfile, s.cache, max(1024, 4*s.scenario.memory()), s.origin, s.connections, s.addr, user))
	if err != nil {
		return nil, err
	}
	program, err := lookPath("nginx")
	return []string{program, "-p", s.folder, "-c", path, "-e", filepath.Join(s.folder, "error.log")}, err
}

func (s site) haproxy() ([]string, error) {
	path, err := s.write("haproxy.cfg", fmt.Sprintf(`global
  nbthread %d
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
  option http-keep-alive
  http-reuse always
cache one
  total-max-size %d
  max-object-size 200000
  max-age 3600
frontend in
  bind %s
  filter cache one
  http-request cache-use one
  default_backend app
backend app
  http-response cache-store one
  server one %s
`, s.workers, min(s.scenario.memory(), 4095), s.addr, s.origin))
	if err != nil {
		return nil, err
	}
	program, err := lookPath("haproxy")
	return []string{program, "-db", "-f", path}, err
}

func (s site) varnish() ([]string, error) {
	path, err := s.write("varnish.vcl", fmt.Sprintf(`vcl 4.1;
backend app { .host = "127.0.0.1"; .port = "%s"; }
`, s.originPort))
	if err != nil {
		return nil, err
	}
	program, err := lookPath("varnishd")
	return []string{
		program, "-F", "-a", s.addr, "-f", path, "-n", filepath.Join(s.folder, "work"), "-j", "none",
		"-s", fmt.Sprintf("malloc,%dM", s.scenario.memory()), "-p", "thread_pools=1",
	}, err
}
