package main

import (
	"net/http"
	"strings"

	"github.com/spf13/cobra"
)

// option is a flag as a command's help shows it.
type option struct {
	spec  string // -c, --config file
	name  string // config
	value string // file, "" for a switch
	text  string // what it is, and its default
}

// options returns the flags of a command, by name.
func options(cmd *cobra.Command) (all []option) {
	for line := range strings.Lines(cmd.LocalFlags().FlagUsages()) {
		// Three spaces or more part a flag from its text.
		spec, text, _ := strings.Cut(strings.TrimSpace(line), "   ")
		_, long, _ := strings.Cut(spec, "--")
		name, value, _ := strings.Cut(long, " ")
		all = append(all, option{spec, name, value, strings.TrimSpace(text)})
	}
	return all
}

// choices are the values that are offered for flags, by the name of the value.
// Others are possible.
func choices() map[string][]string {
	return map[string][]string{
		"method": {http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions, "PURGE"},
	}
}

// completable has the shell complete, for cmd and all below it, files where a file
// is wanted, one of the choices where there are some, and nothing elsewhere.
func completable(cmd *cobra.Command) {
	cmd.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	for _, o := range options(cmd) {
		complete := cobra.FixedCompletions(choices()[o.value], cobra.ShellCompDirectiveNoFileComp)
		if o.value == "file" {
			complete = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
		}
		if err := cmd.RegisterFlagCompletionFunc(o.name, complete); err != nil {
			panic(err) // it is a flag of the command, and completed here alone
		}
	}
	for _, sub := range cmd.Commands() {
		completable(sub)
	}
}
