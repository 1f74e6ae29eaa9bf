package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"ringfence/loadtest/drill"
)

func drillCommand() *cobra.Command {
	var env drill.Env
	c := &cobra.Command{
		Use:   "drill [NAME...]",
		Short: "Put proxies through what happens in operation",
		Long: `Run three proxies, the engine they share and a counting origin, or one proxy
with five servers behind it or 10,000 slow clients before it, on this machine;
kill, pause and overload what the drill is about; and say of each requirement
whether it held. Without a name the drills are listed; fleet, balance and edge
are those of each kind, all is every one. The drill soak puts a fleet through
everything at once, over and over for as long as --for says.

A fleet needs redis-server, or the engine that --engine names; all need Go to
build the proxy unless --proxy names it. Exit status 1 where a requirement was
not met.`,
		Example: `  go run ./loadtest drill stampede leader-killed`,
		RunE: func(c *cobra.Command, names []string) error {
			if len(names) == 0 {
				return listDrills(c.OutOrStdout())
			}
			drills, err := drillsOf(names)
			if err != nil {
				return err
			}
			if env.Server, err = os.Executable(); err != nil {
				return err
			}
			if env.Proxy == "" {
				dir, err := os.MkdirTemp("", "drill")
				if err != nil {
					return err
				}
				defer func() { _ = os.RemoveAll(dir) }() // in the folder for what is temporary
				if env.Proxy, err = buildProxy(c.Context(), dir); err != nil {
					return err
				}
			}
			env.Progress = func(line string) { c.PrintErrln(line) }
			return runDrills(c.Context(), c.OutOrStdout(), drills, env)
		},
	}
	f := c.Flags()
	f.StringVar(&env.Proxy, "proxy", "", "`path` of the proxy's binary; built from ./cmd/proxy unless given")
	f.StringVar(&env.Engine, "engine", "redis-server", "`program` of the engine: Redis 7.0 or later, or Valkey")
	f.DurationVar(&env.For, "for", 0, "how long soak goes on; it goes through everything twice at least, in some three minutes")
	f.Float64Var(&env.Margin, "margin", 1, "what bounds on time are multiplied by, and rates divided by, for slow machines")
	return c
}

func listDrills(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, d := range drill.All() {
		if _, err := fmt.Fprintf(t, "%s\t%s\n", d.Name, d.About); err != nil {
			return err
		}
	}
	return t.Flush()
}

func drillsOf(names []string) ([]drill.Drill, error) {
	var drills []drill.Drill
	for _, name := range names {
		switch name {
		case "all":
			drills = append(drills, drill.All()...)
			continue
		case "fleet":
			drills = append(drills, drill.Fleet()...)
			continue
		case "balance":
			drills = append(drills, drill.Balance()...)
			continue
		case "edge":
			drills = append(drills, drill.Edge()...)
			continue
		}
		d, ok := drill.Find(name)
		if !ok {
			return nil, fmt.Errorf("no drill is called %q; loadtest drill lists them", name)
		}
		drills = append(drills, d)
	}
	return drills, nil
}

func buildProxy(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "proxy")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "ringfence/cmd/proxy").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the proxy: %w\n%s", err, out)
	}
	return binary, nil
}

// runDrills plays one drill after the other.
func runDrills(ctx context.Context, w io.Writer, drills []drill.Drill, env drill.Env) error {
	failed := 0
	for _, d := range drills {
		if _, err := fmt.Fprintf(w, "%s: %s\n", d.Name, d.About); err != nil {
			return err
		}
		began := time.Now()
		r, err := d.Run(ctx, env)
		if _, printErr := r.WriteTo(w); err != nil || printErr != nil {
			return errors.Join(err, printErr)
		}
		if _, err := fmt.Fprintf(w, "  took %s\n\n", time.Since(began).Round(100*time.Millisecond)); err != nil {
			return err
		}
		failed += len(r.Failed())
	}
	if failed > 0 {
		return fmt.Errorf("%d requirements were not met", failed)
	}
	return nil
}
