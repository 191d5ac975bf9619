package swarm

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"

	"github.com/secretx/secretx/shared/doctor"
)

// examine gives the checks by their names. The clock is that of the fake engine.
func examine(t *testing.T, f *fake, options Options, probe bool) map[string]doctor.Check {
	t.Helper()
	now, err := time.Parse(time.RFC3339, "2026-01-02T03:04:05Z")
	if err != nil {
		t.Fatal(err)
	}
	e := New(func(context.Context) (client.APIClient, error) { return f, nil }, "swarm", options)
	checks := map[string]doctor.Check{}
	for _, c := range e.Examine(t.Context(), doctor.Options{Probe: probe, Now: func() time.Time { return now }, Progress: func(string) {}}) {
		if _, twice := checks[c.Name]; twice {
			t.Errorf("%s is there twice", c.Name)
		}
		if c.State == doctor.Failed && c.Advice == "" {
			t.Errorf("%s has failed, and nothing says what to do: %s", c.Name, c.Detail)
		}
		checks[c.Name] = c
	}
	return checks
}

func twoNodes(f *fake) {
	f.nodeList = func(context.Context) ([]swarm.Node, error) {
		node := func(id string, manager bool) swarm.Node {
			n := swarm.Node{ID: id, Spec: swarm.NodeSpec{Availability: swarm.NodeAvailabilityActive}, Status: swarm.NodeStatus{State: swarm.NodeStateReady}}
			n.Description.Hostname = id
			n.Description.Platform = swarm.Platform{OS: "linux", Architecture: "x86_64"}
			if manager {
				n.ManagerStatus = &swarm.ManagerStatus{Reachability: swarm.ReachabilityReachable}
			}
			return n
		}
		return []swarm.Node{node("node", true), node("far", false)}, nil
	}
}

