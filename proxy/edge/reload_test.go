package edge

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// followed are certificates whose files are followed until the test ends, and
// the address of a server with them.
func followed(t *testing.T, o CertificateOptions, poll time.Duration) (c *Certificates, addr string) {
	t.Helper()
	c = mustCertificates(t, o)
	c.poll = poll
	addr = serve(t, mustConfig(t, TLSOptions{}, c))
	c.Start()
	t.Cleanup(c.Close)
	return c, addr
}

// seldom is longer than a test: what is seen is seen by watching.
const seldom = time.Hour

func TestCertificatesAreFollowed(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	ca := newAuthority(t, "ca")
	later := newKey(t)
	cert1, key1 := ca.issue(t, newKey(t), time.Time{}, "one.example")
	cert2, key2 := ca.issue(t, newKey(t), time.Time{}, "two.example")
	cert3, key3 := ca.issue(t, later, time.Time{}, "three.example")
	p1, p2 := pairIn(t, dir, "1", cert1, key1), pairIn(t, dir, "2", cert2, key2)
	j := newJournal(t, dir)
	c := mustCertificates(t, CertificateOptions{Pairs: []KeyPair{p1, p2}, Log: j.log()})
	j.next(`"certificate read" file=DIR/1.pem names=[one.example]`)
	j.next(`"certificate read" file=DIR/2.pem names=[two.example]`)
	c.poll = seldom
	c.Start()
	defer c.Close()
	shows := func(sni, want string) {
		t.Helper()
		cert, err := c.GetCertificate(&tls.ClientHelloInfo{ServerName: sni, SupportedVersions: []uint16{tls.VersionTLS13},
			SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}})
		if err != nil || cert.Leaf.DNSNames[0] != want {
			t.Fatalf("%s: got %v, %v; want %s", sni, cert.Leaf.DNSNames, err, want)
		}
	}

	// A key without its certificate is no change yet, but a fault.
	replace(t, p2.KeyFile, key3)
	j.next(`level=WARN msg="what was read before stays in use" error="certificate DIR/2.pem with key DIR/2.key: tls: private key does not match public key"`)
	shows("two.example", "two.example")
	if s := c.Stats(); s.Failing != 1 || s.Failures != 1 || s.Reloads != 0 || s.Certificates[1].Names[0] != "two.example" {
		t.Errorf("stats %+v", s)
	}
	before := c.current.Load()
	replace(t, p2.CertFile, cert3)
	j.next(`level=INFO msg="certificate read" file=DIR/2.pem names=[three.example]`)
	shows("three.example", "three.example")
	if got := before.all[1].Leaf.DNSNames[0]; got != "two.example" {
		t.Errorf("a handshake under way has %s", got)
	}
	shows("two.example", "one.example") // nobody's any more
	shows("one.example", "one.example")
	if s := c.Stats(); s.Failing != 0 || s.Failures != 1 || s.Reloads != 1 || s.Certificates[1].Names[0] != "three.example" {
		t.Errorf("stats %+v", s)
	}

	// What is broken is said once, however often it is read, and does not keep
	// others from being replaced.
	for i, fault := range []string{"tls: failed to find any PEM data in certificate input", "open DIR/1.pem: no such file or directory"} {
		if i == 0 {
			replace(t, p1.CertFile, "")
		} else if err := os.Remove(p1.CertFile); err != nil {
			t.Fatal(err)
		}
		j.next(`"what was read before stays in use" error="certificate DIR/1.pem with key DIR/1.key: ` + fault + `"`)
		for n := range 2 {
			name := fmt.Sprintf("new%d%d.example", i, n)
			cert, _ := ca.issue(t, later, time.Time{}, name)
			replace(t, p2.CertFile, cert)
			j.next(`"certificate read" file=DIR/2.pem names=[` + name + `]`)
			shows(name, name)
			if s := c.Stats(); s.Failing != 1 || int(s.Failures) != 2+i {
				t.Errorf("stats %+v", s)
			}
		}
		shows("one.example", "one.example")
	}

	// The same again is news after it was gone.
	replace(t, p1.CertFile, cert1)
	j.next(`"certificate read" file=DIR/1.pem names=[one.example]`)
	if s := c.Stats(); s.Failing != 0 || s.Failures != 3 || s.Reloads != 6 {
		t.Errorf("stats %+v", s)
	}

	c.Close()
	stacks := make([]byte, 1<<20)
	if stacks = stacks[:runtime.Stack(stacks, true)]; strings.Contains(string(stacks), ".follow(") {
		t.Errorf("Close did not wait:\n%s", stacks)
	}
	replace(t, p1.CertFile, "")
	shows("one.example", "one.example")
	j.quiet()
}

