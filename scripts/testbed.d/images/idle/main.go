// Command idle does nothing until it is told to end.
//
// The testbed uses it three times: as the only file of the distroless image,
// as the pause container of every pod, and as process 1 of each namespace that
// an engine or Kubernetes runs in. The last two have to reap the orphans that
// other processes leave behind.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGINT, syscall.SIGTERM)
	for s := range signals {
		if s != syscall.SIGCHLD {
			return
		}
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if err == syscall.EINTR {
				continue
			}
			if pid <= 0 {
				break
			}
		}
	}
}
