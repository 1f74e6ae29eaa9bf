package edge

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"ringfence/proxy/wire"
)

// ReadProxyHeader reads the PROXY header that a connection begins with, of
// either version, and not one byte of what follows it, which may be TLS or HTTP.
// Whether the peer may say who its client is, is for the caller to know, and so
// is a deadline of its reads.
//
// A connection without a header, or with a malformed one, gives a
// [wire.ErrProxyHeader]; nothing else can be read from it then. One that ends
// before the first byte gives io.EOF, as from a peer that only looked whether
// somebody listens, and one that ends inside the header io.ErrUnexpectedEOF.
//
// A header of version 2 without TLVs takes two reads, one of version 1 about six.
func ReadProxyHeader(conn io.Reader) (wire.ProxyHeader, error) {
	b := make([]byte, 0, 64)
	for {
		h, n, err := wire.ParseProxyHeader(b)
		if err != nil || n <= len(b) {
			return h, err
		}
		have := len(b)
		b = slices.Grow(b, n-have)[:n]
		if _, err := io.ReadFull(conn, b[have:]); err != nil {
			if have > 0 && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return wire.ProxyHeader{}, fmt.Errorf("PROXY header: %w", err)
		}
	}
}
