//go:build corpus

package translate

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/secretx/secretx/shared/secret"
)

var updateCorpus = flag.Bool("update", false, "write the outcomes in docs/translated.md")

// publicFile is a row of docs/translated.md.
type publicFile struct{ repository, path, commit, outcome string }

// text is the file as it was at the commit: from the folder that SECRETX_CORPUS names, or from where it is
// published, and then kept in that folder.
func (f publicFile) text(folder string) ([]byte, error) {
	at := filepath.Join(folder, filepath.FromSlash(f.repository), f.commit, filepath.FromSlash(f.path))
	text, err := os.ReadFile(at)
	if err == nil || os.Getenv("SECRETX_CORPUS_FETCH") == "" {
		return text, err
	}
	client := http.Client{Timeout: time.Minute}
	answer, err := client.Get("https://raw.githubusercontent.com/" + f.repository + "/" + f.commit + "/" + f.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", f.path, answer.Status)
	}
	if text, err = io.ReadAll(answer.Body); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return nil, err
	}
	return text, os.WriteFile(at, text, 0o644)
}

// TestPublic translates public files in all forms: each comes out as the table in docs/translated.md says.
func TestPublic(t *testing.T) {
	const page = "../../docs/translated.md"
	folder := os.Getenv("SECRETX_CORPUS")
	if folder == "" {
		t.Fatal("SECRETX_CORPUS names no folder")
	}
	whole, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(whole), "\n")
	n := 0
	for i, line := range lines {
		cells := strings.Split(line, " | ")
		if len(cells) != 6 || !strings.HasPrefix(line, "| [") {
			continue
		}
		n++
		name, _, _ := strings.Cut(strings.TrimPrefix(cells[0], "| ["), "]")
		f := publicFile{name, strings.Trim(cells[1], "`"), strings.Trim(cells[2], "`"), strings.TrimSuffix(cells[5], " |")}
		text, err := f.text(folder)
		if err != nil {
			t.Errorf("%s: %v", f.repository, err)
			continue
		}
		got := outcome(text)
		everything(t, text, func(text []byte) (*Source, error) { return Read(text, ReadOptions{}) })
		if got != f.outcome && !*updateCorpus {
			t.Errorf("%s %s: %s, and the table says %s", f.repository, f.path, got, f.outcome)
		}
		cells[5] = got + " |"
		lines[i] = strings.Join(cells, " | ")
	}
	if n < 80 {
		t.Errorf("the table has %d rows", n)
	}
	if *updateCorpus {
		if err := os.WriteFile(page, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// outcome is what becomes of a text, in a cell of the table.
func outcome(text []byte) string {
	source, err := Read(text, ReadOptions{})
	if err == nil {
		var r *Result
		if r, err = Translate(source, Options{}); err == nil {
			count := func(n int, of string) string {
				if n != 1 {
					of += "s"
				}
				return fmt.Sprint(n, " ", of)
			}
			to := map[secret.Kind]string{secret.Kubernetes: "workload", secret.Swarm: "service"}[r.To]
			return strings.Join([]string{count(len(r.Workloads), to), count(len(r.Secrets), "secret"), count(len(r.Notes), "note")}, ", ")
		}
	}
	return "refused: " + strings.ReplaceAll(err.Error(), "|", "/")
}
