package main

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// printed runs the command line in this process.
func printed(t *testing.T, args ...string) (string, *cobra.Command) {
	t.Helper()
	var out, faults strings.Builder
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&faults)
	if err := root.Execute(); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return out.String(), root
}

// The page has a section for each command that the help shows, with all its flags
// and its examples, and roff understands it.
func TestManual(t *testing.T) {
	page, root := printed(t, "man")
	plain := strings.NewReplacer(`\-`, "-", `\fR`, "", `\fB`, "", `\fI`, "", `\(aq`, "'", `\(dq`, `"`, `\(ti`, "~", `\(ga`, "`").Replace(page)
	sections := map[string]string{}
	for _, section := range strings.Split(plain, "\n.SS ")[1:] {
		name, text, _ := strings.Cut(section, "\n")
		sections[strings.TrimSuffix(name, " [flags]")] = text
	}
	for _, cmd := range below(root) {
		line := strings.TrimSuffix(cmd.UseLine(), " [flags]")
		text, ok := sections[line]
		if delete(sections, line); !ok {
			t.Errorf("no section for %q", line)
			continue
		}
		for _, flag := range regexp.MustCompile(`(?m)^ .*?(--[\w-]+)`).FindAllStringSubmatch(cmd.Flags().FlagUsages(), -1) {
			if !strings.Contains(text, flag[1]+" ") {
				t.Errorf("%s: no %s in its section", line, flag[1])
			}
		}
		for want := range strings.SplitSeq(cmd.Short+"\n\n"+cmd.Long+"\n\n"+cmd.Example, "\n\n") {
			if !strings.Contains(text, strings.TrimSpace(want)) {
				t.Errorf("%s: no %q in its section", line, want)
			}
		}
	}
	for line := range sections {
		t.Errorf("a section for %q, which the help does not show", line)
	}
	if !strings.Contains(plain, "-h, --help") || strings.Contains(plain, "proxy man") {
		t.Error("the page lacks --help, or shows the command that prints it")
	}
	read := exec.Command("groff", "-man", "-ww", "-z", "-Tutf8")
	read.Stdin = strings.NewReader(page)
	if out, err := read.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("groff: %v\n%s", err, out)
	}
}

// below lists the commands that the help shows.
func below(cmd *cobra.Command) (all []*cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			all = append(append(all, sub), below(sub)...)
		}
	}
	return all
}

func TestRoff(t *testing.T) {
	for text, want := range map[string]string{
		"a-b": `a\-b`, ".x\n.y": "\\&.x\n\\&.y", `\n`: `\en`, "'a'": `\(aqa\(aq`, "1.5": "1.5", "~^`\"": `\(ti\(ha\(ga\(dq`, "": "",
	} {
		if got := roff(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestCompletion(t *testing.T) {
	const files, nothing = ":0", ":4"
	for _, tt := range []struct {
		typed string
		want  string // the last line: what the shell is to do by itself
		among []string
	}{
		{"run --config ", files, nil},
		{"check -c ", files, nil},
		{"purge --token-file ", files, nil},
		{"health --ca-file ", files, nil},
		{"run --listen ", nothing, nil},
		{"run ", nothing, nil},
		{"purge ", nothing, nil},
		{"explain --method ", nothing, []string{"GET", "PURGE"}},
		{"completion ", nothing, []string{"bash", "zsh", "fish"}},
		{"", nothing, []string{"run", "check", "health", "purge"}},
		{"run --", nothing, []string{"--config", "--upstream"}},
	} {
		words := strings.Split("__completeNoDesc "+tt.typed, " ")
		out, _ := printed(t, words...)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if lines[len(lines)-1] != tt.want || tt.among == nil && len(lines) > 1 {
			t.Errorf("%q: %q, want %s", tt.typed, lines, tt.want)
		}
		for _, word := range tt.among {
			if !slices.Contains(lines, word) {
				t.Errorf("%q: %q, want %s among them", tt.typed, lines, word)
			}
		}
		if slices.Contains(lines, "man") {
			t.Errorf("%q: the hidden command is offered", tt.typed)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, _ := printed(t, "completion", shell)
		if !strings.Contains(script, "proxy") {
			t.Errorf("%s: %q", shell, script)
		}
		if path, err := exec.LookPath(shell); err == nil {
			read := exec.Command(path, "-n")
			read.Stdin = strings.NewReader(script)
			if out, err := read.CombinedOutput(); err != nil {
				t.Errorf("%s does not understand its script: %v\n%s", shell, err, out)
			}
		}
	}
}
