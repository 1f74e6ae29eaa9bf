package main

import (
	"errors"
	"io"
	"os"

	"github.com/spf13/cobra"

	"ringfence/loadtest/report"
	"ringfence/loadtest/result"
)

func reportCommand() *cobra.Command {
	var page, markdown, data string
	c := &cobra.Command{
		Use:   "report RUN.json...",
		Short: "Set what came of runs side by side",
		Long: `Set what came of runs (loadtest run --out) side by side: as a page that needs
nothing else, as Markdown, and as JSON; without a flag, Markdown is printed. Runs of
one label (--label) are one column, with their median and spread; each of the others
has its ratio to the first, run by run in their order.`,
		Example: `  loadtest report --html report.html before-1.json before-2.json after-1.json after-2.json`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, paths []string) error {
			var runs []result.Run
			for _, path := range paths {
				r, err := result.Load(path)
				if err != nil {
					return err
				}
				if len(r.Phases) == 0 {
					return errors.New(path + ": it has no phases")
				}
				runs = append(runs, r)
			}
			r := report.New(runs)
			if page == "" && markdown == "" && data == "" {
				return r.WriteMarkdown(c.OutOrStdout())
			}
			for _, one := range []struct {
				path  string
				write func(io.Writer) error
			}{{page, r.WriteHTML}, {markdown, r.WriteMarkdown}, {data, r.WriteJSON}} {
				if err := writeFile(one.path, one.write); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&page, "html", "", "`file` for the page")
	f.StringVar(&markdown, "markdown", "", "`file` for Markdown")
	f.StringVar(&data, "json", "", "`file` for JSON")
	return c
}

// writeFile writes a file, unless it has no name.
func writeFile(path string, write func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
