package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"ringfence/proxy/config"
	"ringfence/proxy/server"
)

func newRun() *cobra.Command {
	var file, listen, admin string
	var servers []string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the proxy",
		Example: "  proxy run --config ringfence.yaml\n" +
			"  proxy run --listen :8080 --upstream 127.0.0.1:9001 --upstream 127.0.0.1:9002",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := runConfig(file, listen, admin, servers)
			if err != nil {
				return err
			}
			ctx, stop := stopSignals(cmd.Context())
			defer stop()
			return serve(ctx, cfg, newLog(cfg.Log), nil)
		},
	}
	def := config.Default()
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `file`")
	cmd.Flags().StringVar(&listen, "listen", def.Listen, "`address` for clients, without a file")
	cmd.Flags().StringVar(&admin, "admin", def.Admin.Listen, "`address` of the admin listener, or off, without a file")
	cmd.Flags().StringArrayVar(&servers, "upstream", nil, "`address` of a server, without a file; may be repeated")
	for _, flag := range []string{"listen", "admin", "upstream"} {
		cmd.MarkFlagsMutuallyExclusive("config", flag)
	}
	return cmd
}

// runConfig reads the configuration from a file, or makes it of flags.
func runConfig(file, listen, admin string, servers []string) (config.Config, error) {
	switch {
	case file != "":
		return config.Load(file)
	case len(servers) == 0:
		return config.Config{}, errors.New("run: want --config FILE, or --upstream ADDRESS for each server")
	}
	return config.Quick(listen, admin, servers)
}

// stopSignals returns a context that the first SIGTERM or SIGINT ends; the
// second one kills the process.
func stopSignals(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(parent, syscall.SIGTERM, os.Interrupt)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// gcPercent is Go's GOGC unless the environment has one. Most of the memory are
// stored bodies, which a collection has not to look into, and a hit allocates
// nothing: collections twice as often as by default are not felt, while those are
// half as much memory on top of what is in use.
const gcPercent = 50

// serve runs a proxy until ctx ends. started, if not nil, is told the
// addresses once they are open.
func serve(ctx context.Context, cfg config.Config, log *slog.Logger, started func(listen, admin string)) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	srv, err := server.New(cfg, versionText(), log)
	if err != nil {
		return err
	}
	if err := srv.Listen(); err != nil {
		return errors.Join(err, srv.Close())
	}
	if started != nil {
		started(srv.Addrs()[0], srv.AdminAddr())
	}
	return srv.Run(ctx)
}

// newLog returns the logger of a configuration: to standard error, as text on
// a terminal and JSON otherwise unless the configuration says which.
func newLog(c config.Log) *slog.Logger {
	opts := &slog.HandlerOptions{Level: c.Level}
	text := c.Format == config.LogText ||
		c.Format == config.LogAuto && term.IsTerminal(int(os.Stderr.Fd()))
	if text {
		return slog.New(slog.NewTextHandler(os.Stderr, opts))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, opts))
}
