//go:build e2e || soak || corpus

package e2e

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a verb that runs in a process group of its own, without a terminal.
type process struct {
	cmd      *exec.Cmd
	out, err bytes.Buffer
	done     chan struct{} // closed at the end of the process that was started
}

func start(env []string, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(name, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// Whoever inherited the outputs must not hold up the end of the one that is looked at.
	p.cmd.WaitDelay = 10 * time.Millisecond
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// over tells whether the process that was started has ended.
func (p *process) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// plugin is the process of secretx itself: kubectl becomes it, docker has it as a child. Zero while
// there is none yet.
func (p *process) plugin() int {
	for _, pid := range append([]int{p.pid()}, descendants(p.pid())...) {
		target, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
		if err == nil && strings.HasSuffix(strings.TrimSuffix(filepath.Base(target), " (deleted)"), "-secretx") {
			return pid
		}
	}
	return 0
}

// descendants are the children of a process, and theirs.
func descendants(pid int) []int {
	var all []int
	files, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	for _, f := range files {
		text, _ := os.ReadFile(f)
		for child := range strings.FieldsSeq(string(text)) {
			n, _ := strconv.Atoi(child)
			all = append(append(all, n), descendants(n)...)
		}
	}
	return all
}

// alive tells whether a process runs; one that nobody has waited for does not. One that becomes another program
// from a thread that isn't its first, as kubectl may, has a first thread for a moment that is dead already: it
// is looked at twice.
func alive(pid int) bool {
	if pid == 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	return hasThread(pid) || hasThread(pid)
}

// hasThread tells whether any thread of a process isn't dead.
func hasThread(pid int) bool {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/stat")
	for _, f := range threads {
		stat, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 0 && fields[0] != "Z" && fields[0] != "X" {
			return true
		}
	}
	return false
}

// killAll ends the process and all that it started, at once.
func (p *process) killAll() {
	all := append(descendants(p.pid()), p.pid())
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.done
	for _, pid := range all {
		for alive(pid) {
			time.Sleep(time.Millisecond)
		}
	}
}
