package main

import (
	"os/exec"
	"strings"
	"testing"
)

// docker starts every plugin whenever it prints its help. What these packages do before main begins,
// tables of all of Kubernetes' types among it, took longer than all the rest together.
var slowToStart = []string{"k8s.io/cli-runtime/", "k8s.io/client-go/kubernetes", "k8s.io/client-go/discovery", "github.com/google/gnostic-models/"}

func TestStartStaysQuick(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dependency := range strings.FieldsSeq(string(out)) {
		for _, slow := range slowToStart {
			if strings.HasPrefix(dependency, slow) {
				t.Errorf("docker-secretx depends on %s: go mod why %s tells by which way", dependency, dependency)
			}
		}
	}
}
