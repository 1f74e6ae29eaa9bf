package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// purgeWait bounds a purge: an instance waits five seconds for the others.
const purgeWait = 15 * time.Second

func newPurge() *cobra.Command {
	var key, prefix string
	var reach *adminFlags
	var tags []string
	var everything, soft bool
	cmd := &cobra.Command{
		Use:   "purge [URL]",
		Short: "Take something out of the cache of a running proxy, and of its whole fleet",
		Long: "purge asks a running proxy to take out of the cache what is stored for a URL in all its\n" +
			"variants, under a key, with a tag (Cache-Tag, Surrogate-Key, Cache-Groups), below a URL, or\n" +
			"all of it. It returns once every live instance of the fleet has confirmed, and exits with 1\n" +
			"where one has not.",
		Example: "  proxy purge https://example.com/news/1\n" +
			"  proxy purge --soft --tag news --tag sports\n" +
			"  proxy purge --prefix https://example.com/news\n" +
			"  proxy purge --config ringfence.yaml --everything",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ask := map[string]any{"soft": soft}
			if len(args) == 1 {
				ask["url"] = args[0]
			}
			for name, value := range map[string]any{"key": key, "tags": tags, "prefix": prefix, "everything": everything} {
				if flag := strings.TrimSuffix(name, "s"); cmd.Flags().Changed(flag) {
					ask[name] = value
				}
			}
			if len(ask) != 2 {
				return errors.New("purge: want a URL, or one of --key, --tag, --prefix and --everything")
			}
			admin, err := reach.client()
			if err != nil {
				return fmt.Errorf("purge: %w", err)
			}
			text, err := purge(cmd.Context(), admin, ask)
			if err != nil {
				return fmt.Errorf("purge: %w", err)
			}
			cmd.Println(text)
			return nil
		},
	}
	reach = addAdminFlags(cmd)
	cmd.Flags().StringVar(&key, "key", "", "purge what is stored under the key with this `hash`, 16 hexadecimal digits")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "purge what has this `tag`; may be repeated")
	cmd.Flags().StringVar(&prefix, "prefix", "", "purge what is stored for this `URL` and all below it, by whole segments")
	cmd.Flags().BoolVar(&everything, "everything", false, "purge all that is stored")
	cmd.Flags().BoolVar(&soft, "soft", false, "leave it as stale: it is validated, or served while it is fetched again where it allows that")
	return cmd
}

// purge posts to the admin surface, and says in words what has become of it.
func purge(ctx context.Context, admin *adminClient, ask map[string]any) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, purgeWait)
	defer cancel()
	var done struct {
		Purged       string
		Names        []string
		Soft         bool
		Acknowledged bool
		Instances    int
		Error        string
	}
	if err := admin.do(ctx, http.MethodPost, "/api/purge", ask, &done); err != nil {
		return "", err
	}
	what := strings.TrimSpace(done.Purged + " " + strings.Join(done.Names, ", "))
	if !done.Acknowledged {
		return "", fmt.Errorf("%s: %s has applied it, but not every other instance has confirmed it; repeat it (%s)", what, admin.address, done.Error)
	}
	verb := "purged"
	if done.Soft {
		verb = "made stale"
	}
	return fmt.Sprintf("%s: %s, confirmed by %s", what, verb, counted(done.Instances, "instance")), nil
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
