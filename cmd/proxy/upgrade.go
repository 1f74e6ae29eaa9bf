package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// upgradeWait bounds an upgrade: upgrade_timeout is a minute at most, and a process
// that is late has some seconds to end.
const upgradeWait = 80 * time.Second

func newUpgrade() *cobra.Command {
	var reach *adminFlags
	cmd := &cobra.Command{
		Use:   "upgrade",
		Short: "Have a running proxy start its program anew, and hand over to it",
		Long: "upgrade asks a running proxy to start its program again, which may be another one by now,\n" +
			"with the same arguments and all its listening sockets. Once the new process serves, the\n" +
			"old one ends the requests that it has and exits; no connection is refused meanwhile. Where\n" +
			"the new process fails, or is not ready within upgrade_timeout, it is ended, the old one\n" +
			"goes on, and upgrade says why and exits with 1. SIGUSR2 does the same.",
		Example: "  proxy upgrade\n" +
			"  proxy upgrade --config ringfence.yaml",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			admin, err := reach.client()
			if err != nil {
				return fmt.Errorf("upgrade: %w", err)
			}
			text, err := upgrade(cmd.Context(), admin)
			if err != nil {
				return fmt.Errorf("upgrade: %w", err)
			}
			cmd.Println(text)
			return nil
		},
	}
	reach = addAdminFlags(cmd)
	return cmd
}

// upgrade posts to the admin surface, and says in words what has become of it.
func upgrade(ctx context.Context, admin *adminClient) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, upgradeWait)
	defer cancel()
	var done struct {
		Old, New struct {
			PID     int
			Version string
		}
	}
	if err := admin.do(ctx, http.MethodPost, "/api/upgrade", nil, &done); err != nil {
		return "", err
	}
	return fmt.Sprintf("process %d (%s) serves; process %d (%s) ends what it has begun", done.New.PID, done.New.Version, done.Old.PID, done.Old.Version), nil
}