func TestExamine(t *testing.T) {
	change := func(f *fake, how func(*system.Info)) {
		old := f.info
		f.info = func(ctx context.Context) (system.Info, error) {
			info, err := old(ctx)
			how(&info)
			return info, err
		}
	}
	nodes := func(f *fake, how func([]swarm.Node)) {
		old := f.nodeList
		f.nodeList = func(ctx context.Context) ([]swarm.Node, error) {
			all, err := old(ctx)
			how(all)
			return all, err
		}
	}
	for name, test := range map[string]struct {
		breaks  func(*fake)
		options Options
		check   string
		state   doctor.State
		says    string
	}{
		"unreachable": {func(f *fake) {
			f.info = func(context.Context) (system.Info, error) {
				return system.Info{}, errors.New("dial: permission denied while trying to connect")
			}
		}, Options{}, "connection", doctor.Failed, "not allowed"},
		"old":    {func(f *fake) { f.clientVersion = "1.40" }, Options{}, "version", doctor.Failed, "API 1.41"},
		"clock":  {func(f *fake) { change(f, func(i *system.Info) { i.SystemTime = "2026-01-02T03:06:05Z" }) }, Options{}, "clock", doctor.Warning, "2m0s ahead"},
		"behind": {func(f *fake) { change(f, func(i *system.Info) { i.SystemTime = "2026-01-02T03:03:05Z" }) }, Options{}, "clock", doctor.Warning, "1m0s behind"},
		"inactive": {func(f *fake) {
			change(f, func(i *system.Info) { i.Swarm = swarm.Info{LocalNodeState: swarm.LocalNodeStateInactive} })
		}, Options{}, "swarm mode", doctor.Failed, "not a Swarm manager"},
		"worker": {func(f *fake) {
			change(f, func(i *system.Info) { i.Swarm = swarm.Info{LocalNodeState: swarm.LocalNodeStateActive} })
		}, Options{}, "swarm mode", doctor.Failed, "not a Swarm manager"},
		"locked": {func(f *fake) {
			change(f, func(i *system.Info) { i.Swarm = swarm.Info{LocalNodeState: swarm.LocalNodeStateLocked} })
		}, Options{}, "swarm mode", doctor.Failed, "not a Swarm manager"},
		"no leader": {func(f *fake) {
			f.nodeList = func(context.Context) ([]swarm.Node, error) { return nil, errors.New("the swarm has lost its quorum") }
		}, Options{}, "nodes", doctor.Failed, "quorum"},
		"down":    {func(f *fake) { nodes(f, func(all []swarm.Node) { all[1].Status.State = swarm.NodeStateDown }) }, Options{}, "nodes", doctor.Warning, "far is down"},
		"log":     {func(f *fake) { change(f, func(i *system.Info) { i.Plugins.Log = []string{"json-file", "syslog"} }) }, Options{}, "log driver", doctor.Failed, "no log driver local"},
		"windows": {func(f *fake) { change(f, func(i *system.Info) { i.OSType = "windows" }) }, Options{}, "helper", doctor.Failed, "runs on Linux"},
		"riscv":   {func(f *fake) { change(f, func(i *system.Info) { i.Architecture = "riscv64" }) }, Options{}, "helper", doctor.Failed, "riscv64"},
		"image":   {func(*fake) {}, Options{ProbeImage: "registry/probe:1"}, "helper", doctor.OK, "registry/probe:1"},
		"left": {func(f *fake) {
			f.serviceList = func(context.Context) ([]swarm.Service, error) {
				old := swarm.Service{Spec: swarm.ServiceSpec{Annotations: swarm.Annotations{Labels: map[string]string{ProbeLabel: "x", lifetimeLabel: "1"}}}}
				return []swarm.Service{old}, nil
			}
		}, Options{}, "leftovers", doctor.Warning, "1 probes"},
		"drained": {func(f *fake) {
			f.nodeInspect = func(context.Context, string) (swarm.Node, error) {
				return swarm.Node{Spec: swarm.NodeSpec{Availability: swarm.NodeAvailabilityDrain}}, nil
			}
		}, Options{}, "probe", doctor.Failed, "takes no tasks"},
		"forbidden": {func(*fake) {}, Options{NoProbe: true}, "probe", doctor.Skipped, "--no-probe"},
		"fine":      {func(*fake) {}, Options{}, "probe", doctor.Skipped, "it would make a secret"},
	} {
		f := newFake(t, nil)
		twoNodes(f)
		if got := examine(t, f, Options{}, false); len(got) != 9 || slices.ContainsFunc([]string{"connection", "version", "clock", "swarm mode", "nodes", "log driver", "leftovers"}, func(n string) bool { return got[n].State != doctor.OK }) {
			t.Fatalf("nothing is wrong: %v", got)
		}
		test.breaks(f)
		got := examine(t, f, test.options, false)[test.check]
		if got.State != test.state || !strings.Contains(got.Detail, test.says) || got.State != doctor.OK && got.Advice == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// What is made for a probe is removed, and so is what a killed run has left.
func TestExamineProbes(t *testing.T) {
	contents := map[string][]byte{}
	f := newFake(t, contents)
	twoNodes(f)
	list := f.secretList
	var labels map[string]string
	f.secretCreate = func(_ context.Context, s swarm.SecretSpec) (swarm.SecretCreateResponse, error) {
		contents[s.Name], labels = s.Data, s.Labels
		return swarm.SecretCreateResponse{ID: s.Name}, nil
	}
	var removed []string
	f.secretRemove = func(_ context.Context, id string) error {
		removed = append(removed, id)
		return nil
	}
	f.secretList = func(ctx context.Context, o swarm.SecretListOptions) ([]swarm.Secret, error) {
		if o.Filters.Contains("label") {
			old := swarm.Secret{ID: "old", Spec: swarm.SecretSpec{Annotations: swarm.Annotations{Labels: map[string]string{lifetimeLabel: "1"}}}}
			mine := swarm.Secret{ID: "running", Meta: swarm.Meta{CreatedAt: time.Now()}, Spec: swarm.SecretSpec{Annotations: swarm.Annotations{Labels: jobLabels("x", time.Minute)}}}
			return []swarm.Secret{old, mine}, nil
		}
		return list(ctx, o)
	}
	options := Options{ProbeImage: "registry/probe"}
	got := examine(t, f, options, true)
	for _, node := range []string{"node", "far"} {
		if c := got["probe on "+node]; c.State != doctor.OK {
			t.Errorf("%s: %+v", node, c)
		}
	}
	if len(f.made) != 2 || len(f.removed) != 2 || len(removed) != 2 || removed[0] != "old" || !strings.HasPrefix(removed[1], "secretx-doctor-") {
		t.Errorf("made %v, removed %v and %v", f.made, f.removed, removed)
	}
	if labels[InternalLabel] == "" || labels[ownerLabel] == "" {
		t.Errorf("nothing tells whose it is: %v", labels)
	}
	for name := range contents {
		if s := convert(&swarm.Secret{Spec: swarm.SecretSpec{Annotations: swarm.Annotations{Name: name, Labels: labels}}}); s.Internal == "" {
			t.Error("sync --all would take it along")
		}
	}

	// A job that fails: only here it is a failure, and it leaves nothing.
	removed = nil
	f.taskList = f.tasks(swarm.TaskStatus{State: swarm.TaskStateRejected, Err: "No such image: sha256:helper"})
	f.serviceLogs = func(context.Context, string, container.LogsOptions) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("")), nil
	}
	got = examine(t, f, options, true)
	if c := got["probe on node"]; c.State != doctor.Failed {
		t.Errorf("%+v", c)
	}
	if c := got["probe on far"]; c.State != doctor.Warning || !strings.Contains(c.Detail, "doesn't have the helper") || !strings.Contains(c.Advice, "Can far pull") {
		t.Errorf("%+v", c)
	}
	if len(removed) != 2 {
		t.Errorf("removed %v", removed)
	}
}
