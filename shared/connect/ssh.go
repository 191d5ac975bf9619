package connect

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	// logins is how many connections over ssh begin at a time. Each logs in for itself, and a server
	// turns some away when it sees more than ten at it (MaxStartups).
	logins = 6
	// loggedIn is the time after which a connection is taken to be through even if nothing was
	// heard: a log may have nothing to say for long.
	loggedIn = 2 * time.Second
)

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// queued lets no more than a few connections begin at a time. Docker's own dialer for ssh is done
// when the process has started; that the login is, shows with the first byte that comes.
func queued(dial dialer) dialer {
	places := make(chan struct{}, logins)
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		select {
		case places <- struct{}{}:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		leave := sync.OnceFunc(func() { <-places })
		conn, err := dial(ctx, network, address)
		if err != nil {
			leave()
			return nil, err
		}
		time.AfterFunc(loggedIn, leave)
		return &beginning{Conn: conn, done: leave}, nil
	}
}

// beginning is a connection that tells when it has come about, or has not.
type beginning struct {
	net.Conn
	done func()
}

func (b *beginning) Read(p []byte) (int, error) {
	defer b.done()
	return b.Conn.Read(p)
}

func (b *beginning) Close() error {
	defer b.done()
	return b.Conn.Close()
}

// CloseWrite is what streams with an input end it by.
func (b *beginning) CloseWrite() error {
	if c, ok := b.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}
