// Package logs reads the access logs of web servers and proxies.
package logs

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Entry is what a line says of a request. What it does not say is empty, or -1.
type Entry struct {
	At     time.Time
	Method string
	Host   string
	Target string // path and query
	Status int
	Bytes  int64
}

// Log is what a file has.
type Log struct {
	Entries []Entry // by their times
	Skipped int     // lines that are no request, or have no time
	Example string  // why the first of these is not
}

// mostLine bounds a line; a longer one ends the reading.
const mostLine = 1 << 20

// Read reads up to most requests, each line of which is JSON or in the common or
// combined format. The error says that there is none, or that the file cannot be read.
func Read(r io.Reader, most int) (Log, error) {
	var l Log
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), mostLine)
	for n := 1; len(l.Entries) < most && lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		e, err := parse(text)
		if err == nil {
			l.Entries = append(l.Entries, e)
			continue
		}
		if l.Skipped == 0 {
			l.Example = fmt.Sprintf("line %d: %v", n, err)
		}
		l.Skipped++
	}
	if err := lines.Err(); err != nil {
		return l, err
	}
	if len(l.Entries) == 0 {
		return l, errors.New("no request in it, in JSON or the combined format: " + l.Example)
	}
	slices.SortStableFunc(l.Entries, func(a, b Entry) int { return a.At.Compare(b.At) })
	return l, nil
}

func parse(line string) (Entry, error) {
	if strings.HasPrefix(line, "{") {
		return parseJSON(line)
	}
	return parseCombined(line)
}

// clfTime is how the common format writes a time.
const clfTime = "02/Jan/2006:15:04:05 -0700"

// parseCombined reads: client identity user [time] "request" status bytes, and whatever
// follows.
func parseCombined(line string) (e Entry, err error) {
	_, rest, ok := strings.Cut(line, " [")
	at, rest, ok2 := strings.Cut(rest, `] "`)
	if !ok || !ok2 {
		return e, errors.New(`want client - - [time] "request" status bytes`)
	}
	if e.At, err = time.Parse(clfTime, at); err != nil {
		return e, fmt.Errorf("time: %w", err)
	}
	end := strings.Index(rest, `" `) // a quote within a request is escaped
	for end > 0 && rest[end-1] == '\\' {
		next := strings.Index(rest[end+1:], `" `)
		if next < 0 {
			end = -1
			break
		}
		end += 1 + next
	}
	if end < 0 {
		return e, errors.New("the request has no end")
	}
	words := strings.Fields(rest[:end])
	if len(words) < 2 {
		return e, fmt.Errorf("request %.40q: want a method and a target", rest[:end])
	}
	e.Method, e.Target, e.Bytes = words[0], words[1], -1
	fields := strings.Fields(rest[end+2:])
	if len(fields) < 1 {
		return e, errors.New("want a status")
	}
	if e.Status, err = strconv.Atoi(fields[0]); err != nil {
		return e, fmt.Errorf("status: %w", err)
	}
	if len(fields) > 1 {
		if n, err := strconv.ParseInt(fields[1], 10, 64); err == nil && n >= 0 {
			e.Bytes = n
		}
	}
	return e.checked()
}

// The names that fields go by in JSON, here and in other servers' usual formats.
var (
	timeNames   = []string{"time", "@timestamp", "timestamp", "ts", "time_iso8601", "msec"}
	methodNames = []string{"method", "request_method"}
	hostNames   = []string{"host", "http_host", "authority"}
	targetNames = []string{"target", "request_uri", "uri", "url", "path"}
	statusNames = []string{"status", "response_code"}
	bytesNames  = []string{"bytes", "body_bytes_sent", "bytes_sent", "size"}
)

func parseJSON(line string) (e Entry, err error) {
	d := json.NewDecoder(strings.NewReader(line))
	d.UseNumber()
	var fields map[string]any
	if err := d.Decode(&fields); err != nil {
		return e, err
	}
	get := func(names []string) string {
		for _, name := range names {
			if v, ok := fields[name]; ok {
				return fmt.Sprint(v)
			}
		}
		return ""
	}
	if e.At, err = moment(get(timeNames)); err != nil {
		return e, err
	}
	e.Method, e.Host, e.Target = get(methodNames), get(hostNames), get(targetNames)
	if e.Method == "" {
		e.Method = "GET"
	}
	if e.Status, err = strconv.Atoi(get(statusNames)); err != nil {
		e.Status = -1
	}
	if e.Bytes, err = strconv.ParseInt(get(bytesNames), 10, 64); err != nil {
		e.Bytes = -1
	}
	return e.checked()
}

// moment reads a time as RFC 3339, in the common format, or as seconds since 1970.
func moment(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, clfTime} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(seconds) || math.Abs(seconds) > 1e11 {
		return time.Time{}, fmt.Errorf("time %q: want one as in RFC 3339, the common format, or seconds", text)
	}
	return time.UnixMicro(int64(seconds * 1e6)), nil
}

// checked takes the authority out of a target that has one.
func (e Entry) checked() (Entry, error) {
	if _, rest, ok := strings.Cut(e.Target, "://"); ok && !strings.HasPrefix(e.Target, "/") {
		host, path, _ := strings.Cut(rest, "/")
		e.Host, e.Target = host, "/"+path
	}
	if !strings.HasPrefix(e.Target, "/") || strings.ContainsAny(e.Target, " \r\n") || strings.ContainsAny(e.Host+e.Method, " \r\n") {
		return e, fmt.Errorf("target %.40q: want a path", e.Target)
	}
	return e, nil
}
