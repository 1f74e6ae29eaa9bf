package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"ringfence/proxy"
)

type object = map[string]any

// description is openapi.yaml, and what of its schemas was met in answers.
type description struct {
	object
	met map[string]bool // properties, by the place of their schema
}

func readDescription(t *testing.T) description {
	t.Helper()
	d := description{met: make(map[string]bool)}
	if err := yaml.Unmarshal(openAPI, &d.object); err != nil {
		t.Fatal(err)
	}
	return d
}

// at follows a path of keys.
func at(v any, path ...string) any {
	for _, key := range path {
		o, _ := v.(object)
		v = o[key]
	}
	return v
}

// resolve follows a reference.
func (d description) resolve(v any, place string) (object, string) {
	ref, is := at(v, "$ref").(string)
	if !is {
		o, _ := v.(object)
		return o, place
	}
	target := at(d.object, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	o, _ := target.(object)
	return o, ref
}

// check holds a value of JSON against a schema: its properties are those that are
// described, and all that are required.
func (d description) check(v, schema any, place string) (faults []string) {
	s, place := d.resolve(schema, place)
	fault := func(format string, args ...any) {
		faults = append(faults, place+": "+fmt.Sprintf(format, args...))
	}
	if s == nil {
		fault("there is no schema")
		return faults
	}
	if words, ok := s["enum"].([]any); ok {
		if !slices.Contains(words, v) {
			fault("%v is none of %v", v, words)
		}
		return faults
	}
	types, _ := s["type"].([]any)
	if one, ok := s["type"].(string); ok {
		types = []any{one}
	}
	if !slices.ContainsFunc(types, func(name any) bool { return isOfType(v, name.(string)) }) {
		fault("%v is no %v", v, types)
		return faults
	}
	if text, ok := v.(string); ok && s["format"] == "date-time" {
		if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			fault("%v", err)
		}
	}
	for _, element := range asList(v) {
		faults = append(faults, d.check(element, s["items"], place+"[0]")...)
	}
	o, isObject := v.(object)
	if !isObject {
		return faults
	}
	for _, name := range asList(s["required"]) {
		if _, there := o[name.(string)]; !there {
			fault("%v is missing", name)
		}
	}
	for name, value := range o {
		property, others := at(s, "properties", name), s["additionalProperties"]
		switch {
		case property != nil:
			d.met[place+"."+name] = true
			faults = append(faults, d.check(value, property, place+"."+name)...)
		case others != nil:
			faults = append(faults, d.check(value, others, place+".*")...)
		default:
			fault("%s is not described", name)
		}
	}
	return faults
}

func asList(v any) []any { l, _ := v.([]any); return l }

func isOfType(v any, name string) bool {
	switch v := v.(type) {
	case nil:
		return name == "null"
	case bool:
		return name == "boolean"
	case string:
		return name == "string"
	case float64:
		return name == "number" || name == "integer" && v == math.Trunc(v)
	case []any:
		return name == "array"
	}
	return name == "object"
}

// properties gathers all that a schema describes.
func (d description) properties(schema any, place string, into map[string]bool) {
	s, place := d.resolve(schema, place)
	if s["items"] != nil {
		d.properties(s["items"], place+"[0]", into)
	}
	for name, property := range asObject(s["properties"]) {
		into[place+"."+name] = true
		d.properties(property, place+"."+name, into)
	}
}

func asObject(v any) object { o, _ := v.(object); return o }

// What can be asked for is what is described, and nothing else is.
func TestDescriptionHasAllRoutes(t *testing.T) {
	d, routed := readDescription(t), make(map[string]bool)
	o := options(true)
	o.Pprof = true
	for _, r := range New(o).routes() {
		routed[r.method+" "+r.path] = true
		operation, _ := at(d.object, "paths", r.path, strings.ToLower(r.method)).(object)
		if operation == nil {
			t.Errorf("%s %s is not described", r.method, r.path)
			continue
		}
		if isOpen := fmt.Sprint(operation["security"]) == "[map[]]"; isOpen != r.open {
			t.Errorf("%s: open %v, described as %v", r.path, r.open, isOpen)
		}
	}
	ids := make(map[any]bool)
	for path, item := range asObject(d.object["paths"]) {
		for method, v := range asObject(item) {
			operation := asObject(v)
			if what := strings.ToUpper(method) + " " + path; !routed[what] {
				t.Errorf("%s is described, and is not there", what)
			}
			if id := operation["operationId"]; id == nil || ids[id] || operation["summary"] == nil || at(operation, "responses", "default") == nil {
				t.Errorf("%s: want an id of its own, a summary and a default response: %v", path, operation)
			}
			ids[operation["operationId"]] = true
		}
	}
	if d.object["openapi"] != "3.1.0" {
		t.Errorf("openapi: %v", d.object["openapi"])
	}
	if w := ask(t, o, "GET", "/api/openapi.yaml"); w.Body.String() != string(openAPI) || w.Header().Get("Content-Type") != "application/yaml" {
		t.Errorf("the description is served as %s", w.Header().Get("Content-Type"))
	}
	references(t, d, d.object)
}

