package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// A decoder fills the structs of this package from a tree of YAML nodes, by
// their tags, and gathers every fault it meets on the way. What is at fault
// keeps its zero value.
//
// Paths name values as upstreams.app.servers[1].weight; the root is "".
type decoder struct {
	file string
	// label makes of a path the words that a message begins with.
	label  func(path string) string
	places map[string]place // of each value that was written
	faulty map[string]bool  // the paths at fault and those above them
	faults Faults
	// unlisted counts the faults beyond maxFaults, and values the values met.
	unlisted, values int
}

type place struct{ line, column int }

// decode fills v, the value at path, from the tree, lets check judge it, and
// returns all that is wrong with it.
func (d *decoder) decode(root *yaml.Node, path string, v reflect.Value, check func()) error {
	d.places = make(map[string]place)
	d.faulty = make(map[string]bool)
	d.value(root, path, "", v)
	if d.values > maxValues {
		return Faults{{File: d.file, Line: root.Line, Column: root.Column,
			Message: fmt.Sprintf("the file makes more than %d values; write fewer aliases", maxValues)}}
	}
	check()
	if len(d.faults) == 0 {
		return nil
	}
	d.faults.sort()
	if d.unlisted > 0 {
		last := d.faults[len(d.faults)-1]
		last.Message = fmt.Sprintf("%d more faults are not listed; mend these first", d.unlisted)
		d.faults = append(d.faults, last)
	}
	return d.faults
}

// fault records what is wrong with the value at path, found at p.
func (d *decoder) fault(path string, p place, format string, args ...any) {
	if len(d.faults) < maxFaults {
		message := fmt.Sprintf(format, args...)
		if label := d.label(path); label != "" {
			message = label + ": " + message
		}
		d.faults = append(d.faults, Fault{File: d.file, Line: p.line, Column: p.column, Message: message})
	} else {
		d.unlisted++
	}
	for path != "" && !d.faulty[path] {
		d.faulty[path] = true
		path = parent(path)
	}
}

// value decodes n into v. The tag is that of the struct field that v is; an
// element of a list or map has its elementTag.
func (d *decoder) value(n *yaml.Node, path string, tag reflect.StructTag, v reflect.Value) {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if v.Kind() == reflect.Struct && !isLeaf(v.Type()) {
		setDefaults(v)
	}
	p := placeOf(n)
	d.places[path] = p
	d.values++
	switch {
	case d.values > maxValues: // decode refuses the file as a whole
	case isNull(n):
		hint := writeHint(tag)
		if strings.HasSuffix(path, "]") {
			hint = "" // the tag is the whole list's
		}
		d.fault(path, p, "has no value; %s", cmp.Or(hint, "write one, or remove the line"))
	case n.Style&yaml.TaggedStyle != 0:
		d.fault(path, p, "has the tag %s; remove the tag", n.Tag)
	case isLeaf(v.Type()):
		d.scalar(n, path, tag, v)
	case v.Kind() == reflect.Struct:
		d.fields(n, path, tag, v)
	case v.Kind() == reflect.Map:
		d.entries(n, path, tag, v)
	default:
		d.elements(n, path, tag, v)
	}
}

func (d *decoder) scalar(n *yaml.Node, path string, tag reflect.StructTag, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.fault(path, placeOf(n), "want %s, got %s", describe(v.Type(), tag), kindOf(n))
		return
	}
	if quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0; quoted && isNumber(v.Type()) {
		d.fault(path, placeOf(n), "want %s, got the text %q; remove the quotes", describe(v.Type(), tag), n.Value)
		return
	}
	leaf, err := parseLeaf(v.Type(), tag, n.Value)
	if err != nil {
		d.fault(path, placeOf(n), "%v", err)
		return
	}
	v.Set(leaf)
}

// fields decodes a mapping into a struct that holds its defaults.
func (d *decoder) fields(n *yaml.Node, path string, tag reflect.StructTag, v reflect.Value) {
	names := fieldNames(v.Type())
	if n.Kind != yaml.MappingNode {
		defaults := ""
		if tag.Get("optional") != "" && !needsOption(v.Type()) {
			defaults = ", or {} for the defaults"
		}
		d.fault(path, placeOf(n), "want keys and values (%s)%s, got %s", strings.Join(names, ", "), defaults, kindOf(n))
		return
	}
	for _, p := range d.pairs(n, path) {
		key := p.key
		i := slices.Index(names, key.Value)
		if i < 0 {
			d.fault(path, placeOf(key), "unknown key %q; %s", clip(key.Value), suggestKey(key.Value, v.Type()))
			continue
		}
		d.value(p.value, join(path, key.Value), v.Type().Field(i).Tag, v.Field(i))
	}
	for i, name := range names {
		field, option := v.Type().Field(i), join(path, name)
		hint := writeHint(field.Tag)
		other, _, _ := strings.Cut(field.Tag.Get("or"), ":")
		switch {
		case hint == "" || other != "" && d.written(join(path, other)):
		case !d.written(option):
			d.fault(path, placeOf(n), "%s is missing; %s", name, hint)
		case d.sound(option) && isEmpty(v.Field(i)):
			d.faultAt(option, "is empty; %s", hint)
		}
	}
}

