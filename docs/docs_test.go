// Package docs_test holds the documentation against the repository: every link leads somewhere, every test,
// file and function that is named exists, every error that is quoted is one of the code's.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const root = ".."

// repository is what the pages may speak of.
type repository struct {
	files    map[string]bool // by path, and folders
	names    map[string]bool // of functions, methods, types, constants, variables and fields
	tests    map[string][]string
	literals []string // of the code that isn't tests
}

var repo = sync.OnceValues(func() (*repository, error) {
	r := &repository{files: map[string]bool{}, names: map[string]bool{}, tests: map[string][]string{}}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", "dist", "bin", "node_modules"}, entry.Name()) {
			return filepath.SkipDir
		}
		r.files[filepath.ToSlash(relative)] = true
		if strings.HasSuffix(name, ".go") {
			return r.read(name, filepath.ToSlash(relative))
		}
		return nil
	})
	return r, err
})

func (r *repository) read(name, relative string) error {
	parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	isTest := strings.HasSuffix(name, "_test.go")
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			r.names[n.Name.Name] = true
			if isTest {
				r.tests[n.Name.Name] = append(r.tests[n.Name.Name], path.Dir(relative))
			}
		case *ast.TypeSpec:
			r.names[n.Name.Name] = true
		case *ast.ValueSpec:
			for _, name := range n.Names {
				r.names[name.Name] = true
			}
		case *ast.Field:
			for _, name := range n.Names {
				r.names[name.Name] = true
			}
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING && !isTest {
				r.literals = append(r.literals, text)
			}
		}
		return true
	})
	return nil
}

// page is a file of Markdown.
type page struct{ name, text string }

func pages(t *testing.T) (all []page) {
	t.Helper()
	r := load(t)
	for name := range r.files {
		if strings.HasSuffix(name, ".md") && !strings.HasPrefix(name, "shared/probe/embedded/") {
			text, err := os.ReadFile(filepath.Join(root, name))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, page{name, string(text)})
		}
	}
	if len(all) < 10 {
		t.Fatalf("only %d pages were found", len(all))
	}
	return all
}

func load(t *testing.T) *repository {
	t.Helper()
	r, err := repo()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	fence = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	code  = regexp.MustCompile("`[^`\n]+`")
	link  = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	// anchor is what GitHub leaves of a heading.
	anchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for line := range strings.Lines(fence.ReplaceAllString(text, "")) {
		if heading, found := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); found && strings.HasPrefix(line, "#") {
			all[strings.ReplaceAll(anchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), ""), " ", "-")] = true
		}
	}
	return all
}

func TestLinks(t *testing.T) {
	r := load(t)
	texts := map[string]string{}
	for _, p := range pages(t) {
		texts[p.name] = p.text
	}
	n := 0
	for name, text := range texts {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(fence.ReplaceAllString(text, ""), ""), -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			n++
			to := name
			if target != "" {
				to = path.Join(path.Dir(name), target)
			}
			if !r.files[to] {
				t.Errorf("%s: %s leads nowhere", name, m[1])
			}
			if fragment != "" && !anchors(texts[to])[fragment] {
				t.Errorf("%s: %s has no heading %q", name, to, fragment)
			}
		}
	}
	if n < 15 {
		t.Errorf("only %d links were found", n)
	}
}

