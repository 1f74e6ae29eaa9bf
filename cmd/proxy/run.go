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
	"ringfence/proxy/handover"
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
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			inherited, err := handover.Inherit()
			if err != nil {
				return err
			}
			defer func() {
				if err != nil {
					inherited.Fail(err)
				}
			}()
			doc, err := runConfig(file, listen, admin, servers)
			if err != nil {
				return err
			}
			ctx, stop := stopSignals(cmd.Context())
			defer stop()
			log, level := newLog(doc.Config.Log)
			return serve(ctx, doc, log, level, inherited, nil)
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
func runConfig(file, listen, admin string, servers []string) (doc config.Document, err error) {
	switch {
	case file != "":
		return config.LoadDocument(file)
	case len(servers) == 0:
		return doc, errors.New("run: want --config FILE, or --upstream ADDRESS for each server")
	}
	doc.Config, err = config.Quick(listen, admin, servers)
	return doc, err
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

// serve runs a proxy until ctx ends, and follows the file of its configuration, if
// there is one. Where inherited is not nil it listens on these sockets, and another
// start of the program may take its place. started, if not nil, is told the addresses
// once they are open.
func serve(ctx context.Context, doc config.Document, log *slog.Logger, level *slog.LevelVar, inherited *handover.Inherited, started func(listen, admin string)) error {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	srv, err := server.New(doc.Config, versionText(), log)
	if err != nil {
		return err
	}
	srv.Warn(doc)
	if doc.File != "" {
		srv.Follow(doc, level)
	}
	if inherited != nil {
		srv.Succeed(inherited)
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
// a terminal and JSON otherwise unless the configuration says which. Its level can
// be changed.
func newLog(c config.Log) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(c.Level)
	opts := &slog.HandlerOptions{Level: level}
	text := c.Format == config.LogText ||
		c.Format == config.LogAuto && term.IsTerminal(int(os.Stderr.Fd()))
	if text {
		return slog.New(slog.NewTextHandler(os.Stderr, opts)), level
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, opts)), level
}
