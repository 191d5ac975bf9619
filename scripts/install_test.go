// Package scripts_test tries scripts/install in homes of its own. scripts/release-check does the same
// with what is really released.
package scripts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestInstall(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh")
	}
	program, err := os.ReadFile("install")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			// The host's folders are no place for a test.
			e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
			e.Setenv("SUDO_USER", "")
			for _, folder := range []string{"home", "archive", "clone/scripts"} {
				if err := os.MkdirAll(filepath.Join(e.WorkDir, folder), 0o755); err != nil {
					return err
				}
			}
			for _, folder := range []string{"archive", "clone/scripts"} {
				if err := os.WriteFile(filepath.Join(e.WorkDir, folder, "install"), program, 0o755); err != nil {
					return err
				}
			}
			return nil
		},
		Condition: func(condition string) (bool, error) { return condition == "root" && os.Getuid() == 0, nil },
	})
}
