package config

import (
	"cmp"
	"reflect"
)

// LoadServers reads the file of an upstream's ServersFile: a list in the form
// of Servers, with the same options and checks, and nothing else. An empty list
// is a fault: it is more often a file that is being written than an upstream
// without servers. So that it is never read half written, a file should be
// written beside it and renamed to it.
//
// The error is [Faults] when the text is at fault, and else says why the file
// could not be read. LoadServers keeps nothing; it may be called at any time.
func LoadServers(path string) ([]Member, error) {
	data, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseServers(path, data)
}

func parseServers(name string, data []byte) ([]Member, error) {
	const path, minimal = "servers", "write at least - address: 127.0.0.1:9001"
	root, fault := parseDocument(data, minimal)
	if fault != nil {
		fault.File = name
		return nil, Faults{*fault}
	}
	var members []Member
	d := &decoder{file: name, label: pathLabel}
	err := d.decode(root, path, reflect.ValueOf(&members).Elem(), func() {
		for i, m := range members {
			members[i].ID = cmp.Or(m.ID, m.Address)
		}
		switch sound := d.sound(path); {
		case sound && len(members) == 0:
			d.faultAt(path, "is empty; %s", minimal)
		case sound:
			validateTraffic(d, path, members)
		}
		validateMembers(d, path, members)
	})
	if err != nil {
		return nil, err
	}
	return members, nil
}
