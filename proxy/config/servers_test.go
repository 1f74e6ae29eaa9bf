package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const fullServers = `# made by a script
- address: unix:/run/app.sock
  weight: 0
  id: one
- {address: 'b.internal:9001', backup: on, max_requests: 7}
- srv: _http._tcp.App.internal
`

func TestLoadServers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "servers.yaml")
	if _, err := LoadServers(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: got %v, want one that is %v", err, os.ErrNotExist)
	}
	load := func(text string) ([]Member, error) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadServers(path)
	}
	plain := []Member{{Address: "a:1", ID: "a:1", Weight: 1}}
	for text, want := range map[string][]Member{
		fullServers: {{Address: "unix:/run/app.sock", ID: "one"},
			{Address: "b.internal:9001", ID: "b.internal:9001", Weight: 1, Backup: true, MaxRequests: 7},
			{SRV: "_http._tcp.app.internal", Weight: 1}},
		`[{"address": "a:1"}]`:                   plain,
		"\uFEFF---\r\n- address: a:1\r\n...\r\n": plain,
		"- {address: 'a:1', backup: on}":         {{Address: "a:1", ID: "a:1", Weight: 1, Backup: true}},
	} {
		if got, err := load(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngot  %+v, %v\nwant %+v", text, got, err, want)
		}
	}
	var faults Faults
	if members, err := load("- address: a\n"); !errors.As(err, &faults) || faults[0].File != path || members != nil {
		t.Errorf("got %v, %v, want faults of %s", members, err, path)
	}
}

var faultyServers = []struct{ text, want string }{
	{"", `f:1:1: the file is empty; write at least - address: 127.0.0.1:9001`},
	{"# none yet\n", `f:1:1: the file is empty; write at least - address: 127.0.0.1:9001`},
	{"[]\n", `f:1:1: servers: is empty; write at least - address: 127.0.0.1:9001`},
	{"servers:\n- address: a:1\n", `f:1:1: servers: want a list, got a mapping`},
	{"10.0.0.1:80\n10.0.0.2:80\n", `f:1:1: servers: want a list, got "10.0.0.1:80 10.0.0.2:80"`},
	{"- 10.0.0.1:80\n-\n", `f:1:3: servers[0]: want keys and values (` + memberOptions + `), got "10.0.0.1:80"
f:2:2: servers[1]: has no value; write one, or remove the line`},
	{"- address: a:1\n- address: a\n  wieght: 1\n- {weight: -1}\n- {srv: _h._t.a, id: x}\n- {address: 'a:1'}\n- {srv: _h._t.a}\n",
		`f:2:12: servers[1].address: want host:port, got "a"; write 127.0.0.1:9001 or app.internal:9001
f:3:3: servers[1]: unknown key "wieght"; did you mean weight?
f:4:3: servers[2]: address is missing; write address: 127.0.0.1:9001, or srv: _http._tcp.app.internal
f:4:12: servers[2].weight: want 0 to 256, got -1
f:5:22: servers[3].id: means nothing to srv, whose servers are known by their addresses; remove it
f:6:3: servers[4]: the id "a:1" is taken at line 1; remove this server or give it its own id
f:7:3: servers[5]: the srv "_h._t.a" is taken at line 5; remove this server`},
	{"- {address: 'a:1', weight: 0}\n- {address: 'a:1', weight: 0}\n",
		`f:1:1: servers: no server has a weight above 0; give one at least weight: 1
f:2:3: servers[1]: the id "a:1" is taken at line 1; remove this server or give it its own id`},
	{"- address: a:1\n- address: 'a:2\n", `f:2:1: not valid YAML: found unexpected end of stream; close the quote`},
	{"- address: a:1\n---\n- address: a:2\n",
		`f:2:1: a second document begins here; a file holds one, remove the --- and what follows or move it to its own file`},
	{strings.Repeat("#", maxFile+1), `f:1:1: the file is too large; want at most 4194304 bytes`},
}

func TestServersFaults(t *testing.T) {
	for _, tt := range faultyServers {
		got := "no fault"
		if _, err := parseServers("f", []byte(tt.text)); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%.300s\n--- got\n%s\n--- want\n%s", tt.text, got, tt.want)
		}
	}
}

func FuzzServers(f *testing.F) {
	f.Add([]byte(fullServers))
	f.Add([]byte("[{address: 'a:1', weight: 0}, {srv: _h._t.a, backup: on}, {address: 'unix:/a', id: x, max_requests: 65536}]"))
	for _, tt := range faultyServers {
		if len(tt.text) < 1<<10 {
			f.Add([]byte(tt.text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		members, err := parseServers("f", data)
		var faults Faults
		switch {
		case err == nil && len(members) == 0, err != nil && !errors.As(err, &faults):
			t.Errorf("%d members, %v", len(members), err)
		case err == nil:
			checkMembers(t, members)
		}
		// What a file may hold, an upstream may: both are judged alike.
		text := "routes: [{upstream: u}]\nupstreams:\n u:\n  max_connections: 65536\n  servers_file: f\n  servers: " + string(data)
		if strings.HasPrefix(string(data), "[") && err == nil {
			if _, err := Parse("f", []byte(text)); err != nil {
				t.Errorf("a sound file, and as servers:\n%v", err)
			}
		}
	})
}

// checkMembers holds what every sound list of servers keeps to.
func checkMembers(t *testing.T, members []Member) {
	t.Helper()
	seen := make(map[string]bool)
	for _, m := range members {
		named := m.SRV != ""
		if named == (m.Address != "") || named == (m.ID != "") || named && m.Weight != 1 {
			t.Errorf("neither an address nor a name: %+v", m)
		}
		if seen[m.ID+"|"+m.SRV] || m.Weight < 0 || m.Weight > 256 || m.MaxRequests < 0 || m.MaxRequests > 65536 {
			t.Errorf("one of %+v: %+v", members, m)
		}
		seen[m.ID+"|"+m.SRV] = true
	}
}
