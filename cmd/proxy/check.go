package main

import (
	"github.com/spf13/cobra"

	"ringfence/proxy/config"
)

func newCheck() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate a configuration file",
		Long: "check reads a configuration file as run does and prints every fault in it as\n" +
			"file:line:column: what is wrong, and what would be right. It exits with 1 where there is one.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := config.Load(file); err != nil {
				return err
			}
			cmd.Println(file + ": ok")
			return nil
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "configuration `file`")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic(err) // the flag was defined a line above
	}
	return cmd
}
