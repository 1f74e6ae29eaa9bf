// Command proxy is Ringfence: a caching reverse proxy and load balancer.
package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build; see the Makefile.
var version = ""

func main() {
	if err := newRoot().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "proxy",
		Short: "Ringfence, a caching reverse proxy and load balancer",
		Long: "Ringfence routes each request to an upstream by consistent hash of its cache key,\n" +
			"ejects servers that fail their health checks, and lets one request fill a cold key\n" +
			"while all others stream from that fill.",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetOut(os.Stdout)
	root.AddCommand(newRun(), newCheck(), newExplain(), newPurge(), newUpgrade(), newDemo(), newVersion(), newHealth(), newMan())
	completable(root)
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			cmd.Println("ringfence", versionText())
		},
	}
}

// versionText returns the version of the build, or what Go knows of it.
func versionText() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