var namedTest = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w+|[a-z-]+\\.txtar)`")

// Every test that a page names exists.
func TestNamedTests(t *testing.T) {
	r := load(t)
	n := 0
	for _, p := range pages(t) {
		for _, m := range namedTest.FindAllStringSubmatch(p.text, -1) {
			n++
			if len(r.tests[m[1]]) == 0 && !r.files["scripts/e2e/testdata/"+m[1]] {
				t.Errorf("%s names %s, and there is no such test", p.name, m[1])
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d tests are named", n)
	}
}

// Every promise of the security page has a test that shows it, in the folder that is named beside it.
func TestPromises(t *testing.T) {
	r := load(t)
	text := read(t, "security.md")
	_, rest, found := strings.Cut(text, "| promise | test |\n|---|---|\n")
	if !found {
		t.Fatal("security.md has no table of promises")
	}
	table, _, _ := strings.Cut(rest, "\n\n")
	rows := strings.Split(strings.TrimSpace(table), "\n")
	folder := regexp.MustCompile("(`[^`]+`(?:, `[^`]+`)*) in `([^`]+)`")
	for _, row := range rows {
		cells := strings.Split(row, " | ")
		if len(cells) != 2 {
			t.Errorf("not a promise and its test: %s", row)
			continue
		}
		if !namedTest.MatchString(cells[1]) {
			t.Errorf("no test shows: %s", cells[0])
		}
		for _, m := range folder.FindAllStringSubmatch(cells[1], -1) {
			for _, name := range namedTest.FindAllStringSubmatch(m[1], -1) {
				if !slices.Contains(r.tests[name[1]], m[2]) && !r.files[path.Join(m[2], "testdata", name[1])] {
					t.Errorf("%s is not in %s", name[1], m[2])
				}
			}
		}
	}
	if len(rows) < 10 {
		t.Errorf("only %d promises", len(rows))
	}
}

var identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*(\.[A-Za-z][A-Za-z0-9]*)*$`)

// Every file, folder, function and type that the architecture page names exists. What stands in it in code
// and is neither is said here.
func TestArchitecture(t *testing.T) {
	r := load(t)
	other := regexp.MustCompile(`^(docker|kubectl|secretx|io\.github|secretx\.github\.io|-|make |diff --|sync --|/proc|[A-Z]+$)`)
	// Verbs, and what libraries call theirs.
	words := []string{"sync", "diff", "verify", "consumers", "ls", "inspect", "rotate", "peek-in-container", "rbac", "doctor", "immutable", "depguard", "plugin.RunPlugin", "PersistentPreRunE"}
	bases := map[string]bool{}
	for name := range r.files {
		bases[path.Base(name)] = true
	}
	n := 0
	for _, quoted := range code.FindAllString(fence.ReplaceAllString(read(t, "architecture.md"), ""), -1) {
		text := strings.Trim(quoted, "`")
		parts := strings.Split(text, ".")
		last := parts[len(parts)-1]
		switch {
		case other.MatchString(text), slices.Contains(words, text):
			continue
		case r.files[text], r.files["shared/"+text]:
		case !strings.Contains(text, "/") && bases[text]:
		case identifier.MatchString(text) && r.names[last] && (len(parts) == 1 || r.names[parts[0]] || r.files["shared/"+parts[0]] || bases[parts[0]]):
		default:
			t.Errorf("architecture.md names %s, and there is no such thing", text)
		}
		n++
	}
	if n < 40 {
		t.Errorf("only %d things are named", n)
	}
}

// Every error that the troubleshooting page quotes is one of the code's: what stands between ellipses and
// words in angle brackets, which are those of the case, stands in one of its texts.
func TestErrorTexts(t *testing.T) {
	r := load(t)
	n := 0
	variable := regexp.MustCompile(`…|<[^>]*>`)
	verb := regexp.MustCompile(`%[-+#0-9.]*[a-zA-Z]`)
	var known []string
	for _, text := range r.literals {
		known = append(known, verb.ReplaceAllString(text, "…"))
	}
	for line := range strings.Lines(read(t, "troubleshooting.md")) {
		quoted, found := strings.CutPrefix(line, "### `")
		if !found {
			continue
		}
		quoted, _, closed := strings.Cut(quoted, "`")
		if !closed {
			t.Errorf("no end: %s", line)
		}
		n++
		for _, part := range variable.Split(quoted, -1) {
			part = strings.TrimSpace(part)
			if len(part) < 4 {
				continue
			}
			if !slices.ContainsFunc(known, func(text string) bool { return strings.Contains(text, part) }) {
				t.Errorf("no error of the code says %q, of %q", part, quoted)
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d errors are quoted", n)
	}
}
