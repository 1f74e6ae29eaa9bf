package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ringfence/loadtest/compare"
)

func compareCommand() *cobra.Command {
	var (
		o                compare.Options
		scenarios, peers []string
		out              string
		markdown, strict bool
	)
	c := &cobra.Command{
		Use:   "compare",
		Short: "Measure what an answer costs here and elsewhere",
		Long: `Have Ringfence and, where they are installed, nginx, HAProxy and Varnish answer the
same requests on one core with one worker, and tell the CPU time that their
processes took for each, beside that of a bare fasthttp server. All run at once, in
temporary folders and on free ports of the loopback address, and are measured one
after the other, in rounds. It needs Linux, and two cores for figures of use.`,
		Example: `  CGO_ENABLED=0 go build -o bin/proxy ./cmd/proxy
  loadtest compare --proxy bin/proxy
  loadtest compare --proxy bin/proxy --scenario hit-1k --peer fasthttp,ringfence --rounds 11 --duration 2s`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Proxy == "" {
				return errors.New("want --proxy, Ringfence's program")
			}
			if o.Scenarios, err = compare.FindScenarios(scenarios); err != nil {
				return err
			}
			if o.Peers, err = compare.FindPeers(peers); err != nil {
				return err
			}
			if o.Self, err = os.Executable(); err != nil {
				return err
			}
			o.Progress = progress(c.ErrOrStderr())
			tables, err := compare.Run(c.Context(), o)
			o.Progress("")
			if err != nil {
				return err
			}
			return tell(c.OutOrStdout(), tables, out, markdown, strict)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Proxy, "proxy", "", "Ringfence's program")
	f.StringSliceVar(&scenarios, "scenario", []string{"hit-1k", "hit-1k-1000", "hit-100k", "pass-1k"}, "what is asked for: "+names(compare.Scenarios(), func(s compare.Scenario) string { return s.Name }))
	f.StringSliceVar(&peers, "peer", []string{"fasthttp", "ringfence", "nginx", "nginx-sendfile", "haproxy", "varnish"}, "who is asked: "+names(compare.Peers(), func(p compare.Peer) string { return p.Name }))
	f.IntVar(&o.Rounds, "rounds", 0, "how often each is measured (default 5)")
	f.DurationVar(&o.Duration, "duration", 0, "how long each time (default 5s)")
	f.IntVar(&o.Connections, "connections", 0, "how many clients there are (default 64)")
	f.StringVar(&out, "out", "", "file for all rounds, as JSON")
	f.BoolVar(&markdown, "markdown", false, "write one table, in Markdown")
	f.BoolVar(&strict, "strict", false, "exit with 1 where Ringfence takes more than is demanded of it")
	return c
}

func names[T any](all []T, of func(T) string) string {
	list := make([]string, len(all))
	for i, one := range all {
		list[i] = of(one)
	}
	return strings.Join(list, ", ")
}

// progress writes what is under way to a line of a terminal; else nothing.
func progress(w io.Writer) func(string) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(string) {}
	}
	return func(text string) { _, _ = fmt.Fprintf(w, "\r\x1b[K%s", text) }
}

func tell(w io.Writer, tables []compare.Table, out string, markdown, strict bool) (err error) {
	if out != "" {
		f, err := os.Create(out)
		if err != nil {
			return err
		}
		if err := errors.Join(compare.WriteJSON(f, tables), f.Close()); err != nil {
			return err
		}
	}
	if markdown {
		err = compare.WriteMarkdown(w, tables)
	} else {
		err = compare.WriteText(w, tables)
	}
	if err != nil || !strict {
		return err
	}
	for _, t := range tables {
		for _, v := range t.Judge() {
			if !v.Met {
				err = errors.Join(err, errors.New(v.Text))
			}
		}
	}
	return err
}

// floorCommand is what compare starts of this program.
func floorCommand() *cobra.Command {
	var (
		listen, cacheControl string
		size                 int
	)
	c := &cobra.Command{
		Use:    "floor",
		Short:  "Answer every request alike, by fasthttp and nothing else",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := (&net.ListenConfig{}).Listen(c.Context(), "tcp", listen)
			if err != nil {
				return err
			}
			return compare.ServeFloor(c.Context(), l, size, cacheControl)
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "", "host:port to serve at")
	f.IntVar(&size, "size", 1024, "bytes of body")
	f.StringVar(&cacheControl, "cache-control", "public, max-age=3600", "value of Cache-Control")
	return c
}
