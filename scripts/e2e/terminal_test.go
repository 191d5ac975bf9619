//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// terminal is a real one, of tmux, with a program in it.
type terminal struct {
	t      *testing.T
	socket string
}

// newTerminal starts a program in a terminal of a size.
func newTerminal(t *testing.T, width, height int, env []string, program ...string) *terminal {
	t.Helper()
	needPrograms(t, "tmux")
	folder, err := os.MkdirTemp("", "e2e") // a socket's path has to be short
	must(t, err)
	x := &terminal{t: t, socket: filepath.Join(folder, "s")}
	args := []string{"-f", "/dev/null", "new-session", "-d", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height)}
	cmd := exec.Command("tmux", append(append([]string{"-S", x.socket}, args...), program...)...)
	cmd.Env = append(append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8"), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("tmux: %v %s", err, out)
	}
	t.Cleanup(func() {
		_ = exec.Command("tmux", "-S", x.socket, "kill-server").Run()
		_ = os.RemoveAll(folder)
	})
	return x
}

// needPrograms fails with what would bring them.
func needPrograms(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%v: apt-get install tmux bash-completion zsh fish", err)
		}
	}
}

func (x *terminal) tmux(args ...string) string {
	x.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", x.socket}, args...)...).CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %s: %v %s", args, err, out)
	}
	return string(out)
}

// send types a text.
func (x *terminal) send(text string) { x.t.Helper(); x.tmux("send-keys", "-l", "--", text) }

// key presses one: Tab, Enter, C-c.
func (x *terminal) key(name string) { x.t.Helper(); x.tmux("send-keys", name) }

// screen is what can be seen, without what follows the last text.
func (x *terminal) screen() string {
	x.t.Helper()
	return strings.TrimRight(x.tmux("capture-pane", "-p"), " \n")
}

// colours is the screen with its escapes.
func (x *terminal) colours() string { x.t.Helper(); return x.tmux("capture-pane", "-p", "-e") }

// until waits for the screen to match.
func (x *terminal) until(limit time.Duration, pattern string) string {
	x.t.Helper()
	wanted := regexp.MustCompile("(?m)" + pattern)
	for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		screen := x.screen()
		if wanted.MatchString(screen) {
			return screen
		}
		if time.Since(began) > limit {
			x.t.Fatalf("not within %s: %s\n--- the screen\n%s", limit, pattern, screen)
		}
	}
}

// clear empties the line and the screen.
func (x *terminal) clear() {
	x.t.Helper()
	x.key("C-u")
	x.key("C-l")
	x.until(5*time.Second, `\A[$%>] ?\z`)
}