// entries decodes a mapping into a map whose keys have the shape that the tag
// names.
func (d *decoder) entries(n *yaml.Node, path string, tag reflect.StructTag, v reflect.Value) {
	shape := tag.Get("keys")
	if n.Kind != yaml.MappingNode {
		d.fault(path, placeOf(n), "want %s, got %s", describeKeys(shape), kindOf(n))
		return
	}
	element, pairs := v.Type().Elem(), d.pairs(n, path)
	v.SetZero()
	if len(pairs) > 0 {
		v.Set(reflect.MakeMap(v.Type()))
	}
	for _, p := range pairs {
		parsed, err := parseKey(shape, p.key.Value)
		key := reflect.ValueOf(parsed)
		switch {
		case err != nil:
			d.fault(path, placeOf(p.key), "%v", err)
		case v.MapIndex(key).IsValid():
			d.fault(path, placeOf(p.key), "%v is there already; remove one of them", parsed)
		}
		entry := reflect.New(element).Elem()
		d.value(p.value, join(path, p.key.Value), elementTag(element, tag), entry)
		v.SetMapIndex(key, entry)
	}
}

func parseKey(shape, text string) (any, error) {
	switch shape {
	case "negative":
		return parseNegative(text)
	case "field-name":
		return parseFieldName(text)
	default:
		return text, checkName(text)
	}
}

func describeKeys(shape string) string {
	switch shape {
	case "negative":
		return "statuses and durations such as {404: 10s, 5xx: 1s}"
	case "field-name":
		return "header fields such as {Accept: text/plain}"
	default:
		return "names and what they stand for"
	}
}

// elements decodes a list into a slice.
func (d *decoder) elements(n *yaml.Node, path string, tag reflect.StructTag, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fault(path, placeOf(n), "want a list, got %s", kindOf(n))
		return
	}
	element := v.Type().Elem()
	v.SetZero()
	if len(n.Content) > 0 {
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	}
	for i, child := range n.Content {
		d.value(child, path+"["+strconv.Itoa(i)+"]", elementTag(element, tag), v.Index(i))
	}
}

// elementTag is what the elements of a list or map are checked by: its own tag
// where they are single values, and nothing where they have tags inside.
func elementTag(element reflect.Type, tag reflect.StructTag) reflect.StructTag {
	if isLeaf(element) {
		return tag
	}
	return ""
}

func isEmpty(v reflect.Value) bool {
	return (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0
}

// writeHint says what to write for a required option; "" for the others.
func writeHint(tag reflect.StructTag) string {
	example, other := tag.Get("required"), tag.Get("or")
	switch {
	case example == "":
		return ""
	case other == "":
		return "write " + example
	default:
		return "write " + example + ", or " + other
	}
}

// needsOption reports whether a section cannot be left empty.
func needsOption(t reflect.Type) bool {
	for i := range t.NumField() {
		if writeHint(t.Field(i).Tag) != "" {
			return true
		}
	}
	return false
}

type pair struct{ key, value *yaml.Node }

// pairs returns the keys and values of a mapping whose keys are plain and met
// for the first time; the others are faults.
func (d *decoder) pairs(n *yaml.Node, path string) []pair {
	pairs := make([]pair, 0, len(n.Content)/2)
	first := make(map[string]*yaml.Node)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		switch before := first[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			d.fault(path, placeOf(key), "want a name as key, got %s", kindOf(key))
		case key.ShortTag() == "!!merge":
			d.fault(path, placeOf(key), "merge keys (<<) are not supported; write the keys out, or use an alias for a whole value")
		case before != nil:
			d.fault(path, placeOf(key), "duplicate key %q, first at line %d; remove one of them", clip(key.Value), before.Line)
		default:
			first[key.Value] = key
			pairs = append(pairs, pair{key, n.Content[i+1]})
		}
	}
	return pairs
}

// setDefaults gives every field of a struct its default.
func setDefaults(v reflect.Value) {
	for i := range v.NumField() {
		field, tag := v.Field(i), v.Type().Field(i).Tag
		text, given := tag.Lookup("default")
		switch {
		case given && field.Kind() == reflect.Slice:
			field.SetZero() // it may hold its default already
			for _, word := range strings.Fields(text) {
				field.Set(reflect.Append(field, mustLeaf(field.Type().Elem(), tag, word)))
			}
		case given:
			field.Set(mustLeaf(field.Type(), tag, text))
		case field.Kind() == reflect.Struct && tag.Get("optional") == "":
			setDefaults(field)
		}
	}
}

// mustLeaf parses a text of this package's own tags.
func mustLeaf(t reflect.Type, tag reflect.StructTag, text string) reflect.Value {
	leaf, err := parseLeaf(t, tag, text)
	if err != nil {
		panic(fmt.Sprintf("config: tag %s: %v", tag, err))
	}
	return leaf
}

// isLeaf reports whether a type is written as one scalar.
func isLeaf(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[KeyPart](), reflect.TypeFor[HashBy](), reflect.TypeFor[RetryCause](), reflect.TypeFor[netip.Prefix]():
		return true
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice:
		return false
	default:
		return true
	}
}

// isNumber reports whether a type is written as a number alone.
func isNumber(t reflect.Type) bool {
	return t == reflect.TypeFor[int]() || t == reflect.TypeFor[float64]()
}

func fieldNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i] = t.Field(i).Tag.Get("yaml")
	}
	return names
}

func placeOf(n *yaml.Node) place { return place{n.Line, n.Column} }

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	default:
		return fmt.Sprintf("%q", clip(n.Value))
	}
}

// join appends a key to a path; one that would read as several is quoted.
func join(path, key string) string {
	if !madeOf(key, "_-") {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// parent returns the path of what a value is in; "" for a top-level option.
func parent(path string) string {
	return path[:max(strings.LastIndexAny(path, ".["), 0)]
}
