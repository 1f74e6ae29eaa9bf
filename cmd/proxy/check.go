package main

import (
	"github.com/spf13/cobra"

	"ringfence/proxy/config"
)

func newCheck() *cobra.Command {
	var file, before string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate a configuration file",
		Long: "check reads a configuration file as run does and prints every fault in it as\n" +
			"file:line:column: what is wrong, and what would be right. It exits with 1 where there is one.\n\n" +
			"With --diff it prints what a process that runs with that other file would change when\n" +
			"it takes this one over, and what of it needs a restart: a line each, + for what is new,\n" +
			"- for what is gone, and ~ for another value.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			if before == "" {
				cmd.Println(file + ": ok")
				return nil
			}
			was, err := config.Load(before)
			if err != nil {
				return err
			}
			for _, change := range config.Diff(was, cfg) {
				cmd.Println(change)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `file`")
	cmd.Flags().StringVar(&before, "diff", "", "print what changes from this other `file`")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag was defined a line above
	}
	return cmd
}
