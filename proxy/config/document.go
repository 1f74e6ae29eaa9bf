package config

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// Document is a configuration, and where its options are in its file.
type Document struct {
	Config Config
	// File is the path it was read from, and Hash that of the text.
	File, Hash string

	places map[string]place
}

// LoadDocument is Load, for who wants more than the configuration.
func LoadDocument(path string) (Document, error) {
	text, err := ReadFile(path)
	if err != nil {
		return Document{}, err
	}
	return ParseDocument(path, text)
}

// ParseDocument is Parse, for who wants more than the configuration.
func ParseDocument(name string, data []byte) (Document, error) {
	root, fault := parseDocument(data, minimal)
	if fault != nil {
		fault.File = name
		return Document{}, Faults{*fault}
	}
	d := &decoder{file: name, label: pathLabel}
	c, err := decode(d, root)
	if err != nil {
		return Document{}, err
	}
	return Document{Config: c, File: name, Hash: Hash(data), places: d.places}, nil
}

// Hash is what a text is known by: the first 16 hexadecimal digits of its SHA-256.
func Hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:16]
}

// Refuse names the changes to d that need a restart, each at its place in d, or at
// the place of what it was removed from. The error is [Faults]; nil: there are
// none.
func (d Document) Refuse(changes []Change) error {
	var fs Faults
	for _, c := range changes {
		if !c.Restart {
			continue
		}
		at := d.places[c.at]
		for path := c.at; at == (place{}) && path != ""; at = d.places[path] {
			path = parent(path)
		}
		fs = append(fs, Fault{File: d.File, Line: at.line, Column: at.column, Message: c.refusal()})
	}
	if len(fs) == 0 {
		return nil
	}
	fs.sort()
	return fs
}

func (c Change) refusal() string {
	var b strings.Builder
	b.WriteString(c.Path + ": needs a restart")
	switch {
	case c.Old == "":
		b.WriteString(" (it is new in the file)")
	case c.New == "":
		b.WriteString(" (it is no longer in the file)")
	case c.Old == secret:
		b.WriteString(" (it is another one in the file)")
	default:
		b.WriteString(" (" + c.Old + " now, " + c.New + " in the file)")
	}
	return b.String()
}
