//go:build e2e

package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	x.until(30*time.Second, `\A[$%>] ?\z`)
}

// TestTerminal looks at what stands on a terminal, and at what doesn't.
func TestTerminal(t *testing.T) {
	w := newWorld(t)
	namespace := get[string](t)(w.namespace())
	name := w.prefix + "x"
	must(t, w.putKube(namespace, corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"k": "v"}}))
	must(t, putSwarm(w.swarm, name+".k", []byte("other"), nil)) // a conflict, or not: a long text in any case
	env := []string{"KUBECONFIG=" + kubeconfigIn(t, t.TempDir(), namespace), "PS1=$ "}
	const detail = "--prove would tell whether it is equal"
	command := "kubectl secretx diff " + name

	for _, width := range []int{80, 200} {
		x := newTerminal(t, width, 30, env, "bash", "--norc", "--noprofile", "-i")
		x.send(command)
		x.key("Enter")
		screen := x.until(30*time.Second, `^1 mirror: 1 unknown$`)
		if shown := strings.Contains(screen, detail); shown != (width == 200) || !strings.Contains(screen, name+".k") {
			t.Errorf("%d columns:\n%s", width, screen)
		}
		if colours := x.colours(); !strings.Contains(colours, "\x1b[33munknown") {
			t.Errorf("no colour at %d columns:\n%q", width, colours)
		}
		if strings.Contains(screen, "at work") {
			t.Errorf("the live line is still there:\n%s", screen)
		}
	}
	for _, none := range []string{"NO_COLOR=1", "TERM=dumb"} {
		x := newTerminal(t, 200, 30, env, "bash", "--norc", "--noprofile", "-i")
		x.send(none + " " + command)
		x.key("Enter")
		x.until(30*time.Second, `^1 mirror: 1 unknown$`)
		if colours := x.colours(); strings.Contains(colours, "\x1b[3") {
			t.Errorf("%s: there is colour:\n%q", none, colours)
		}
	}
	// Not on a terminal, all text is there, and with --quiet nothing beside the results.
	piped := run(env, "kubectl", "secretx", "diff", name)
	if !strings.Contains(piped.out, detail) || strings.Contains(piped.out+piped.err, "\x1b") || piped.err != "1 mirror: 1 unknown\n" {
		t.Errorf("piped: %s", piped)
	}
	if quiet := run(env, "kubectl", "secretx", "diff", name, "-q"); quiet.err != "" || quiet.out != piped.out {
		t.Errorf("quiet: %s", quiet)
	}

	// What takes its time shows that it goes on, and leaves nothing of that behind.
	listener := get[net.Listener](t)(net.Listen("tcp", "127.0.0.1:0")) // takes connections, and never answers
	defer listener.Close()
	x := newTerminal(t, 100, 30, env, "bash", "--norc", "--noprofile", "-i")
	x.send("kubectl secretx ls --timeout 4s --docker-host tcp://" + listener.Addr().String())
	x.key("Enter")
	x.until(15*time.Second, `^[-\\|/] ls is at work, [1-9]s$`)
	if screen := x.until(30*time.Second, `^error: `); strings.Contains(screen, "at work") {
		t.Errorf("the live line is still there:\n%s", screen)
	}
}