// references wants each reference to lead somewhere.
func references(t *testing.T, d description, v any) {
	if o, _ := d.resolve(v, ""); at(v, "$ref") != nil && o == nil {
		t.Errorf("%v leads nowhere", v)
	}
	for _, element := range asList(v) {
		references(t, d, element)
	}
	for _, element := range asObject(v) {
		references(t, d, element)
	}
}

// Real answers have the properties that are described, and there is no property
// that none of them has.
func TestAnswersAreAsDescribed(t *testing.T) {
	d := readDescription(t)
	full := options(false)
	full.Access.Token = nil
	state := busy()
	state.Upstreams[0].Limit, state.ConfigHash = 5, "1f"
	full.Explain = func(proxy.Question) (x proxy.Explanation) {
		fill(reflect.ValueOf(&x).Elem())
		x.Outcome = proxy.ForecastHit
		return x
	}
	full.State = func() State { return state }
	full.Reload = func(context.Context) Reloaded { return Reloaded{Hash: "1f", Changes: []string{"+ a"}} }
	full.Upgrade = func() Upgraded { return Upgraded{Old: Process{7, "1"}, New: Process{8, "2"}} }
	broken := full
	broken.Reload = func(context.Context) Reloaded { return Reloaded{Result: ReloadFailure, Err: errors.New("f:1:1: a")} }
	idle := options(true)
	idle.State = func() State { return State{} }
	for _, tt := range []struct {
		o      Options
		ask    string
		status int
	}{
		{full, "GET /api/status", 200}, {idle, "GET /api/status", 200},
		{full, "POST /api/drain?upstream=app&server=a", 200}, {full, "POST /api/restore?upstream=app&server=a", 200},
		{full, "POST /api/drain", 404}, {full, "POST /api/upgrade", 200}, {full, "POST /api/reload", 200}, {broken, "POST /api/reload", 422},
		{full, "GET /api/explain?url=http://x/", 200}, {idle, "GET /api/explain?url=http://x/", 200}, {full, "GET /api/explain?url=x", 400},
		{full, `POST /api/purge {"tag":"a"}`, 200}, {full, `POST /api/purge {"tag":"lost"}`, 202},
		{full, `POST /api/purge {"everything":true}`, 200}, {full, `POST /api/purge`, 400},
		{full, "GET /readyz", 503}, {full, "PUT /api/status", 405},
	} {
		method, path, _ := strings.Cut(tt.ask, " ")
		w := ask(t, tt.o, method, path)
		path, _, _ = strings.Cut(path, " ")
		path, _, _ = strings.Cut(path, "?")
		d.held(t, tt.ask, w, path, strings.ToLower(method), tt.status)
	}
	s := New(full)
	first, last := s.event(nil)
	second, _ := s.event(&moment{last.at.Add(-time.Second), State{}})
	for _, event := range [][]byte{first, second} {
		schema := at(d.object, "paths", "/api/events", "get", "responses", "200", "content", "text/event-stream", "schema")
		d.judge(t, "an event", event, schema)
	}
	want := make(map[string]bool)
	for name, schema := range asObject(at(d.object, "components", "schemas")) {
		if name != "Purge" { // which is not an answer
			d.properties(schema, "#/components/schemas/"+name, want)
		}
	}
	for _, property := range slices.Sorted(maps.Keys(want)) {
		if !d.met[property] {
			t.Errorf("%s is described, and is in no answer", property)
		}
	}
}

// fill gives all of a value something that is shown.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(1e9, 0)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(1)
	default:
		v.SetInt(1)
	}
}

// held holds an answer against what is described of its path, method and status.
func (d description) held(t *testing.T, what string, w *httptest.ResponseRecorder, path, method string, status int) {
	t.Helper()
	if w.Code != status {
		t.Errorf("%s: %d %s", what, w.Code, w.Body)
		return
	}
	responses := at(d.object, "paths", path, method, "responses")
	response := at(responses, fmt.Sprint(status))
	if response == nil {
		if response = at(responses, "default"); response == nil {
			response = object{"$ref": "#/components/responses/Problem"} // of a method that is not there
		}
	}
	o, _ := d.resolve(response, "")
	d.judge(t, what, w.Body.Bytes(), at(o, "content", w.Header().Get("Content-Type"), "schema"))
}

func (d description) judge(t *testing.T, what string, text []byte, schema any) {
	t.Helper()
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for _, fault := range d.check(v, schema, what) {
		t.Errorf("%s: %s", what, fault)
	}
}

// The body that POST /api/purge takes is the one that is described.
func TestPurgeRequestIsAsDescribed(t *testing.T) {
	properties := at(readDescription(t).object, "components", "schemas", "Purge", "properties")
	for name, schema := range asObject(properties) {
		value := map[any]string{"string": `"x"`, "boolean": "true", "array": `["x"]`}[at(schema, "type")]
		_, err := readPurge(strings.NewReader(fmt.Sprintf(`{%q: %s}`, name, value)))
		if (err == nil) != (name != "soft") || err != nil && strings.Contains(err.Error(), "unknown field") {
			t.Errorf("%s: %v", name, err)
		}
	}
	text, _ := json.Marshal(purgeRequest{})
	var fields object
	_ = json.Unmarshal(text, &fields)
	if len(fields) != len(asObject(properties)) {
		t.Errorf("%d fields, %d are described", len(fields), len(asObject(properties)))
	}
}
