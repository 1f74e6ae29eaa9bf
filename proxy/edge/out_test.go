package edge

import (
	"slices"
	"strings"
	"testing"
)

// taker notes what is written to it, one by one.
type taker struct {
	loop
	got []string
}

func (t *taker) Write(p []byte) (int, error) {
	t.got = append(t.got, string(p))
	return len(p), nil
}

// The head of an answer leaves with what there is of its body, in few writes; and
// alone where it must.
func TestHeadWaitsForBody(t *testing.T) {
	long := strings.Repeat("x", 3*outBuffer)
	first := outBuffer - len("head")
	for name, tt := range map[string]struct {
		act  func(c *Conn)
		want []string
	}{
		"alone":        {func(*Conn) {}, nil},
		"flushed":      {func(c *Conn) { _ = c.Flush() }, []string{"head"}},
		"body":         {func(c *Conn) { _, _ = c.Write([]byte("body")) }, []string{"headbody"}},
		"two parts":    {func(c *Conn) { _, _ = c.Write([]byte("a")); _, _ = c.Write([]byte("b")) }, []string{"heada", "b"}},
		"long body":    {func(c *Conn) { _, _ = c.Write([]byte(long)) }, []string{"head" + long[:first], long[first:]}},
		"chunk":        {func(c *Conn) { _ = c.WriteChunk([]byte("body!")) }, []string{"head5\r\nbody!\r\n"}},
		"chunks":       {func(c *Conn) { _ = c.WriteChunk([]byte("a")); _ = c.WriteChunk([]byte("b")) }, []string{"head1\r\na\r\n", "1\r\nb\r\n"}},
		"closed":       {func(c *Conn) { _ = c.Close() }, []string{"head"}},
		"next request": {func(c *Conn) { _, _ = c.Read(make([]byte, 10)) }, []string{"head"}},
	} {
		to := &taker{}
		c := NewListener(nil, NewDoor(Capacity{}), nil, ListenerOptions{Limits: limits()}).Wrap(to)
		if n, err := c.Write([]byte("head")); n != 4 || err != nil {
			t.Fatal(n, err)
		}
		if tt.act(c); !slices.Equal(to.got, tt.want) {
			t.Errorf("%s: %.60q", name, to.got)
		}
	}
	to := &taker{}
	c := NewListener(nil, NewDoor(Capacity{}), nil, ListenerOptions{Limits: limits()}).Wrap(to)
	_, _ = c.Write([]byte("head"))
	if err := c.WriteChunk([]byte(long)); err != nil || strings.Join(to.got, "") != "head3000\r\n"+long+"\r\n" || len(to.got) > 3 {
		t.Errorf("a long chunk: %d writes, %v", len(to.got), err)
	}
}
