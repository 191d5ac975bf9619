package kube

import (
	"encoding/json"
	"testing"
)

// What another workload stands for is left to that one, unless it was asked for by its type.
func TestUnowned(t *testing.T) {
	const list = `{"kind":"PodList","items":[
		{"kind":"Pod","metadata":{"name":"bare"}},
		{"kind":"Pod","metadata":{"name":"owned","ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","controller":true}]}},
		{"kind":"Pod","metadata":{"name":"operated","ownerReferences":[{"apiVersion":"example.com/v1","kind":"Job","name":"n","controller":true}]}}]}`
	for all, want := range map[bool]int{false: 2, true: 3} {
		left, n, err := unowned(json.RawMessage(list), all)
		var parsed struct {
			Kind  string
			Items []json.RawMessage
		}
		if err != nil || json.Unmarshal(left, &parsed) != nil || n != want || len(parsed.Items) != want || parsed.Kind != "PodList" {
			t.Errorf("%v: %d of %s, %v", all, n, left, err)
		}
	}
}
