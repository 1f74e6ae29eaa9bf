package proxy

import (
	"encoding/xml"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"ringfence/loadtest/origin"
)

// h2specCases is how many cases h2spec has, with the strict ones.
const h2specCases = 146

// h2specFailures are those that fail, and what net/http does in them. The README
// names them.
var h2specFailures = []string{
	// It takes a setting that comes twice in a frame for a protocol error.
	"http2/6.5.3: Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",
	// It answers 400, which RFC 9113, section 8.1.1, allows.
	"http2/8.1.2.2: Sends a HEADERS frame that contains the TE header field with any value other than \"trailers\"",
	"http2/8.1.2.2: Sends a HEADERS frame that contains the connection-specific header field",
}

// The conformance of HTTP/2 in the eyes of a suite that is not ours.
func TestH2Spec(t *testing.T) {
	s := newH2Site(t, always(origin.Text("max-age=60", "hello")))
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := h2spec(t, "--version").CombinedOutput(); err != nil { // this builds it
		t.Fatalf("%s: %v", out, err)
	}
	// What takes long waits for the end of a connection, or for what does not come.
	var mu sync.Mutex
	var failed []string
	cases := 0
	var all sync.WaitGroup
	for _, sections := range []string{"generic hpack http2/3 http2/4 http2/5", "http2/6 http2/7", "http2/8"} {
		all.Go(func() {
			total, failures := runH2Spec(t, port, strings.Fields(sections))
			mu.Lock()
			defer mu.Unlock()
			cases += total
			failed = append(failed, failures...)
		})
	}
	all.Wait()
	slices.Sort(failed)
	if !slices.Equal(failed, h2specFailures) {
		t.Errorf("these fail:\n%s\nwant\n%s", strings.Join(failed, "\n"), strings.Join(h2specFailures, "\n"))
	}
	if cases != h2specCases {
		t.Errorf("%d cases, want %d", cases, h2specCases)
	}
}

func h2spec(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"tool", "-modfile=.ci/tools.mod", "h2spec"}, args...)...)
	cmd.Dir = ".."
	return cmd
}

// runH2Spec runs some sections, and returns how many cases they have and which
// ones failed.
func runH2Spec(t *testing.T, port string, sections []string) (cases int, failed []string) {
	report := filepath.Join(t.TempDir(), "report.xml")
	args := append([]string{"--tls", "--insecure", "--strict", "--timeout=3", "--port", port, "--junit-report", report}, sections...)
	out, runErr := h2spec(t, args...).CombinedOutput() // its error is that a case failed
	text, err := os.ReadFile(report)
	if err != nil {
		t.Errorf("%s: %v, %v", out, runErr, err)
		return 0, nil
	}
	var suites struct {
		Suites []struct {
			Cases []struct {
				Section string    `xml:"package,attr"`
				Name    string    `xml:"classname,attr"`
				Failure *struct{} `xml:"failure"`
				Error   *struct{} `xml:"error"`
				Skipped *struct{} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text, &suites); err != nil {
		t.Error(err)
	}
	for _, s := range suites.Suites {
		for _, c := range s.Cases {
			cases++
			if c.Failure != nil || c.Error != nil || c.Skipped != nil {
				failed = append(failed, c.Section+": "+c.Name)
			}
		}
	}
	return cases, failed
}
