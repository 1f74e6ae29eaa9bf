package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringfence/loadtest/load"
)

func runCommand() *cobra.Command {
	var (
		url  string
		keys int
		plan load.Plan
	)
	c := &cobra.Command{
		Use:   "run",
		Short: "Send requests at a constant rate and measure the answers",
		Long: `Send GET requests at a constant rate, whatever the answers do (an open loop).
Latency counts from the moment a request was meant to be sent.

Exit status 1 where a request had no answer or a 5xx.`,
		Example: `  loadtest run --url 'http://127.0.0.1:8080/item/{key}' --keys 1000 --rate 2000 --duration 10s`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if url == "" || keys < 1 {
				return errors.New("want --url, and --keys of at least 1")
			}
			plan.URL = func(i int) string { return strings.ReplaceAll(url, "{key}", strconv.Itoa(i%keys)) }
			r, err := load.Run(c.Context(), plan)
			if err != nil {
				return err
			}
			if _, err := r.WriteTo(c.OutOrStdout()); err != nil {
				return err
			}
			if lost := r.Lost(); lost > 0 {
				return lostError(lost, r)
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&url, "url", "", "where requests go; {key} stands for 0, 1, ... keys-1 in turn")
	f.IntVar(&keys, "keys", 1, "how many values {key} takes")
	f.Float64Var(&plan.Rate, "rate", 100, "requests a second")
	f.DurationVar(&plan.Duration, "duration", 10*time.Second, "how long requests are sent")
	f.DurationVar(&plan.Timeout, "timeout", 10*time.Second, "bound on each request")
	f.IntVar(&plan.Workers, "workers", 256, "most requests under way at once")
	return c
}

func lostError(lost int, r load.Result) error {
	if r.Example != nil {
		return fmt.Errorf("%d of %d requests lost: %w", lost, r.Sent, r.Example)
	}
	return fmt.Errorf("%d of %d requests lost", lost, r.Sent)
}
