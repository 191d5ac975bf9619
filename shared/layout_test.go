// Package shared_test holds the layout against the code: who imports whom, over all dependencies
// and not only the direct ones that a linter sees.
package shared_test

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/secretx/secretx/shared/"

// forbidden says what a package must not depend on, however far down.
var forbidden = map[string][]string{
	"secret":         {module, "k8s.io/", "github.com/"},
	"endpoint":       {"k8s.io/", "github.com/docker/", "github.com/spf13/"},
	"peek":           {module + "endpoint", module + "mapping", "k8s.io/", "github.com/docker/", "github.com/spf13/", "net", "net/http"},
	"consumers":      {"k8s.io/", "github.com/docker/", "github.com/spf13/", "net", "net/http"},
	"mapping":        {"k8s.io/", "github.com/docker/", "github.com/spf13/", "net", "net/http"},
	"plan":           {"k8s.io/", "github.com/docker/", "github.com/spf13/", "net", "net/http"},
	"translate":      {module + "endpoint", module + "plan", "k8s.io/", "github.com/docker/", "github.com/spf13/", "net", "net/http"},
	"apply":          {"k8s.io/", "github.com/docker/", "github.com/spf13/", "net/http"},
	"report":         {"k8s.io/", "github.com/docker/", "github.com/spf13/", "net/http"},
	"probe/envelope": {module + "swarm", module + "kube", "k8s.io/", "github.com/", "net", "net/http", "encoding/json"},
	"probe/inside":   {module, "k8s.io/", "github.com/", "net", "net/http"},
	"probe/helper":   {module + "endpoint", module + "secret", module + "peek", "k8s.io/", "github.com/docker/", "github.com/spf13/", "net", "net/http"},
	"probe":          {"k8s.io/", "github.com/docker/", "github.com/spf13/"},
	"mirror":         {"k8s.io/", "github.com/docker/", "github.com/spf13/", "net/http"},
	"watch":          {"k8s.io/client-go/rest", "k8s.io/client-go/tools", "k8s.io/client-go/kubernetes", "github.com/docker/", "github.com/spf13/"},
	"metrics":        {"k8s.io/client-go/rest", "k8s.io/client-go/tools", "k8s.io/client-go/kubernetes", "github.com/docker/", "github.com/spf13/"},
	"audit":          {"k8s.io/client-go/rest", "k8s.io/client-go/tools", "k8s.io/client-go/kubernetes", "github.com/docker/", "github.com/spf13/"},
	"selector":       {"k8s.io/client-go/", "github.com/docker/", "github.com/spf13/"},
	"mirrorfile":     {"k8s.io/client-go/", "github.com/docker/", "github.com/spf13/", module + "apply"},
	"storetest":      {"k8s.io/", "github.com/docker/", "github.com/spf13/"},
	"rollout":        {"k8s.io/", "github.com/docker/", "github.com/spf13/", "net/http"},
	"owner":          {module, "k8s.io/", "github.com/"},
	"swarm":          {"k8s.io/", module + "kube", module + "plan", module + "command"},
	"kube":           {"github.com/docker/", module + "swarm", module + "plan", module + "command"},
	"command":        {"k8s.io/client-go/rest", "k8s.io/client-go/tools", "k8s.io/client-go/kubernetes", "k8s.io/client-go/transport", "github.com/docker/", module + "swarm", module + "kube", module + "connect"},
	"connect":        {module + "swarm", module + "kube", module + "command", module + "plan"},
}

func TestDependenciesRunOneWay(t *testing.T) {
	for name, banned := range forbidden {
		out, err := exec.Command("go", "list", "-deps", "-f", "{{.ImportPath}}", module+name).Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for dep := range strings.FieldsSeq(string(out)) {
			for _, b := range banned {
				isFolder := strings.HasSuffix(b, "/")
				if dep == module+name || !(dep == b || isFolder && strings.HasPrefix(dep, b) || !isFolder && strings.HasPrefix(dep, b+"/") && b != "net") {
					continue
				}
				t.Errorf("%s depends on %s", name, dep)
			}
		}
	}
}
