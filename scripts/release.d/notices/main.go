// Command notices writes the licences of everything that is linked into a release into one file. It
// fails where a module has none, or one that secretx can't be given away under.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// Where the project's go.mod is, seen from this module's.
const project = "../.."

var mains = []string{"./docker-plugin/cmd/docker-secretx", "./kubectl-plugin/cmd/kubectl-secretx", "./shared/probe/helper"}

// What may be linked into an Apache-2.0 program and given away with its notices.
var allowed = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

var (
	licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying)([-.].*)?$`)
	noticeFile  = regexp.MustCompile(`(?i)^(notice|patents)([-.].*)?$`)
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: notices FILE")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

func run(file string) error {
	modules, err := linked()
	if err != nil {
		return err
	}
	var faults []error
	texts := map[string][]string{} // a text, and whose it is
	for _, m := range modules {
		found, err := m.notices()
		faults = append(faults, err)
		for _, text := range found {
			texts[text] = append(texts[text], m.name())
		}
	}
	if err := errors.Join(faults...); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, page(texts), 0o644)
}

type module struct {
	Path, Version, Dir string
	Main               bool
	Replace            *module
}

func (m module) name() string { return strings.TrimSpace(m.Path + " " + m.Version) }

// linked lists the modules of which at least one package is in a program, for any platform; and Go's
// own library, which is in all of them.
func linked() ([]module, error) {
	root, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, err
	}
	of, version, _ := strings.Cut(strings.TrimSpace(string(root)), "\n")
	all := map[string]module{"": {Path: "The Go programming language", Version: version, Dir: of}}
	for _, platform := range []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64"} {
		system, architecture, _ := strings.Cut(platform, "/")
		list := exec.Command("go", append([]string{"list", "-deps", "-json=Module"}, mains...)...)
		list.Dir = project
		list.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+architecture, "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
		list.Stderr = os.Stderr
		out, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			var p struct{ Module *module }
			err := d.Decode(&p)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, err
			}
			if p.Module == nil || p.Module.Main {
				continue
			}
			m := *p.Module
			if m.Replace != nil {
				m = *m.Replace
			}
			all[m.Path] = m
		}
	}
	modules := make([]module, 0, len(all))
	for _, m := range all {
		modules = append(modules, m)
	}
	slices.SortFunc(modules, func(a, b module) int { return cmp.Compare(a.name(), b.name()) })
	return modules, nil
}

// notices gives a module's licences and notices.
func (m module) notices() ([]string, error) {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.name(), err)
	}
	var texts, unfit []string
	licensed := false
	for _, e := range entries {
		licence := licenceFile.MatchString(e.Name())
		// The licence of a module's pages is in no program.
		if e.IsDir() || strings.HasSuffix(e.Name(), ".docs") || !licence && !noticeFile.MatchString(e.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(m.Dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name(), err)
		}
		texts = append(texts, strings.TrimSpace(strings.ReplaceAll(string(data), "\r\n", "\n")))
		if !licence {
			continue
		}
		for _, match := range licensecheck.Scan(data).Match {
			if slices.Contains(allowed, match.ID) {
				licensed = true
			} else if !match.IsURL {
				unfit = append(unfit, match.ID+" in "+e.Name())
			}
		}
	}
	if !licensed || len(unfit) > 0 {
		return nil, fmt.Errorf("%s: licences have to be among %s; found: %s", m.name(), strings.Join(allowed, ", "), cmp.Or(strings.Join(unfit, ", "), "none"))
	}
	return texts, nil
}

// page has each text once, below those who share it.
func page(texts map[string][]string) []byte {
	order := make([]string, 0, len(texts))
	for text := range texts {
		order = append(order, text)
	}
	slices.SortFunc(order, func(a, b string) int {
		return cmp.Or(slices.Compare(texts[a], texts[b]), cmp.Compare(a, b))
	})
	var out bytes.Buffer
	out.WriteString("secretx contains the following works, under the terms that follow each list.\n")
	for _, text := range order {
		fmt.Fprintf(&out, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 80), strings.Join(texts[text], "\n"), text)
	}
	return out.Bytes()
}
