package config

import (
	"errors"
	"strings"
	"time"
)

// Snapshot is a file in which the objects of the memory tier outlast the process.
// The zero value, without a file, is none.
type Snapshot struct {
	// File is its path, absolute or from the folder in which the process was
	// started; files beside it have its name and an ending. The folder must be
	// there, with room for twice Cache.Memory, and no other process may have the
	// same one, but for one that takes over. Required.
	File string `yaml:"file" format:"snapshot-file" required:"file: /var/lib/ringfence/cache"`
	// Interval is the time between two writings, besides the one at the end of the
	// process; 0, in a file off, is that one alone. Default 5m.
	Interval time.Duration `yaml:"interval" default:"5m" range:"1s..24h" off:"true"`
}

// checkSnapshotFile wants the path of a file, which is not read here.
func checkSnapshotFile(text string) error {
	switch {
	case text == "":
		return errors.New("is empty; write the path of a file, or remove the section snapshot")
	case strings.HasSuffix(text, "/"):
		return errors.New("is a folder; write the path of a file in it")
	}
	return checkLine(text)
}
