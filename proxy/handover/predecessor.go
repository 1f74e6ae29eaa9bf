package handover

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// report is what a successor says of itself, once: a line of JSON.
type report struct {
	Version string `json:"version,omitempty"`
	Dropped []int  `json:"dropped,omitempty"` // sockets that it has closed, by place
	Error   string `json:"error,omitempty"`   // why it will not be ready
}

// word is what a predecessor answers when the sockets are the successor's.
const word = "over\n"

// maxSilence bounds how long the predecessor may take to say so.
const maxSilence = 10 * time.Second

// Predecessor is the id of the process whose sockets these are, 0 where it is none
// of this program.
func (in *Inherited) Predecessor() int { return in.pid }

// TakeOver tells the predecessor, if there is one, that this process serves, and
// waits until the sockets are its own. One that is no more has left them. The error
// says that they are still the predecessor's: ctx was done, or it has been silent for
// 10 s. It is called after Rest, and once.
func (in *Inherited) TakeOver(ctx context.Context, version string) error {
	if in.predecessor == nil {
		return nil
	}
	defer in.forget()
	ctx, cancel := context.WithTimeout(ctx, maxSilence)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = in.predecessor.SetDeadline(time.Unix(1, 0)) })()
	if in.tell(report{Version: version, Dropped: in.dropped}) != nil && ctx.Err() == nil {
		return nil // nobody is there any more
	}
	answer, err := bufio.NewReader(io.LimitReader(in.predecessor, int64(len(word)))).ReadString('\n')
	if answer == word || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil
	}
	return fmt.Errorf("process %d does not hand over its sockets: %w", in.pid, context.Cause(ctx))
}

// Fail tells the predecessor, if there is one that waits, why this process will not
// take its place.
func (in *Inherited) Fail(err error) {
	if in.predecessor == nil {
		return
	}
	defer in.forget()
	_ = in.predecessor.SetDeadline(time.Now().Add(time.Second))
	// It finds the connection closed where it cannot be told.
	_ = in.tell(report{Error: err.Error()})
}

func (in *Inherited) tell(r report) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = in.predecessor.Write(append(text, '\n'))
	return err
}

func (in *Inherited) forget() {
	// All has been said.
	_ = in.predecessor.Close()
	in.predecessor = nil
}
