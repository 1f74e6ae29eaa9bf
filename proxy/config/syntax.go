package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// minimal is the least that works, for whoever starts from nothing.
const minimal = "write at least upstreams: {app: {servers: [{address: 127.0.0.1:9001}]}} and routes: [{upstream: app}]"

// parseDocument returns the root of the one document in data. Where there is
// none, least says what to write.
func parseDocument(data []byte, least string) (*yaml.Node, *Fault) {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if len(data) > maxFile {
		return nil, &Fault{Line: 1, Column: 1, Message: fmt.Sprintf("the file is too large; want at most %d bytes", maxFile)}
	}
	if offset, found := invalidUTF8(data); found {
		line, column := position(data, offset)
		return nil, &Fault{Line: line, Column: column, Message: fmt.Sprintf("byte %#02x is not UTF-8; save the file as UTF-8", data[offset])}
	}
	documents, err := parseAll(bytes.NewReader(data))
	switch {
	case err != nil:
		return nil, syntaxFault(data, err)
	case len(documents) == 0 || len(documents) == 1 && isNull(documents[0].Content[0]):
		return nil, &Fault{Line: 1, Column: 1, Message: "the file is empty; " + least}
	case len(documents) > 1:
		second := documents[1]
		return nil, &Fault{Line: second.Line, Column: second.Column, Message: "a second document begins here; a file holds one, remove the --- and what follows or move it to its own file"}
	}
	return documents[0].Content[0], nil
}

// parseAll reads every document of a stream. A document always has a content.
func parseAll(r io.Reader) ([]*yaml.Node, error) {
	decoder := yaml.NewDecoder(r)
	var documents []*yaml.Node
	for {
		var n yaml.Node
		switch err := decoder.Decode(&n); {
		case errors.Is(err, io.EOF):
			return documents, nil
		case err != nil:
			return nil, err
		}
		documents = append(documents, &n)
	}
}

var yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

// syntaxFault places an error of the YAML parser. The line such an error names,
// if any, is where the enclosing structure began, often far above; the fault is
// in the line after the longest run of whole lines that parses.
func syntaxFault(data []byte, err error) *Fault {
	problem := yamlPrefix.ReplaceAllString(err.Error(), "")
	start := firstBadLine(data)
	line := string(bytes.TrimRight(bytes.SplitN(data[start:], []byte("\n"), 2)[0], "\r"))
	indent := len(line) - len(strings.TrimLeft(line, " \t"))
	hint := hintFor(problem)
	if tab := strings.IndexByte(line[:indent], '\t'); tab >= 0 {
		indent, hint = tab, "indent with spaces, not with tabs"
	}
	number, column := position(data, start+indent)
	return &Fault{Line: number, Column: column, Message: "not valid YAML: " + problem + "; " + hint}
}

// searchBudget bounds, in bytes, how much text firstBadLine parses again;
// parserCost is what starting one parser amounts to.
const (
	searchBudget = 8 << 20
	parserCost   = 16 << 10
)

// firstBadLine returns the offset of the first line that makes data unparsable.
// It looks from where the parser stopped upwards, and settles for that place
// when the budget is spent.
func firstBadLine(data []byte) int {
	r := &byteReader{data: data}
	_, _ = parseAll(r) // fails as it did before; only how far it came matters
	stopped := lineStart(data, max(r.offset-1, 0))
	budget := searchBudget
	for start := stopped; budget > 0; start = lineStart(data, start-1) {
		if _, err := parseAll(bytes.NewReader(data[:start])); err == nil || start == 0 {
			return start
		}
		budget -= start + parserCost
	}
	return stopped
}

// byteReader hands out one byte at a time, so that offset tells how far its
// reader came.
type byteReader struct {
	data   []byte
	offset int
}

func (r *byteReader) Read(p []byte) (int, error) {
	if r.offset == len(r.data) {
		return 0, io.EOF
	}
	n := copy(p, r.data[r.offset:r.offset+1])
	r.offset += n
	return n, nil
}

// hintFor says what would be right, given what the YAML parser found wrong.
func hintFor(problem string) string {
	switch {
	case strings.Contains(problem, "mapping values are not allowed"):
		return "write one key: value a line, and put text that holds a colon and a space in quotes"
	case strings.Contains(problem, "did not find expected key"), strings.Contains(problem, "'-' indicator"):
		return "begin the keys of one mapping, and the dashes of one list, in the same column"
	case strings.Contains(problem, "could not find expected ':'"):
		return "write key: value, with a colon and a space"
	case strings.Contains(problem, "cannot start any token"):
		return "put text that begins with this character in quotes"
	case strings.Contains(problem, "unexpected end of stream"):
		return "close the quote"
	case strings.Contains(problem, "',' or"):
		return "close the bracket"
	case strings.Contains(problem, "alphabetic or numeric character"):
		return "put text that begins with * or & in quotes, as in \"*.example.com\""
	case strings.Contains(problem, "unknown anchor"):
		return "define the anchor above the place that uses it"
	case strings.Contains(problem, "control characters"):
		return "remove the control character, or write it as an escape in double quotes"
	default:
		return "check this line's indentation, quotes and brackets"
	}
}

// lineStart returns the offset at which the line of the byte at offset begins.
func lineStart(data []byte, offset int) int {
	return bytes.LastIndexByte(data[:max(offset, 0)], '\n') + 1
}

// position returns the line and the column, in characters, of an offset.
func position(data []byte, offset int) (line, column int) {
	return bytes.Count(data[:offset], []byte("\n")) + 1,
		utf8.RuneCount(data[lineStart(data, offset):offset]) + 1
}

// invalidUTF8 returns the offset of the first byte of data that is not UTF-8.
func invalidUTF8(data []byte) (offset int, found bool) {
	for offset < len(data) {
		r, n := utf8.DecodeRune(data[offset:])
		if r == utf8.RuneError && n <= 1 {
			return offset, true
		}
		offset += n
	}
	return 0, false
}
