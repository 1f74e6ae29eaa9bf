package config

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parseLeaf parses the text of one scalar into a value of type t under the
// limits of its field's tag. The error says what was wanted and what was got.
func parseLeaf(t reflect.Type, tag reflect.StructTag, text string) (reflect.Value, error) {
	if words := tag.Get("oneof"); words != "" && !slices.Contains(strings.Fields(words), text) {
		return reflect.Value{}, fmt.Errorf("want %s, got %q", describe(t, tag), clip(text))
	}
	if text == "off" && orOff(tag) != "" {
		return reflect.Zero(t), nil
	}
	parsed, err := parseAs(t, tag, text)
	if err != nil {
		return reflect.Value{}, err
	}
	v := reflect.ValueOf(parsed).Convert(t)
	if low, high, limited := strings.Cut(tag.Get("range"), ".."); limited {
		if below(v, mustLeaf(t, "", low)) || below(mustLeaf(t, "", high), v) {
			return reflect.Value{}, fmt.Errorf("want %s to %s%s, got %s", low, high, orOff(tag), clip(text))
		}
	}
	return v, nil
}

// below compares two numbers of the same type.
func below(a, b reflect.Value) bool {
	if a.CanFloat() {
		return a.Float() < b.Float()
	}
	return a.Int() < b.Int()
}

func parseAs(t reflect.Type, tag reflect.StructTag, text string) (any, error) {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return parseDuration(tag, text)
	case reflect.TypeFor[Size]():
		return parseSize(tag, text)
	case reflect.TypeFor[KeyPart]():
		return parseKeyPart(text)
	case reflect.TypeFor[HashBy]():
		return parseHashBy(text)
	case reflect.TypeFor[RetryCause]():
		return parseRetryCause(text)
	case reflect.TypeFor[Caching]():
		return parseCaching(text)
	case reflect.TypeFor[Status]():
		return parseStatus(text)
	case reflect.TypeFor[netip.Prefix]():
		return parsePrefix(text)
	case reflect.TypeFor[slog.Level]():
		var level slog.Level
		err := level.UnmarshalText([]byte(text))
		return level, err
	}
	switch t.Kind() {
	case reflect.Int:
		return parseCount(tag, text)
	case reflect.Float64:
		return parseNumber(tag, text)
	case reflect.Bool:
		return parseSwitch(text)
	default:
		return parseText(tag.Get("format"), text)
	}
}

// describe says what a leaf's text looks like.
func describe(t reflect.Type, tag reflect.StructTag) string {
	if words := strings.Fields(tag.Get("oneof")); len(words) > 0 {
		last := len(words) - 1
		return strings.Join(words[:last], ", ") + " or " + words[last]
	}
	off := orOff(tag)
	switch t {
	case reflect.TypeFor[time.Duration]():
		if off != "" {
			return "a duration such as 10s" + off
		}
		return "a duration such as 500ms, 5s or 2m"
	case reflect.TypeFor[Size]():
		if off != "" {
			return "a size such as 1MiB" + off
		}
		return "a size such as 64KiB, 256MiB or 1GiB"
	case reflect.TypeFor[KeyPart]():
		return "scheme, host, path, query, header:Name or cookie:Name"
	case reflect.TypeFor[HashBy]():
		return wordsHashBy
	case reflect.TypeFor[RetryCause]():
		return wordsRetryCause
	case reflect.TypeFor[Caching]():
		return wordsCaching
	case reflect.TypeFor[Status]():
		return wordsStatus
	case reflect.TypeFor[netip.Prefix]():
		return wordsPrefix
	}
	switch t.Kind() {
	case reflect.Int:
		return "a whole number" + off
	case reflect.Float64:
		return "a number such as 2 or 0.5" + off
	case reflect.Bool:
		return "on or off"
	default:
		return "a text"
	}
}

// orOff ends a description with the word off where it is allowed.
func orOff(tag reflect.StructTag) string {
	if tag.Get("off") == "" {
		return ""
	}
	return ", or off"
}

func parseDuration(tag reflect.StructTag, text string) (time.Duration, error) {
	v, err := time.ParseDuration(text)
	if err == nil {
		return v, nil
	}
	hint := ""
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		hint = "; write " + text + "s"
	}
	return 0, fmt.Errorf("want %s, got %q%s", describe(reflect.TypeFor[time.Duration](), tag), clip(text), hint)
}

func parseSize(tag reflect.StructTag, text string) (Size, error) {
	digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
	var unit int64
	switch strings.TrimPrefix(text[digits:], " ") {
	case "", "B":
		unit = 1
	case "KiB":
		unit = 1 << 10
	case "MiB":
		unit = 1 << 20
	case "GiB":
		unit = 1 << 30
	case "TiB":
		unit = 1 << 40
	case "KB", "kB":
		unit = 1e3
	case "MB":
		unit = 1e6
	case "GB":
		unit = 1e9
	case "TB":
		unit = 1e12
	}
	n, err := strconv.ParseInt(text[:digits], 10, 64)
	if unit == 0 || err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("want %s, got %q", describe(reflect.TypeFor[Size](), tag), clip(text))
	}
	if n > math.MaxInt64/unit {
		return math.MaxInt64, nil // beyond every range
	}
	return Size(n * unit), nil
}

// parseCount takes decimal digits only: 010 is 8 to some readers of YAML and
// 10 to others.
func parseCount(tag reflect.StructTag, text string) (int, error) {
	digits := strings.TrimPrefix(text, "-")
	n, err := strconv.Atoi(text)
	switch {
	case strings.Trim(digits, "0123456789") != "", digits == "", len(digits) > 1 && digits[0] == '0':
		return 0, fmt.Errorf("want %s, got %q", describe(reflect.TypeFor[int](), tag), clip(text))
	case err != nil && text[0] == '-':
		return math.MinInt, nil // beyond every range
	case err != nil:
		return math.MaxInt, nil
	}
	return n, nil
}

// parseNumber takes decimal digits, with a point between two of them if any.
func parseNumber(tag reflect.StructTag, text string) (float64, error) {
	whole, fraction, pointed := strings.Cut(text, ".")
	_, err := parseCount(tag, whole)
	if err != nil || pointed && (fraction == "" || strings.Trim(fraction, "0123456789") != "") {
		return 0, fmt.Errorf("want %s, got %q", describe(reflect.TypeFor[float64](), tag), clip(text))
	}
	n, _ := strconv.ParseFloat(text, 64) // what is too large is infinite, and beyond every range
	return n, nil
}

func parseSwitch(text string) (bool, error) {
	switch text {
	case "on", "true":
		return true, nil
	case "off", "false":
		return false, nil
	default:
		return false, fmt.Errorf("want %s, got %q", describe(reflect.TypeFor[bool](), ""), clip(text))
	}
}

const wordsCaching = "on, off or observe"

func parseCaching(text string) (Caching, error) {
	if Caching(text) == CacheObserve {
		return CacheObserve, nil
	}
	on, err := parseSwitch(text)
	switch {
	case err != nil:
		return "", fmt.Errorf("want %s, got %q", wordsCaching, clip(text))
	case on:
		return CacheOn, nil
	}
	return CacheOff, nil
}

// clip shortens a text for a message.
func clip(text string) string {
	const limit = 60
	if r := []rune(text); len(r) > limit {
		return string(r[:limit]) + "..."
	}
	return text
}
