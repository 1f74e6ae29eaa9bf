package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"ringfence/proxy/accesslog"
)

// AccessLog is a line for each request that was answered, once its answer has
// ended.
type AccessLog struct {
	// Path is the file that lines are appended to, stdout or stderr; "" only where
	// there is no access log. On SIGUSR1 it is opened anew.
	Path string `yaml:"path" format:"log-path" required:"path: /var/log/ringfence/access.log, or stdout"`
	// Format is json, combined, or a template; see accesslog.ParseFormat. Default
	// json.
	Format string `yaml:"format" default:"json" format:"access-format"`
	// Only says which requests have a line. Default all.
	Only AccessOnly `yaml:"only" default:"all" oneof:"all errors"`
	// Sample is the part of the requests that have a line; those that failed always
	// have one. Default 1.
	Sample float64 `yaml:"sample" default:"1" range:"0.0001..1"`
	// Buffer bounds the lines that wait to be written, in bytes; those beyond it are
	// dropped. Default 4MiB.
	Buffer Size `yaml:"buffer" default:"4MiB" range:"2MiB..1GiB"`
	// Flush is how long a line waits for others at most. Default 1s.
	Flush time.Duration `yaml:"flush" default:"1s" range:"10ms..1m"`
}

// AccessOnly is a set of requests.
type AccessOnly string

// The sets of requests. AccessErrors are those with a status of 500 or above, and
// those whose answer broke off.
const (
	AccessAll    AccessOnly = "all"
	AccessErrors AccessOnly = "errors"
)

// checkLogPath wants a file, stdout or stderr.
func checkLogPath(text string) error {
	if text == "" {
		return errors.New("is empty; write the path of a file, stdout or stderr, or remove the section access_log")
	}
	return checkLine(text)
}

// checkAccessFormat wants the name of a format, or a template.
func checkAccessFormat(text string) error {
	_, err := accesslog.ParseFormat(text)
	var unknown accesslog.UnknownField
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; %s", unknown, suggest(string(unknown), accesslog.FieldNames()))
	case strings.ContainsAny(text, "{}"):
		return fmt.Errorf("want json, combined or a template, got %w", err)
	}
	return fmt.Errorf("want json, combined or a template such as '{client} {method} {target} {status}', got %q", clip(text))
}

// validateAccessLog wants nothing said that would have no effect.
func validateAccessLog(d *decoder, l AccessLog) {
	const sample = "access_log.sample"
	if d.written(sample) && d.sound(sample, "access_log.only") && l.Only == AccessErrors {
		d.faultAt(sample, "means nothing to only: errors, which all have a line; remove it or write only: all")
	}
}
