package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"ringfence/loadtest/report"
	"ringfence/loadtest/scenario"
	"ringfence/loadtest/simulate"
)

func simulateCommand() *cobra.Command {
	var (
		sizes, policies      []string
		overhead, page, data string
		ttls                 []time.Duration
		o                    simulate.Options
		most                 int
	)
	c := &cobra.Command{
		Use:   "simulate ACCESS.log",
		Short: "Tell what caches and rings would make of an access log",
		Long: `Put the requests of an access log through caches of several sizes and times to live,
and through rings of several servers, and tell the hit ratio and each server's load,
before anything is deployed. Lines are as loadtest replay reads them. An answer may be
stored if its method is GET or HEAD and its status is cacheable by itself: a log does
not tell Cache-Control or Vary. The load behind a cache is that of the last one in the
table.

Policies: ` + policyHelp(),
		Example: `  loadtest simulate --memory 64MiB,256MiB,1GiB --ttl 1m,1h --servers 3,10 --html sizes.html access.log`,
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if o.Memory, err = sizesOf(sizes); err != nil {
				return fmt.Errorf("--memory: %w", err)
			}
			beside, err := sizesOf([]string{overhead})
			if err != nil {
				return fmt.Errorf("--overhead: %w", err)
			}
			o.Overhead, o.TTLs = beside[0], ttls
			if o.Policies, err = policiesOf(policies); err != nil {
				return err
			}
			entries, err := readLog(c, args[0], most, nil)
			if err != nil {
				return err
			}
			r, err := simulate.Run(entries, o)
			if err != nil {
				return err
			}
			return errors.Join(
				report.WriteSimulationText(c.OutOrStdout(), r),
				writeFile(page, func(w io.Writer) error { return report.WriteSimulationHTML(w, args[0], r) }),
				writeFile(data, asJSON(r)),
			)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&sizes, "memory", []string{"16MiB", "64MiB", "256MiB", "1GiB"}, "sizes of the cache")
	f.DurationSliceVar(&ttls, "ttl", []time.Duration{time.Minute, time.Hour}, "how long answers stay fresh")
	f.StringSliceVar(&policies, "policy", []string{"ristretto", "w-tinylfu", "lru"}, "how the cache chooses what it keeps")
	f.IntSliceVar(&o.Servers, "servers", []int{2, 3, 5, 10}, "how many servers there are")
	f.StringVar(&overhead, "overhead", "1063", "memory for an object beside its body; Ringfence's is measured")
	f.BoolVar(&o.ByPath, "ignore-query", false, "requests that differ in their query share an answer")
	f.IntVar(&most, "most", 1_000_000, "how many requests of the log are read")
	f.StringVar(&page, "html", "", "`file` for a page with pictures")
	f.StringVar(&data, "json", "", "`file` for JSON")
	return c
}

func asJSON(r simulate.Result) func(io.Writer) error {
	return func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", " ")
		return e.Encode(r)
	}
}

func policyHelp() string {
	all := simulate.Policies()
	list := make([]string, len(all))
	for i, p := range all {
		list[i] = p.Name + " (" + p.About + ")"
	}
	return strings.Join(list, ", ") + "."
}

func policiesOf(names []string) (list []simulate.Policy, err error) {
	all := simulate.Policies()
	for _, name := range names {
		i := slices.IndexFunc(all, func(p simulate.Policy) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("--policy: no policy is called %q: there are %s", name, policyHelp())
		}
		list = append(list, all[i])
	}
	return list, nil
}

// sizesOf reads sizes as scenarios have them.
func sizesOf(texts []string) (list []int64, err error) {
	for _, text := range texts {
		var b scenario.Bytes
		if err := b.UnmarshalYAML(&yaml.Node{Kind: yaml.ScalarNode, Value: text, Line: 1}); err != nil {
			return nil, fmt.Errorf("want a number of bytes such as 64MiB, got %q", text)
		}
		list = append(list, int64(b))
	}
	return list, nil
}
