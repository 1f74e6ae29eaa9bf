package config

import "time"

// CheckType is how a member's health is checked.
type CheckType string

// The kinds of active check. CheckNone, the zero value, is no check at all;
// CheckHTTP wants an answer, over TLS where the upstream has it; CheckTCP an
// accepted connection; CheckTLS a finished handshake.
const (
	CheckNone CheckType = ""
	CheckHTTP CheckType = "http"
	CheckTCP  CheckType = "tcp"
	CheckTLS  CheckType = "tls"
)

// HealthCheck is an active check, made of each member by itself. The zero
// value means that none is made.
type HealthCheck struct {
	// Type is the kind of check. CheckTLS is there only with Upstream.TLS.
	// Default http.
	Type CheckType `yaml:"type" default:"http" oneof:"http tcp tls"`
	// Method is that of an http check. Default GET.
	Method string `yaml:"method" default:"GET" format:"method"`
	// Path is the target of an http check, with its query if any. Default /.
	Path string `yaml:"path" default:"/" format:"target"`
	// Host is the Host field of an http check; "" means the member's address.
	// Default "".
	Host string `yaml:"host" format:"authority"`
	// Headers are further fields of an http check, by their names in canonical
	// form; neither Host nor one that the checker writes itself. Default none.
	Headers map[string]string `yaml:"headers" keys:"field-name" format:"line" secret:"true"`
	// Statuses are those that an http check wants; at least one, none twice.
	// Default 2xx, 3xx.
	Statuses []Status `yaml:"statuses" default:"2xx 3xx"`
	// Body is a text that the answer's body must contain, at most 1024 bytes;
	// "" is none. With the method HEAD it is "". Default "".
	Body string `yaml:"body" format:"excerpt"`
	// Port is the one checked in place of a member's own; 0 is its own.
	// Default 0.
	Port int `yaml:"port" default:"0" range:"0..65535"`
	// Interval is the time between two checks of one member; the checker adds
	// jitter. Default 2s.
	Interval time.Duration `yaml:"interval" default:"2s" range:"1ms..24h"`
	// FastInterval is that time while the member's state is in doubt. At most
	// Interval. Default a quarter of Interval, and at least 1ms.
	FastInterval time.Duration `yaml:"fast_interval" default:"500ms" range:"1ms..24h"`
	// Timeout bounds one check and is less than Interval. Default 1s, or half
	// of Interval if that is less.
	Timeout time.Duration `yaml:"timeout" default:"1s" range:"1ms..24h"`
	// Rise is how many successes in a row bring a member back. Default 2.
	Rise int `yaml:"rise" default:"2" range:"1..100"`
	// Fall is how many failures in a row eject a member. Default 3.
	Fall int `yaml:"fall" default:"3" range:"1..100"`
	// WaitForFirstCheck says that no request is accepted before each member was
	// checked once. Default off.
	WaitForFirstCheck bool `yaml:"wait_for_first_check" default:"off"`
}

// Status is a status from 100 to 599 (RFC 9110, section 15), or a digit from 1
// to 5 for all that begin with it (in a file 1xx to 5xx).
type Status int

// Ejection takes members out by how the requests that they get turn out: those
// that fail to connect, are reset or time out, and the answers of Statuses, are
// failures. Each of ConsecutiveFailures, FailurePercentage and LatencyFactor is
// a reason of its own; where all are off, the other options wait for one.
type Ejection struct {
	// ConsecutiveFailures ejects a member after so many in a row; 0, in a file
	// off, does not. Default 5.
	ConsecutiveFailures int `yaml:"consecutive_failures" default:"5" range:"1..10000" off:"true"`
	// FailurePercentage ejects a member when so many of its requests within
	// Window fail, and twice as many as of the others'; 0, in a file off, does
	// not. Default 25.
	FailurePercentage int `yaml:"failure_percentage" default:"25" range:"1..100" off:"true"`
	// MinRequests is how many requests a member must have had within Window for
	// FailurePercentage or LatencyFactor to judge it. Default 100.
	MinRequests int `yaml:"min_requests" default:"100" range:"1..1000000"`
	// Window is the time that these two look back. Default 10s.
	Window time.Duration `yaml:"window" default:"10s" range:"1s..10m"`
	// LatencyFactor ejects a member whose median latency within Window is so
	// many times that of the others; 0, in a file off, does not. Default off.
	LatencyFactor float64 `yaml:"latency_factor" default:"off" range:"1.5..100" off:"true"`
	// Statuses are the answers that are failures, from 500 to 599, none twice;
	// empty is none of them. Default 502, 503, 504.
	Statuses []int `yaml:"statuses" default:"502 503 504" range:"500..599"`
	// BaseTime, times the number of its ejections, is how long a member is out.
	// Default 30s.
	BaseTime time.Duration `yaml:"base_time" default:"30s" range:"1s..24h"`
	// MaxTime bounds that. At least BaseTime. Default 5m, or BaseTime if that is
	// more.
	MaxTime time.Duration `yaml:"max_time" default:"5m" range:"1s..24h"`
	// MaxEjected is how many of the members may be out at once, in percent.
	// Default 30.
	MaxEjected int `yaml:"max_ejected" default:"30" range:"1..100"`
}
