package kube_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/peek"
)

// What servers answer when they are asked for their version.
const (
	version120 = `{"major":"1","minor":"20","gitVersion":"v1.20.15","gitTreeState":"clean","goVersion":"go1.15.15","platform":"linux/amd64"}`
	version124 = `{"major":"1","minor":"24+","gitVersion":"v1.24.17-gke.200","gitTreeState":"clean","goVersion":"go1.20.7","platform":"linux/amd64"}`
	version135 = `{"major":"1","minor":"35","gitVersion":"v1.35.4","gitTreeState":"clean","goVersion":"go1.25.8","platform":"linux/amd64"}`
)

func noResource(w http.ResponseWriter) {
	answer(w, http.StatusNotFound, failure(http.StatusNotFound, "NotFound", "the server could not find the requested resource"))
}

// TestEphemeralContainersSince: where there are none it is said in one line, and no pod is touched.
func TestEphemeralContainersSince(t *testing.T) {
	for name, c := range map[string]struct {
		version string // empty: may not be asked for
		patches int
		want    string
	}{
		"older":         {version124, 0, "Kubernetes 1.24.17 has no ephemeral containers, which came with 1.25"},
		"much older":    {version120, 0, "Kubernetes 1.20.15 has no ephemeral containers, which came with 1.25"},
		"unknown":       {"", 1, "Kubernetes has no ephemeral containers, which came with 1.25"},
		"nonsense":      {`{"gitVersion":"main"}`, 1, "Kubernetes has no ephemeral containers, which came with 1.25"},
		"newer, but no": {version135, 1, "Kubernetes has no ephemeral containers, which came with 1.25"},
	} {
		t.Run(name, func(t *testing.T) {
			patches, asked := 0, 0
			e := serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == "/version" && c.version == "":
					answer(w, http.StatusForbidden, failure(http.StatusForbidden, "Forbidden", "no"))
				case r.URL.Path == "/version":
					asked++
					w.Header().Set("Content-Type", "application/json")
					_, _ = io.WriteString(w, c.version)
				case strings.HasSuffix(r.URL.Path, "/exec"):
					answer(w, http.StatusInternalServerError, failure(500, "InternalError", `exec: "sh": executable file not found in $PATH`))
				case r.Method == http.MethodPatch:
					patches++
					noResource(w)
				default:
					answer(w, http.StatusOK, map[string]any{
						"kind": "Pod", "apiVersion": "v1", "metadata": map[string]any{"name": "bare", "uid": "u"},
						"spec":   map[string]any{"containers": []any{map[string]any{"name": "c", "image": "i"}}},
						"status": map[string]any{"phase": "Running"},
					})
				}
			})
			containers := []peek.Container{{Name: "bare", Container: "c", Wants: []peek.Want{{How: peek.File, Key: "key", Path: "/s/key"}}}}
			options := peek.LookOptions{Nonce: []byte("nonce"), AllowEphemeral: true, Progress: func(string) {}}
			for range 2 {
				containers[0].Unseen = ""
				if err := e.Look(t.Context(), containers, options); err != nil {
					t.Fatal(err)
				}
			}
			got := containers[0]
			if !strings.HasSuffix(got.Unseen, c.want) || strings.Contains(got.Unseen, "\n") || !strings.HasPrefix(got.Unseen, "the image has no shell, and ") {
				t.Errorf("%q", got.Unseen)
			}
			if patches != 2*c.patches || c.version != "" && asked != 1 {
				t.Errorf("%d patches, asked %d times", patches, asked)
			}
		})
	}
}

// TestConsumersSince: kinds that an older version has elsewhere could not be seen, and nothing that
// is in them may be taken for unused.
func TestConsumersSince(t *testing.T) {
	for version, want := range map[string]string{
		version120: "cronjobs in namespace default: Kubernetes 1.20.15 doesn't have them in batch/v1 yet, as 1.21 does",
		version135: "",
		"":         "",
	} {
		e := serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == "/version":
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, version)
			case strings.Contains(r.URL.Path, "cronjobs"):
				noResource(w)
			default:
				_, _ = io.WriteString(w, "k8s\x00\x12\x00") // a list with nothing in it
			}
		})
		graph, err := e.Consumers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(graph.Blind, "\n"); got != want {
			t.Errorf("%s: %q, not %q", version, got, want)
		}
	}
}
