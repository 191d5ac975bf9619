package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// command runs a program and gives its output. An exit code other than 0 is an error that says what
// the program said.
func command(ctx context.Context, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	// A signal to us is a signal to it and to all that it started, and just one: a terminal's Ctrl-C
	// would be the first of two, and the second ends a plugin at once. Now it gets the time to leave
	// nothing behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), env...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		text := strings.TrimSpace(complaints.String())
		if len(text) > 1000 {
			text = "… " + text[len(text)-1000:]
		}
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, text)
	}
	return out.Bytes(), nil
}

// timedCommand runs a program, throws its output away and says how long it took.
func timedCommand(ctx context.Context, args ...string) (time.Duration, error) {
	return timed(func() error {
		_, err := command(ctx, nil, args...)
		return err
	})
}

// launcher is the first argument of this program when it only starts another one. What the kernel
// tells of a child's memory includes what its parent had when the child began: hence a parent that
// has done nothing, and so has no more than the child's own runtime and libraries will have.
const launcher = "launch"

type usage struct {
	Seconds float64
	Peak    int64 // in bytes
	Code    int
}

// launch runs a program without its output and prints what it used.
func launch(args []string) int {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stderr = os.Stderr
	began := time.Now()
	err := cmd.Run()
	u := usage{Seconds: time.Since(began).Seconds()}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	u.Code = cmd.ProcessState.ExitCode()
	if r, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		u.Peak = r.Maxrss * 1024
	}
	if err := json.NewEncoder(os.Stdout).Encode(u); err != nil {
		return 1
	}
	return 0
}

// used runs a program and tells how much memory it had at its peak.
func used(ctx context.Context, args ...string) (usage, error) {
	var u usage
	self, err := os.Executable()
	if err != nil {
		return u, err
	}
	out, err := command(ctx, nil, append([]string{self, launcher}, args...)...)
	if err == nil {
		err = json.Unmarshal(out, &u)
	}
	if err == nil && u.Code != 0 {
		err = fmt.Errorf("%s: exit code %d", strings.Join(args, " "), u.Code)
	}
	return u, err
}
