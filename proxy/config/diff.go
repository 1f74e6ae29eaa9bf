package config

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Change is one option that differs between two configurations.
type Change struct {
	// Path names it as faults do, but for servers, which go by their ids, and routes,
	// which go by host and prefix: their order has no meaning.
	Path string
	// Old and New are its values, as a file writes them, or "" where it is not there.
	// Secrets are not shown.
	Old, New string
	// Restart says that a running process cannot take the new value.
	Restart bool

	at string // where it is in the new file
}

// String returns the change in a line.
func (c Change) String() string {
	needs := ""
	if c.Restart {
		needs = "; needs a restart"
	}
	switch {
	case c.Old == "":
		return "+ " + c.Path + needs
	case c.New == "":
		return "- " + c.Path + needs
	}
	return "~ " + c.Path + ": " + c.Old + " -> " + c.New + needs
}

const (
	// secret stands for a value that is not shown, whole for one that is not told in
	// a word: an element or a section.
	secret = "(secret)"
	whole  = "{...}"
)

// Diff returns what differs between two configurations, in the order of the
// schema. Where they mean the same there is nothing, however they were written.
func Diff(before, after Config) []Change {
	d := differ{short: after.Listen != ""}
	before.Listen, after.Listen = "", "" // Listeners have it
	d.value(spot{}, "", reflect.ValueOf(before), reflect.ValueOf(after))
	return d.changes
}

type differ struct {
	short   bool // the only listener is written as listen
	changes []Change
}

// spot is where a value is: in the words of a change, in the new file, and in the
// table of effects.
type spot struct{ shown, at, kind string }

func (s spot) field(name string) spot {
	return spot{join(s.shown, name), join(s.at, name), strings.TrimPrefix(s.kind+"."+name, ".")}
}

func (s spot) element(shown, at string) spot {
	return spot{s.shown + "[" + shown + "]", s.at + at, s.kind + ".*"}
}

func (d *differ) add(s spot, before, after string) {
	if d.short && s.kind == "listeners.*.address" {
		s = spot{"listen", "listen", "listen"}
	}
	d.changes = append(d.changes, Change{s.shown, before, after, effectOf(s.kind) == restart, s.at})
}

func (d *differ) value(s spot, tag reflect.StructTag, a, b reflect.Value) {
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return
	}
	t := a.Type()
	switch {
	case t.Kind() == reflect.Struct && !isLeaf(t):
		d.fields(s, tag, a, b)
	case t.Kind() == reflect.Map && !isLeaf(t.Elem()):
		d.entries(s, a, b)
	case t.Kind() == reflect.Slice && !isLeaf(t.Elem()):
		d.elements(s, a, b)
	default:
		d.add(s, write(tag, a), write(tag, b))
	}
}

func (d *differ) fields(s spot, tag reflect.StructTag, a, b reflect.Value) {
	if tag.Get("optional") != "" && a.IsZero() != b.IsZero() {
		d.presence(s, b.IsZero())
		return
	}
	for i, name := range fieldNames(a.Type()) {
		d.value(s.field(name), a.Type().Field(i).Tag, a.Field(i), b.Field(i))
	}
}

// presence notes that something is only in one of the two.
func (d *differ) presence(s spot, gone bool) {
	if gone {
		d.add(s, whole, "")
	} else {
		d.add(s, "", whole)
	}
}

func (d *differ) entries(s spot, a, b reflect.Value) {
	names := make(map[string]bool)
	for _, k := range slices.Concat(a.MapKeys(), b.MapKeys()) {
		names[k.String()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		key := reflect.ValueOf(name)
		x, y := a.MapIndex(key), b.MapIndex(key)
		at := s.field(name)
		at.kind = s.kind + ".*"
		if !x.IsValid() || !y.IsValid() {
			d.presence(at, !y.IsValid())
			continue
		}
		d.value(at, "", x, y)
	}
}

// elements compares lists, whose elements are matched by name.
func (d *differ) elements(s spot, a, b reflect.Value) {
	before := make(map[string]int, a.Len())
	for i := range a.Len() {
		before[nameOf(a.Index(i), i)] = i
	}
	for i := range b.Len() {
		name := nameOf(b.Index(i), i)
		at := s.element(name, "["+strconv.Itoa(i)+"]")
		j, ok := before[name]
		if !ok {
			d.presence(at, false)
			continue
		}
		delete(before, name)
		d.value(at, "", a.Index(j), b.Index(i))
	}
	for _, name := range slices.SortedFunc(maps.Keys(before), func(x, y string) int { return cmp.Compare(before[x], before[y]) }) {
		d.presence(s.element(name, ""), true)
	}
}

// nameOf is what an element of a list is known by: the same in two configurations
// for what is the same thing.
func nameOf(v reflect.Value, i int) string {
	switch e := v.Interface().(type) {
	case Member:
		return cmp.Or(e.ID, e.SRV)
	case Route:
		return cmp.Or(e.Host, "*") + e.PathPrefix
	}
	return strconv.Itoa(i)
}

// write returns a value as a file writes it.
func write(tag reflect.StructTag, v reflect.Value) string {
	if tag.Get("secret") != "" {
		return secret
	}
	switch v.Kind() {
	case reflect.Slice:
		all := make([]string, v.Len())
		for i := range all {
			all[i] = write("", v.Index(i))
		}
		return "[" + strings.Join(all, ", ") + "]"
	case reflect.Map:
		var all []string
		for _, k := range v.MapKeys() {
			name := write("", k)
			if tag.Get("keys") == "negative" {
				name = writeLeaf(k.Convert(reflect.TypeFor[Status]()))
			}
			all = append(all, name+": "+write("", v.MapIndex(k)))
		}
		slices.Sort(all)
		return "{" + strings.Join(all, ", ") + "}"
	}
	if format := tag.Get("format"); v.IsZero() && (tag.Get("off") != "" || format == "admin-listen" || format == "id-field") {
		return "off"
	}
	return writeLeaf(v)
}

func writeLeaf(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return writeDuration(x)
	case Size:
		return writeSize(x)
	case Status:
		if x < 10 {
			return strconv.Itoa(int(x)) + "xx"
		}
		return strconv.Itoa(int(x))
	case netip.Prefix:
		if x.IsSingleIP() {
			return x.Addr().String()
		}
		return x.String()
	case slog.Level:
		return strings.ToLower(x.String())
	case bool:
		if x {
			return "on"
		}
		return "off"
	}
	text := fmt.Sprint(v.Interface())
	if text == "" || strings.ContainsAny(text, " {}[]\"") {
		return strconv.Quote(text)
	}
	return text
}

// writeDuration drops what is zero at the end: 1h, not 1h0m0s.
func writeDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = text[:len(text)-2]
	}
	if strings.HasSuffix(text, "h0m") {
		text = text[:len(text)-2]
	}
	return text
}

// writeSize uses the largest unit of which there is a whole number.
func writeSize(n Size) string {
	unit := 0
	units := []string{"", "KiB", "MiB", "GiB", "TiB"}
	for n > 0 && n%1024 == 0 && unit+1 < len(units) {
		n, unit = n/1024, unit+1
	}
	return strconv.FormatInt(int64(n), 10) + units[unit]
}
