package connect

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

func TestFewLoginsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var far []net.Conn
		dial := queued(func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			far = append(far, there)
			return here, nil
		})
		begin := func() net.Conn {
			t.Helper()
			conn, err := dial(t.Context(), "", "")
			if err != nil {
				t.Fatal(err)
			}
			return conn
		}
		for range logins {
			conn := begin()
			go func() { _, _ = conn.Read(make([]byte, 1)) }()
		}
		full := func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			_, err := dial(ctx, "", "")
			return errors.Is(err, context.DeadlineExceeded)
		}
		if !full() {
			t.Fatalf("%d began", len(far))
		}

		// One that has heard from the other side makes room, and so does one that is closed, once each.
		if _, err := far[0].Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		conn := begin()
		if !full() {
			t.Fatal("an answer made room for two")
		}
		for range 2 {
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		}
		begin()
		if !full() {
			t.Fatal("a connection that was closed made room for two")
		}

		time.Sleep(loggedIn)
		synctest.Wait()
		begin() // the silent ones are through
		for _, conn := range far {
			_ = conn.Close()
		}
	})
}

func TestFailedDialMakesRoom(t *testing.T) {
	broken := errors.New("no such program")
	dial := queued(func(context.Context, string, string) (net.Conn, error) { return nil, broken })
	for range 2 * logins {
		if _, err := dial(t.Context(), "", ""); !errors.Is(err, broken) {
			t.Fatal(err)
		}
	}
}
