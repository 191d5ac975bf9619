package kube

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shells are those of this machine that the script can be tried in.
func shells(t *testing.T) (found [][]string) {
	for _, shell := range [][]string{{"sh"}, {"dash"}, {"bash", "--posix"}, {"busybox", "sh"}} {
		if _, err := exec.LookPath(shell[0]); err == nil {
			found = append(found, shell)
		}
	}
	if len(found) == 0 {
		t.Skip("no shell")
	}
	return found
}

// Beside a container, its absolute links lead within its own root, and none leads out of it.
func TestLinksStayInTheRoot(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"run/secrets/..data", "var", "a b"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "run/secrets/..data/x"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{
		"var/run": "/run", "run/secrets/x": "..data/x", "up": "../../../../../run/secrets", "loop": "loop", "passwd": "/etc/passwd", "a b/c": "../run//secrets/./x",
	} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	functions, _, found := strings.Cut(lookScript, "\nfirst\n")
	if !found {
		t.Fatal("the script begins otherwise")
	}
	for _, shell := range shells(t) {
		for path, want := range map[string]string{
			"/run/secrets/x": "/run/secrets/..data/x", "/var/run/secrets/x": "/run/secrets/..data/x", "/up/x": "/run/secrets/..data/x", "/a b/c": "/run/secrets/..data/x",
			"/passwd": "/etc/passwd", "/absent/x": "/absent/x", "/../../run": "/run", "/loop/x": "too many",
		} {
			script := functions + "\nroot=$ROOT; if follow \"$FOLLOW\"; then printf %s \"$at\"; else printf 'too many'; fi"
			command := exec.Command(shell[0], append(slices.Clone(shell[1:]), "-c", script, "x", "B", "beside", "")...)
			command.Env = append(os.Environ(), "ROOT="+root, "FOLLOW="+path)
			got, err := command.CombinedOutput()
			if err != nil || string(got) != want {
				t.Errorf("%v, %s: %s, %v", shell, path, got, err)
			}
		}
	}
}
