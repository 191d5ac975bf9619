// Package deploy writes what runs `sync -f … --watch` by itself: manifests for Kubernetes, and a stack for a Swarm.
// It is text in, text out, and imports the standard library and the library for YAML.
package deploy

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the templates
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"text/template"

	"sigs.k8s.io/yaml"
)

// Watch is what is to run.
type Watch struct {
	Name      string
	Namespace string // of the Deployment
	Image     string
	Files     []File
	Prunes    bool // which somebody has confirmed by asking for this
	// Default is the namespace that an endpoint means which names none; empty where all do.
	Default string
	// SwarmHost is how the Swarm is reached from a pod, by TLS with what is in the Secret SwarmTLS; empty where no
	// mirror has to do with a Swarm.
	SwarmHost, SwarmTLS string
	// Socket is where a manager has the socket of its engine, and Kubeconfig tells that a service needs one.
	Socket     string
	Kubeconfig bool
	// Access are the Roles and bindings, as YAML.
	Access string
}

// File is one that declares mirrors.
type File struct {
	Name string // among the others
	Path string // where it was read
	Text string
}

var (
	//go:embed kubernetes.yaml.tmpl
	kubernetes string
	//go:embed stack.yaml.tmpl
	stack string
)

// folder is where a container has the files.
const folder = "/etc/secretx/"

// Kubernetes are the manifests.
func (w Watch) Kubernetes() (string, error) {
	data := map[string]string{}
	for _, f := range w.Files {
		data[f.Name] = f.Text
	}
	files, err := yaml.Marshal(map[string]any{"data": data})
	if err != nil {
		return "", err
	}
	return fill(kubernetes, struct {
		Watch
		Data string
	}{w, string(files)})
}

// Stack is a Compose file for docker stack deploy.
func (w Watch) Stack() (string, error) { return fill(stack, w) }

// Args are the program's.
func (w Watch) Args() []string {
	args := []string{"sync"}
	for _, f := range w.Files {
		args = append(args, "-f", folder+f.Name)
	}
	args = append(args, "--watch", "--events", "--listen", ":8080", "--audit", "-")
	if w.Namespace != "" {
		args = append(args, "--leader-elect", w.Namespace+"/"+w.Name)
	}
	if w.Default != "" {
		args = append(args, "--namespace", w.Default)
	}
	if w.Prunes {
		args = append(args, "--yes")
	}
	return args
}

// Version tells one content of a file from another: a Swarm's config can't change, but another can take its place.
func (f File) Version() string {
	sum := sha256.Sum256([]byte(f.Text))
	return hex.EncodeToString(sum[:4])
}

func fill(text string, data any) (string, error) {
	// JSON is YAML: whatever a text holds, it stays one.
	quoted := func(v any) (string, error) {
		var out bytes.Buffer
		encoder := json.NewEncoder(&out)
		encoder.SetEscapeHTML(false)
		err := encoder.Encode(v)
		return strings.TrimSpace(out.String()), err
	}
	t, err := template.New("").Funcs(template.FuncMap{"q": quoted, "folder": func() string { return folder }}).Parse(text)
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if err := t.Execute(&out, data); err != nil {
		return "", fmt.Errorf("a template of manifests: %w", err)
	}
	return out.String(), nil
}
