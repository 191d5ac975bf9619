package plan

import (
	"errors"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

func TestDamagedDocuments(t *testing.T) {
	var b strings.Builder
	p := Plan{From: endpoint.Place{Kind: secret.Swarm, Identity: "swarm:a"}, To: endpoint.Place{Kind: secret.Kubernetes, Identity: "kubernetes:b"}}
	if err := p.Document(endpoint.Address{Kind: secret.Swarm}, endpoint.Address{Kind: secret.Kubernetes}, Request{All: true}).Write(&b); err != nil {
		t.Fatal(err)
	}
	whole := b.String()
	if _, err := ReadDocument(strings.NewReader(whole)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "null", "{}", "[]", whole[:len(whole)/2], whole + "}", whole + "]", whole + whole, whole + "x",
		strings.Replace(whole, `"kind": "Plan"`, `"kind": "Diff"`, 1),
		strings.Replace(whole, DocumentVersion, "secretx.github.io/v9", 1),
		strings.Replace(whole, `"all": true`, `"all": true, "everything": true`, 1),
		strings.Replace(whole, "swarm:a", "", 1),
	} {
		if _, err := ReadDocument(strings.NewReader(text)); !errors.Is(err, ErrDamaged) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
