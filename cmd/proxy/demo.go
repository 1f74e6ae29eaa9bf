package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ringfence/proxy/config"
)

func newDemo() *cobra.Command {
	var listen, admin string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the proxy in front of three small origins, to try it out",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := stopSignals(cmd.Context())
			defer stop()
			return demo(ctx, cmd.OutOrStdout(), listen, admin)
		},
	}
	def := config.Default()
	cmd.Flags().StringVar(&listen, "listen", def.Listen, "`address` for clients")
	cmd.Flags().StringVar(&admin, "admin", def.Admin.Listen, "`address` of the admin listener")
	return cmd
}

// demoOrigins is how many origins the demonstration has.
const demoOrigins = 3

func demo(ctx context.Context, out io.Writer, listen, admin string) error {
	var addresses []string
	for i := range demoOrigins {
		origin, err := startOrigin(fmt.Sprintf("origin-%d", i+1))
		if err != nil {
			return err
		}
		defer origin.stop()
		addresses = append(addresses, origin.address)
	}
	cfg, err := config.Quick(listen, admin, addresses)
	if err != nil {
		return err
	}
	app := cfg.Upstreams["app"]
	for i := range app.Servers {
		app.Servers[i].ID = fmt.Sprintf("origin-%d", i+1)
	}
	app.HealthCheck = config.HealthCheck{
		Type: config.CheckHTTP, Path: "/healthz", Interval: time.Second, Timeout: 500 * time.Millisecond, Rise: 2, Fall: 3,
	}
	cfg.Upstreams["app"] = app
	cfg.Log.Level = slog.LevelWarn
	log, _ := newLog(cfg.Log)
	return serve(ctx, config.Document{Config: cfg}, log, nil, nil, func(listen, admin string) {
		// Without a reader the demonstration goes on all the same.
		_, _ = io.WriteString(out, demoText(listen, admin, addresses))
	})
}

func demoText(listen, admin string, origins []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Ringfence is in front of three origins (%s). Try:\n\n", strings.Join(origins, ", "))
	fmt.Fprintf(&b, "  curl -i http://%s/hello    # a miss: fetched from the origin that X-Served-By names\n", listen)
	fmt.Fprintf(&b, "  curl -i http://%s/hello    # a hit: the same answer from memory, with its Age\n", listen)
	fmt.Fprintf(&b, "  curl -i http://%s/world    # another key, and perhaps another origin\n", listen)
	if admin != "" {
		fmt.Fprintf(&b, "\nThe admin listener is at http://%s/. Stop with Ctrl-C.\n", admin)
	}
	return b.String()
}

// origin is one small server of the demonstration.
type origin struct {
	address string
	server  *http.Server
	done    chan struct{}
}

// startOrigin starts a server on a free port that says who it is. Each answer
// takes it a moment and may be cached for ten seconds.
func startOrigin(name string) (*origin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("demo origin: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		// A write error means that the prober has gone.
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "max-age=10")
		w.Header().Set("X-Served-By", name)
		// A write error means that the proxy has gone.
		_, _ = fmt.Fprintf(w, "%s, from %s at %s\n", strings.Trim(r.URL.Path, "/"), name, time.Now().Format(time.TimeOnly))
	})
	o := &origin{
		address: l.Addr().String(),
		server:  &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second},
		done:    make(chan struct{}),
	}
	go func() {
		defer close(o.done)
		// It ends when stop closes the server, with an error that says so.
		_ = o.server.Serve(l)
	}()
	return o, nil
}

func (o *origin) stop() {
	// Closing a listener that is closed already changes nothing.
	_ = o.server.Close()
	<-o.done
}
