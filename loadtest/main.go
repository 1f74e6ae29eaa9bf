// Command loadtest puts HTTP servers to the test: a scripted origin to stand
// behind a proxy, an open-loop generator to stand before it, and drills for a
// fleet of proxies.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	root := &cobra.Command{
		Use:           "loadtest",
		Short:         "Put an HTTP server or proxy to the test",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(originCommand(), runCommand(), reportCommand(), replayCommand(), simulateCommand(), drillCommand(), compareCommand(), floorCommand())
	err := root.ExecuteContext(ctx)
	stop()
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(1)
	}
}
