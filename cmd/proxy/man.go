package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newMan is for those who package the program, and not in its help.
func newMan() *cobra.Command {
	return &cobra.Command{
		Use:    "man",
		Short:  "Print the manual page, proxy(1)",
		Args:   cobra.NoArgs,
		Hidden: true,
		Run:    func(cmd *cobra.Command, _ []string) { cmd.Print(manual(cmd.Root())) },
	}
}

// manual returns the help of a command and of all below it as a page in the man
// macros of roff.
func manual(root *cobra.Command) string {
	root.InitDefaultHelpFlag()
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"ringfence %s\" \"User Commands\"\n", strings.ToUpper(root.Name()), roff(versionText()))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(root.Name()), roff(root.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n.I command\n.RI [ flags ]\n.SH DESCRIPTION\n", roff(root.Name()))
	b.WriteString(manualText(root.Long) + manualOptions(root) + ".SH COMMANDS\n")
	for _, sub := range root.Commands() {
		b.WriteString(manualCommand(sub))
	}
	fmt.Fprintf(&b, ".SH EXIT STATUS\n0, or 1 after an error, which is on standard error.\n")
	return b.String()
}

func manualCommand(cmd *cobra.Command) string {
	if !cmd.IsAvailableCommand() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, ".SS %s\n%s.\n", roff(cmd.UseLine()), roff(cmd.Short))
	b.WriteString(manualText(cmd.Long) + manualOptions(cmd) + manualText(cmd.Example))
	for _, sub := range cmd.Commands() {
		b.WriteString(manualCommand(sub))
	}
	return b.String()
}

func manualOptions(cmd *cobra.Command) string {
	var b strings.Builder
	for _, o := range options(cmd) {
		flags := strings.TrimSuffix(o.spec, " "+o.value)
		fmt.Fprintf(&b, ".TP\n\\fB%s\\fR \\fI%s\\fR\n%s.\n", roff(flags), roff(o.value), roff(o.text))
	}
	return b.String()
}

// manualText sets paragraphs; those that are indented are what to type, and stand as
// they are.
func manualText(text string) string {
	var b strings.Builder
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		set := ".PP\n%s\n"
		if strings.TrimLeft(paragraph, " \t") != paragraph {
			set = ".PP\n.EX\n%s\n.EE\n"
		}
		if strings.TrimSpace(paragraph) != "" {
			fmt.Fprintf(&b, set, roff(strings.Trim(paragraph, "\n")))
		}
	}
	return b.String()
}

// roff escapes what has a meaning in roff, or would be set as another character.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`).Replace(text)
	return strings.TrimPrefix(strings.ReplaceAll("\n"+text, "\n.", "\n\\&."), "\n")
}
