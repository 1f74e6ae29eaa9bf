package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ringfence/proxy/config"
	"ringfence/proxy/server"
)

// explainWait bounds how long a running proxy is asked: it answers from memory.
const explainWait = 3 * time.Second

// inquiry is what `proxy explain` was asked.
type inquiry struct {
	url, method, client string
	headers             []string
	json                bool
}

func newExplain() *cobra.Command {
	var offline bool
	var reach *adminFlags
	var q inquiry
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Explain what the proxy would do with a request, and why",
		Long: "explain asks the running proxy what it would do with a request at this moment, and why: its\n" +
			"route, its cache key, what is stored and how fresh that is, and the servers in the order in\n" +
			"which they would be asked. Nothing is fetched, stored or counted. Where no proxy answers at\n" +
			"the file's admin address, it explains the file alone: nothing is stored, all servers are well.",
		Example: "  proxy explain --config ringfence.yaml https://example.com/news/1\n" +
			"  proxy explain --config ringfence.yaml -H 'Accept-Language: de' --method HEAD https://example.com/\n" +
			"  proxy explain --admin 127.0.0.1:9901 --json https://example.com/",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.url = args[0]
			if !cmd.Flags().Changed("json") {
				q.json = !term.IsTerminal(int(os.Stdout.Fd()))
			}
			text, err := explain(cmd, q, reach, offline)
			if err != nil {
				return fmt.Errorf("explain: %w", err)
			}
			cmd.Print(text)
			return nil
		},
	}
	reach = addAdminFlags(cmd)
	cmd.Flags().StringArrayVarP(&q.headers, "header", "H", nil, "a `field` of the request, Name: value; may be repeated")
	cmd.Flags().StringVarP(&q.method, "method", "X", http.MethodGet, "the request's `method`")
	cmd.Flags().StringVar(&q.client, "client", "", "the `address` that the request comes from")
	cmd.Flags().BoolVar(&q.json, "json", false, "print JSON; the default where standard output is no terminal")
	cmd.Flags().BoolVar(&offline, "offline", false, "explain the file alone, and ask no running proxy")
	cmd.MarkFlagsMutuallyExclusive("admin", "offline")
	return cmd
}

// explain asks the proxy that runs, or else the file, and says which.
func explain(cmd *cobra.Command, q inquiry, reach *adminFlags, offline bool) (string, error) {
	if reach.config == "" {
		if offline {
			return "", errors.New("which file is to be explained: want --config FILE")
		}
		return q.ask(cmd.Context(), reach)
	}
	cfg, err := config.Load(reach.config)
	if err != nil {
		return "", err
	}
	if cfg.Admin.Listen != "" && !offline {
		text, err := q.ask(cmd.Context(), reach)
		if _, unreachable := errors.AsType[*url.Error](err); !unreachable {
			return text, err
		}
		cmd.PrintErrf("no proxy answers at %s: explaining %s alone\n", cfg.Admin.Listen, reach.config)
	}
	x, err := server.Explain(cfg, q.method, q.url, q.headers, q.client)
	if err != nil {
		return "", err
	}
	if !q.json {
		return x.Text(), nil
	}
	text, err := json.MarshalIndent(x, "", "  ")
	return string(text) + "\n", err
}

// ask asks a running proxy. The error is an [*url.Error] where there is none.
func (q inquiry) ask(ctx context.Context, reach *adminFlags) (string, error) {
	query := url.Values{"url": {q.url}, "method": {q.method}, "header": q.headers}
	if q.client != "" {
		query.Set("client", q.client)
	}
	admin, err := reach.client()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, explainWait)
	defer cancel()
	form := "text/plain"
	if q.json {
		form = "application/json"
	}
	text, err := admin.ask(ctx, http.MethodGet, "/api/explain?"+query.Encode(), form, nil)
	return string(text), err
}
