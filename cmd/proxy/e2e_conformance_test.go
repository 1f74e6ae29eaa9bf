package main_test

import (
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"ringfence/loadtest/origin"
)

// conformanceCase is one behaviour of the cache: what an origin answers, and
// what client and origin see of each request.
type conformanceCase struct {
	section string // what asks for it: "RFC 9111 §4.2.1", or "route" for an option
	name    string
	route   string // the entries of the route it needs; "" for the defaults
	script  script
	steps   []step
	// run is the behaviour of more than one request at a time, or of an origin
	// that goes away, in place of script and steps. It has a proxy of its own.
	run func(*testing.T)
}

// script answers the nth request of a case, from 1. An answer without a body
// gets n as its body, so that each shows which request brought it.
type script func(n int, r origin.Request) origin.Answer

// step is one request of a case, and what its client and the origin see.
type step struct {
	method string // default GET
	at     string // what follows the case's own path: "?q=1", "/other"
	fields lines
	upload string
	status int    // default 200
	cached bool   // it did not reach the origin
	behind bool   // it was cached, but then brought one request to the origin about
	cut    bool   // the answer ends before its end
	asked  int    // requests that reached the origin, where it is not as the two above say; -1 for any
	body   string // of the answer, where it matters
	says   string // a parameter of Cache-Status
	age    int    // the least Age of the answer
	has    lines  // for each name the answer's lines of that name, all and in this order
	lacks  lines  // names of which the answer has no line
	sent   lines  // as has, of the last request that reached the origin
	unsent lines  // as lacks, of that request
	check  func(*testing.T, reply)
}

// lines are field lines, "Name: value", or names alone.
type lines = []string

// failed and whatever stand for some status from 500 on, and any status.
const failed, whatever = 5, -1

// ten is a body in which each byte is its own place.
const ten = "0123456789"

// base is the path of a case below the prefix of its route.
func (c conformanceCase) base(prefix string) string { return prefix + "/" + url.PathEscape(c.title()) }

func (c conformanceCase) title() string { return c.section + " " + c.name }

// sections gives the cases the sections they are listed under.
func sections(m map[string][]conformanceCase) (cases []conformanceCase) {
	for section, cs := range m {
		for _, c := range cs {
			c.section = section
			cases = append(cases, c)
		}
	}
	return cases
}

// tally counts cases that passed, by the document that asks for them.
type tally struct {
	mu     sync.Mutex
	passed map[string]int
}

func (y *tally) pass(document string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.passed[document]++
}

// document is what a section is in: "RFC 9111".
func (c conformanceCase) document() string {
	document, _, _ := strings.Cut(c.section, " §")
	return document
}

// print writes the summary. A case that did not run has not passed.
func (y *tally) print(cases []conformanceCase) {
	all := map[string]int{}
	for _, c := range cases {
		all[c.document()]++
	}
	sum := 0
	for _, d := range slices.Sorted(maps.Keys(all)) {
		sum += y.passed[d]
		fmt.Fprintf(os.Stdout, "%-10s %4d passed, %d failed\n", d, y.passed[d], all[d]-y.passed[d])
	}
	fmt.Fprintf(os.Stdout, "conformance: %d passed, %d failed\n", sum, len(cases)-sum)
}

// conformanceCases are all cases, with dates that count from now.
func conformanceCases() []conformanceCase {
	return slices.Concat(
		storingCases(), lifetimeCases(), dateCases(), heuristicCases(), directiveCases(), requestCases(), varyCases(),
		conditionCases(), validationCases(), headCases(), staleCases(), invalidationCases(), groupCases(), rangeCases(),
		fieldCases(), credentialCases(), targetedCases(), optionCases(), queryCases(), compressionCases(), sceneCases())
}

// TestConformance says how the cache behaves, case by case. Those of the
// defaults share one proxy, those of options a second one.
func TestConformance(t *testing.T) {
	t.Parallel()
	cases := conformanceCases()
	y := &tally{passed: map[string]int{}}
	defer y.print(cases)
	dates := new(almanac)
	var plain, routed, scenes []conformanceCase
	for _, c := range cases {
		switch {
		case c.run != nil:
			scenes = append(scenes, c)
		case c.route == "":
			plain = append(plain, c)
		default:
			routed = append(routed, c)
		}
	}
	runAll := func(t *testing.T, cases []conformanceCase, play func(*testing.T, conformanceCase)) {
		for _, c := range cases {
			t.Run(c.title(), func(t *testing.T) {
				t.Parallel()
				t.Cleanup(func() {
					if !t.Failed() {
						y.pass(c.document())
					}
				})
				play(t, c)
			})
		}
	}
	onStage := func(cases []conformanceCase, top, upstream string) func(*testing.T) {
		return func(t *testing.T) {
			t.Parallel()
			s := newStage(t, cases, dates)
			p := runFile(t, s.yaml(top, upstream))
			runAll(t, cases, func(t *testing.T, c conformanceCase) { s.play(t, p, c) })
		}
	}
	t.Run("all", func(t *testing.T) {
		t.Run("defaults", onStage(plain, "", ""))
		t.Run("options", onStage(routed, "cache: {max_variants: 4}", "max_head_size: 8KiB"))
		t.Run("scenes", func(t *testing.T) {
			t.Parallel()
			runAll(t, scenes, func(t *testing.T, c conformanceCase) { c.run(t) })
		})
	})
}
