package cache

import (
	"slices"
	"strconv"

	"github.com/dunglas/httpsfv"

	"ringfence/proxy/wire"
)

// readTargeted reads CDN-Cache-Control (RFC 9213), and reports false where
// there is none that counts: it is empty, or not a Dictionary (RFC 9651,
// section 3.2). A member whose value has a type that the directive does not
// take reads like a malformed directive: it restricts, and grants nothing.
func readTargeted(fields wire.Fields) (control, bool) {
	lines := values(fields, "CDN-Cache-Control")
	if lines == nil {
		return control{}, false
	}
	members, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(members.Names()) == 0 {
		return control{}, false
	}
	c := control{targeted: true}
	for _, name := range members.Names() {
		member, _ := members.Get(name)
		if item, ok := member.(httpsfv.Item); !ok || item.Value != false {
			c = withDirective(c, targetedDirective(name, member))
		}
	}
	return c, true
}

// targetedDirective maps a member as RFC 9213, section 2.1, maps directives.
// Parameters mean nothing.
func targetedDirective(name string, member httpsfv.Member) directive {
	item, ok := member.(httpsfv.Item)
	if !ok {
		return directive{name: name, form: malformed}
	}
	switch v := item.Value.(type) {
	case bool:
		return directive{name: name, form: bare}
	case int64:
		return directive{name: name, arg: strconv.FormatInt(v, 10), form: token}
	case httpsfv.Token:
		return directive{name: name, arg: string(v), form: token}
	case string:
		return directive{name: name, arg: v, form: quoted}
	}
	return directive{name: name, form: malformed}
}

// maxInvalidated is how many groups one response may invalidate; the rest are
// not looked at.
const maxInvalidated = 256

// InvalidatedGroups returns the groups whose stored responses of the same
// origin a response to a request with this method makes unusable: those that
// Cache-Group-Invalidation names (RFC 9875, section 3), 256 at most, each once,
// if the method is not safe and the response no error, as for [Invalidates].
// Those share no memory with fields.
func InvalidatedGroups(method string, status int, fields wire.Fields) []string {
	if !Invalidates(method, status) {
		return nil
	}
	groups := readGroups(fields, "Cache-Group-Invalidation")
	return groups[:min(len(groups), maxInvalidated)]
}

// readGroups reads all lines called name as one List of Strings (RFC 9875,
// sections 2 and 3), and returns each group once, sorted. What is something
// else counts as absent, whole (RFC 9651, section 4.2).
func readGroups(fields wire.Fields, name string) []string {
	lines := values(fields, name)
	if lines == nil {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	groups := make([]string, 0, len(list))
	for _, member := range list {
		item, ok := member.(httpsfv.Item)
		if !ok {
			return nil
		}
		group, ok := item.Value.(string)
		if !ok {
			return nil
		}
		groups = append(groups, group)
	}
	slices.Sort(groups)
	return slices.Clip(slices.Compact(groups))
}

func values(fields wire.Fields, name string) (lines []string) {
	for i := fields.Index(name, 0); i >= 0; i = fields.Index(name, i+1) {
		lines = append(lines, fields[i].Value)
	}
	return lines
}
