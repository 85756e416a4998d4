//go:build linux

package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"time"
)

// AskQMP gives the QEMU behind a socket one command of its machine protocol (docs/interop/qmp-spec.txt of QEMU), and
// returns the answer. Events are passed over.
func AskQMP(ctx context.Context, socket, command string, args any) ([]byte, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("qmp: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	in := bufio.NewReader(io.LimitReader(conn, 16<<20))
	if _, err := in.ReadSlice('\n'); err != nil {
		return nil, fmt.Errorf("qmp: greeting: %w", err)
	}
	if _, err := ask(conn, in, "qmp_capabilities", nil); err != nil {
		return nil, err
	}
	return ask(conn, in, command, args)
}

func ask(w io.Writer, in *bufio.Reader, command string, args any) ([]byte, error) {
	raw, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, args})
	if err != nil {
		return nil, fmt.Errorf("qmp: %s: %w", command, err)
	}
	if _, err := w.Write(append(raw, '\n')); err != nil {
		return nil, fmt.Errorf("qmp: %s: %w", command, err)
	}
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return nil, fmt.Errorf("qmp: %s: %w", command, err)
		}
		var answer struct {
			Event  string
			Return json.RawMessage
			Error  *struct{ Class, Desc string }
		}
		switch err := json.Unmarshal(line, &answer); {
		case err != nil:
			return nil, fmt.Errorf("qmp: %s: %w", command, err)
		case answer.Error != nil:
			return nil, fmt.Errorf("qmp: %s: %s", command, answer.Error.Desc)
		case answer.Event == "":
			return answer.Return, nil
		}
	}
}
