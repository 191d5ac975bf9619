package metadata

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/cli/cli-plugins/metadata"
)

// TestFirst builds the plugin and sees which packages were initialized before docker had its answer.
func TestFirst(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "docker-secretx")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/docker-secretx").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var answer, trace bytes.Buffer
	cmd := exec.Command(binary, metadata.MetadataSubcommandName)
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	cmd.Stdout, cmd.Stderr = &answer, &trace
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var told metadata.Metadata
	if err := json.Unmarshal(answer.Bytes(), &told); err != nil || told != About {
		t.Errorf("%s: %v", answer.String(), err)
	}
	began := 0
	for line := range strings.Lines(trace.String()) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "init" {
			continue
		}
		began++
		switch name := fields[1]; {
		case name == "net/http", name == "regexp", name == "github.com/docker/docker/client", strings.HasPrefix(name, "k8s.io/"):
			t.Errorf("%s began first", name)
		}
	}
	if began == 0 {
		t.Fatal("no trace")
	}
}
