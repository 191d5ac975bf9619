//go:build e2e

package kube_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/secretx/secretx/shared/consumers"
)

// graph is what is known of consumers, one line for each reference.
func graph(g consumers.Graph) string {
	var b strings.Builder
	for _, c := range g.Consumers {
		fmt.Fprintf(&b, "%s/%s", c.Kind, c.Name)
		if c.Owner != "" {
			fmt.Fprintf(&b, " of %s", c.Owner)
		}
		if c.Running {
			b.WriteString(" runs")
		}
		b.WriteByte('\n')
		for _, u := range c.Uses {
			line := fmt.Sprintf("  %s %s/%s %s > %s", u.How, u.Secret, u.Key, u.Where, u.Target)
			if u.Optional {
				line += " optional"
			}
			if u.Previous {
				line += " previous"
			}
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}

// everything refers to Secrets in all the ways that there are, and nothing of it runs.
const everything = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
secrets: [{name: s-account}]
imagePullSecrets: [{name: s-pull}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: front}
spec:
  tls: [{hosts: [a.example, b.example], secretName: s-tls}]
  defaultBackend: {service: {name: web, port: {number: 80}}}
---
apiVersion: v1
kind: PodTemplate
metadata: {name: template}
template:
  spec:
    containers: [{name: a, image: x, env: [{name: A, valueFrom: {secretKeyRef: {name: s-template, key: k}}}]}]
---
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 0
  selector: {app: old}
  template:
    metadata: {labels: {app: old}}
    spec:
      containers: [{name: a, image: x, envFrom: [{prefix: P_, secretRef: {name: s-rc, optional: true}}]}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: each}
spec:
  selector: {matchLabels: {app: each}}
  template:
    metadata: {labels: {app: each}}
    spec:
      nodeSelector: {nobody: "1"}
      containers: [{name: a, image: x}]
      volumes:
      - {name: csi, csi: {driver: csi.example, nodePublishSecretRef: {name: s-csi}}}
      - {name: flex, flexVolume: {driver: example/flex, secretRef: {name: s-flex}}}
      - {name: ceph, cephfs: {monitors: [m], secretRef: {name: s-ceph}}}
      - {name: rbd, rbd: {monitors: [m], image: i, secretRef: {name: s-rbd}}}
      - {name: iscsi, iscsi: {targetPortal: "1.2.3.4", iqn: "iqn.2001-04.com.example:x", lun: 0, secretRef: {name: s-iscsi}}}
      - {name: scale, scaleIO: {gateway: "https://g", system: s, volumeName: v, secretRef: {name: s-scale}}}
      - {name: azure, azureFile: {shareName: x, secretName: s-azure}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 0
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      initContainers:
      - {name: setup, image: x, volumeMounts: [{name: v, mountPath: /init}]}
      - {name: side, image: x, restartPolicy: Always, volumeMounts: [{name: p, mountPath: /side}]}
      containers: [{name: a, image: x, volumeMounts: [{name: v, mountPath: /a}]}]
      imagePullSecrets: [{name: s-pull}]
      volumes:
      - {name: v, secret: {secretName: s-volume, items: [{key: k, path: p}], optional: true}}
      - {name: p, projected: {sources: [{secret: {name: s-projected}}, {secret: {name: s-projected-too}}]}}
      - {name: nobody, secret: {secretName: s-unmounted}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 0 1 1 *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers: [{name: a, image: x, env: [{name: A, valueFrom: {secretKeyRef: {name: s-cron, key: k}}}]}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once}
spec:
  suspend: true
  template:
    spec:
      restartPolicy: Never
      containers: [{name: a, image: x, env: [{name: A, valueFrom: {secretKeyRef: {name: s-job, key: k}}}]}]
`

func TestConsumersOfEveryKind(t *testing.T) {
	c := newCluster(t)
	c.manifest(everything)
	found, err := c.open().Consumers(t.Context())
	if err != nil || len(found.Blind) > 0 {
		t.Fatal(err, found.Blind)
	}
	want := `
cronjob/nightly
  env s-cron/k container a > A
daemonset/each
  driver s-csi/ volume csi > csi.example
  driver s-flex/ volume flex > example/flex
  driver s-ceph/ volume ceph > cephfs
  driver s-rbd/ volume rbd > rbd
  driver s-iscsi/ volume iscsi > iscsi
  driver s-scale/ volume scale > scaleio
  driver s-azure/ volume azure > azurefile
ingress/front
  tls s-tls/  > a.example,b.example
job/once
  env s-job/k container a > A
podtemplate/template
  env s-template/k container a > A
replicationcontroller/old
  env-from s-rc/ container a > P_ optional
serviceaccount/robot
  account s-account/  > 
  pull s-pull/  > 
statefulset/db
  file s-volume/k init container setup > /init optional
  file s-volume/k container a > /a optional
  projected s-projected/ sidecar side > /side
  projected s-projected-too/ sidecar side > /side
  file s-unmounted/  > 
  pull s-pull/  > 
`
	if got := graph(found); got != strings.TrimPrefix(want, "\n") {
		t.Errorf("got\n%s", got)
	}
}

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: secretx-test/busybox:1
        command: [sleep, "3600"]
        env: [{name: A, valueFrom: {secretKeyRef: {name: NAME, key: value}}}]
`

func TestConsumersOfADeployment(t *testing.T) {
	c := newCluster(t)
	c.kubectl("", "create", "secret", "generic", "first", "--from-literal=value=1")
	c.kubectl("", "create", "secret", "generic", "second", "--from-literal=value=2")
	c.manifest(strings.ReplaceAll(web, "NAME", "first"))
	c.kubectl("", "rollout", "status", "deploy/web")
	c.manifest(strings.ReplaceAll(web, "NAME", "second"))
	c.kubectl("", "rollout", "status", "deploy/web")
	var found consumers.Graph
	c.until("the old pod is gone", func() bool {
		var err error
		if found, err = c.open().Consumers(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(found.Consumers) == 2
	})
	if i := slices.IndexFunc(found.Consumers, func(o consumers.Consumer) bool { return o.Kind == "pod" }); i >= 0 {
		found.Consumers[i].Name = "NAME"
	}
	want := `deployment/web
  env second/value container web > A
  env first/value container web > A previous
pod/NAME of deployment/web runs
  env second/value container web > A
`
	if got := graph(found); got != want {
		t.Errorf("got\n%s", got)
	}
	all := look(t, c.open(), target("deploy/web"))
	all[0].Object += " " + all[0].Node
	c.shows(all, `
deployment/web kube1 web
  env second/value in A
  seen A 2
`, "1", "2")
}
