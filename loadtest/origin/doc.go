// Package origin is an HTTP/1.1 server that does what a script tells it, well
// or badly, and remembers what reached it. It works on the socket, so that it
// can truncate, reset, trickle and send heads no library would send.
package origin