// A mounted secret's file is a link to ..data/file, and ..data one to a folder:
// that link is replaced, and the old folder removed.
func TestLinkThatIsSwapped(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, "ca")
	version := func(i int) string {
		t.Helper()
		folder := fmt.Sprint("..", i)
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		cert, key := ca.issue(t, newKey(t), time.Time{}, fmt.Sprintf("v%d.example", i))
		pairIn(t, filepath.Join(dir, folder), "tls", cert, key)
		return folder
	}
	link := func(to, path string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	link(version(1), "..data")
	link("..data/tls.pem", "tls.pem")
	link("..data/tls.key", "tls.key")
	j := newJournal(t, dir)
	_, addr := followed(t, CertificateOptions{
		Pairs: []KeyPair{{filepath.Join(dir, "tls.pem"), filepath.Join(dir, "tls.key")}}, Log: j.log(),
	}, seldom)
	j.next("names=[v1.example]")
	for i := 2; i < 5; i++ {
		link(version(i), "..data_tmp")
		if err := os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, fmt.Sprint("..", i-1))); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("v%d.example", i)
		j.next("names=[" + name + "]")
		if _, err := dial(addr, ca.client(name)); err != nil {
			t.Errorf("version %d: %v", i, err)
		}
	}
	j.quiet()
}

// What lies in a folder that is not watched is read now and then; so is what
// lies in one that cannot be.
func TestCertificatesThatCannotBeWatched(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, "ca")
	elsewhere := filepath.Join(dir, "elsewhere")
	here := filepath.Join(dir, "here")
	for _, folder := range []string{elsewhere, here} {
		if err := os.Mkdir(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	key := newKey(t)
	cert, keyText := ca.issue(t, key, time.Time{}, "one.example")
	target := pairIn(t, elsewhere, "tls", cert, keyText)
	p := KeyPair{filepath.Join(here, "tls.pem"), filepath.Join(here, "tls.key")}
	for from, to := range map[string]string{target.CertFile: p.CertFile, target.KeyFile: p.KeyFile} {
		if err := os.Symlink(from, to); err != nil {
			t.Fatal(err)
		}
	}
	j := newJournal(t, dir)
	cert, watchedKey := ca.issue(t, key, time.Time{}, "watched.example")
	watched := pairIn(t, dir, "watched", cert, watchedKey)
	followed(t, CertificateOptions{Pairs: []KeyPair{p, watched}, Log: j.log()}, 300*time.Millisecond)
	j.next("names=[one.example]")
	j.next("names=[watched.example]")
	cert, _ = ca.issue(t, key, time.Time{}, "two.example")
	replace(t, target.CertFile, cert)
	j.next("names=[two.example]")

	if err := os.Rename(here, filepath.Join(dir, "former")); err != nil {
		t.Fatal(err)
	}
	j.next("changes of certificates may be seen late")
	j.next(`error="certificate DIR/here/tls.pem with key DIR/here/tls.key: open DIR/here/tls.pem: no such file`)
	for i := range 2 { // read again, and nothing is said again
		name := fmt.Sprintf("watched%d.example", i)
		cert, _ := ca.issue(t, key, time.Time{}, name)
		replace(t, watched.CertFile, cert)
		j.next("names=[" + name + "]")
	}
	if err := os.Rename(filepath.Join(dir, "former"), here); err != nil {
		t.Fatal(err)
	}
	j.next("names=[two.example]")
	j.quiet()
}

// A folder in which something happens all the time is read all the same, and
// not each time.
func TestFolderThatIsNeverQuiet(t *testing.T) {
	dir := t.TempDir()
	ca := newAuthority(t, "ca")
	key := newKey(t)
	cert, keyText := ca.issue(t, key, time.Time{}, "one.example")
	p := pairIn(t, dir, "tls", cert, keyText)
	j := newJournal(t, dir)
	c, _ := followed(t, CertificateOptions{Pairs: []KeyPair{p}, Log: j.log()}, seldom)
	j.next("names=[one.example]")
	cert, _ = ca.issue(t, key, time.Time{}, "two.example")
	replace(t, p.CertFile, cert)
	noise, began := time.NewTicker(5*time.Millisecond), time.Now()
	defer noise.Stop()
	for {
		select {
		case line := <-j.lines:
			if !strings.Contains(line, "names=[two.example]") {
				t.Errorf("logged %q", line)
			}
			return
		case <-noise.C:
			replace(t, filepath.Join(dir, "noise"), "noise")
			if _, err := c.GetCertificate(&tls.ClientHelloInfo{}); err != nil {
				t.Fatal(err)
			}
			if time.Since(began) > patience {
				t.Fatal("never read")
			}
		}
	}
}

func TestCloseWithoutStart(t *testing.T) {
	ca := newAuthority(t, "ca")
	cert, key := ca.issue(t, newKey(t), time.Time{}, "a.example")
	mustCertificates(t, CertificateOptions{Pairs: []KeyPair{pairIn(t, t.TempDir(), "a", cert, key)}}).Close()
}
