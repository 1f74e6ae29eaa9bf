package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// healthWait bounds a question for health: a proxy that runs knows the answer.
const healthWait = 3 * time.Second

func newHealth() *cobra.Command {
	var reach *adminFlags
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running proxy whether it takes requests",
		Long: "health asks for /readyz at the admin listener of a running proxy. It exits with 0 where that\n" +
			"takes requests, and with 1 where it drains, waits for its first checks, or does not answer\n" +
			"within 3 s, and says so. It is what supervises a container that has no shell.",
		Example: "  proxy health\n" +
			"  proxy health --config ringfence.yaml\n" +
			"  proxy health --admin unix:/run/ringfence/admin.sock",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := health(cmd.Context(), reach)
			if err != nil {
				return fmt.Errorf("health: %w", err)
			}
			cmd.Println(text)
			return nil
		},
	}
	reach = addAdminFlags(cmd)
	return cmd
}

// health says who is ready. Whoever is not, or does not answer, is an error.
func health(ctx context.Context, reach *adminFlags) (string, error) {
	admin, err := reach.client()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, healthWait)
	defer cancel()
	text, err := admin.ask(ctx, http.MethodGet, "/readyz", "text/plain", nil)
	return fmt.Sprintf("%s: %s", admin.address, bytes.TrimSpace(text)), err
}
