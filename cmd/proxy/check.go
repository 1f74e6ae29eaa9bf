package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"ringfence/proxy/config"
)

func newCheck() *cobra.Command {
	var file, before string
	var strict bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate a configuration file",
		Long: "check reads a configuration file as run does and prints every fault in it as\n" +
			"file:line:column: what is wrong, and what would be right. It exits with 1 where there is one.\n" +
			"On standard error it warns of what is valid and hardly meant, and with --strict that counts\n" +
			"as a fault: a route that no request has, limits that contradict each other, certificates that\n" +
			"have expired, and the like.\n\n" +
			"With --diff it prints what a process that runs with that other file would change when\n" +
			"it takes this one over, and what of it needs a restart: a line each, + for what is new,\n" +
			"- for what is gone, and ~ for another value.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			doc, err := config.LoadDocument(file)
			if err != nil {
				return err
			}
			warnings := config.Warnings(doc, time.Now(), os.ReadFile)
			for _, warning := range warnings {
				cmd.PrintErrln("warning: " + warning.String())
			}
			if strict && len(warnings) > 0 {
				return fmt.Errorf("%s: with --strict there must be no warnings", file)
			}
			if before == "" {
				cmd.Println(file + ": ok")
				return nil
			}
			was, err := config.Load(before)
			if err != nil {
				return err
			}
			for _, change := range config.Diff(was, doc.Config) {
				cmd.Println(change)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `file`")
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 1 where there is a warning")
	cmd.Flags().StringVar(&before, "diff", "", "print what changes from this other `file`")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag was defined a line above
	}
	return cmd
}
