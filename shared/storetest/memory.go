// Package storetest has what tests of everything above the endpoints stand on: an endpoint in
// memory that fails when told to, and the contract suite that shows it to behave like the real
// ones. It imports secret, endpoint and the standard library; only tests import it.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/secretx/secretx/shared/endpoint"
	"github.com/secretx/secretx/shared/secret"
)

// Limits of the orchestrators.
const (
	maxSwarm       = 511_999 // bytes of one Swarm secret
	maxKubernetes  = 1 << 20 // bytes of all values of one Kubernetes Secret
	maxAnnotations = 1 << 18 // bytes of all annotations of one object
)

// keySecret and keyType are what kube calls the Secret that keeps the fingerprint key.
const (
	keySecret = "secretx-fingerprint-key"
	keyType   = "secretx.github.io/fingerprint-key"
)

// Op is a method of an endpoint.
type Op string

// The methods that are counted and that hooks see.
const (
	Place          Op = "place"
	List           Op = "list"
	Values         Op = "values"
	Digests        Op = "digests"
	Create         Op = "create"
	Update         Op = "update"
	Remove         Op = "remove"
	FingerprintKey Op = "fingerprint key"
)

// Call is one call of a method: the names are those of the secrets it was asked about.
type Call struct {
	Op    Op
	Names []string
}

// Hook runs around a call, outside of any lock, so that it may look at the endpoint, change it, or
// wait. An error that it returns is what the caller gets.
type Hook func(context.Context, Call) error

// Memory is an endpoint in memory. It is safe for concurrent use.
type Memory struct {
	place endpoint.Place

	mu            sync.Mutex
	objects       map[string]*object // by index(name)
	last          int                // UID and version are taken from one counter
	calls         map[Op]int
	before, after Hook
	watches       map[int]chan endpoint.Change
}

// object is a secret as an API server would keep it: a mark is no more than labels or annotations.
type object struct {
	secret.Secret // Labels, Mark and the values in Keys stand below instead
	data          map[string][]byte
	labels        map[string]string
	annotations   map[string]string
	ours          map[string]bool // labels that an update may remove, in Kubernetes
}

// KeyedMemory is a Memory that also keeps a fingerprint key.
type KeyedMemory struct{ *Memory }

var (
	_ endpoint.Endpoint = (*Memory)(nil)
	_ endpoint.Watcher  = (*Memory)(nil)
	_ endpoint.Endpoint = (*KeyedMemory)(nil)
	_ endpoint.Keeper   = (*KeyedMemory)(nil)
)

// NewSwarm makes an empty endpoint that behaves like the Swarm behind a Docker context: one key per
// secret, values that a list doesn't show, names that differ in more than case, content that can't
// be updated. Its identity follows from the name, its UIDs are numbered.
func NewSwarm(name string) *Memory {
	return newMemory(endpoint.Place{Kind: secret.Swarm, Identity: "swarm:id-of-" + name, Name: "swarm:" + name})
}

// NewKubernetes makes an empty endpoint that behaves like a namespace of Kubernetes: many keys,
// values that a list shows, types and immutable Secrets.
func NewKubernetes(namespace string) *KeyedMemory {
	return &KeyedMemory{newMemory(endpoint.Place{Kind: secret.Kubernetes, Identity: "kubernetes:id-of-" + namespace, Name: "kubernetes:/" + namespace, Namespace: namespace})}
}

func newMemory(place endpoint.Place) *Memory {
	return &Memory{place: place, objects: map[string]*object{}, calls: map[Op]int{}, watches: map[int]chan endpoint.Change{}}
}

// Before sets what runs before each call, instead of what was set earlier; an error keeps the call
// from happening.
func (m *Memory) Before(hook Hook) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = hook
}

// After sets what runs after each call that succeeded; an error hides that it did, as a connection
// does that breaks before the answer.
func (m *Memory) After(hook Hook) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.after = hook
}

// Calls tells how often a method was called, whether or not it succeeded.
func (m *Memory) Calls(op Op) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls[op]
}

// ResetCalls starts counting anew.
func (m *Memory) ResetCalls() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.calls)
}

// Put is somebody else's hand: it makes or overwrites a secret without checks, hooks or counting,
// just as s says, including Internal, Damaged and Unreadable. An overwritten Kubernetes Secret keeps
// its UID; in a Swarm, where content can't change, it is another secret.
func (m *Memory) Put(s secret.Secret) secret.Secret {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.newObject(s)
	o.ours = nil
	if before := m.objects[m.index(s.Name)]; before != nil && m.place.Kind == secret.Kubernetes {
		o.UID = before.UID
	}
	m.objects[m.index(s.Name)] = o
	m.tell(o.Name, o)
	return m.view(o, true)
}

// Get shows a secret with its values, whatever the kind, without hooks or counting.
func (m *Memory) Get(name string) (secret.Secret, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o := m.objects[m.index(name)]
	if o == nil || o.Name != name {
		return secret.Secret{}, false
	}
	return m.view(o, true), true
}

// Names are those of all secrets, sorted, without hooks or counting.
func (m *Memory) Names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := []string{}
	for _, o := range m.objects {
		names = append(names, o.Name)
	}
	slices.Sort(names)
	return names
}

// Delete is somebody else's hand, too.
func (m *Memory) Delete(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, m.index(name))
	m.tell(name, nil)
}

// Place implements endpoint.Reader.
func (m *Memory) Place(ctx context.Context) (endpoint.Place, error) {
	return run(ctx, m, Place, nil, func() (endpoint.Place, error) { return m.place, nil })
}

// List implements endpoint.Reader.
func (m *Memory) List(ctx context.Context, names []string) ([]secret.Secret, error) {
	return run(ctx, m, List, names, func() ([]secret.Secret, error) {
		var all []secret.Secret
		for _, o := range m.objects {
			if len(names) == 0 || slices.Contains(names, o.Name) {
				all = append(all, m.view(o, m.place.Kind == secret.Kubernetes))
			}
		}
		return all, nil
	})
}

// ListNames is List without keys, for completion.
func (m *Memory) ListNames(ctx context.Context) ([]secret.Secret, error) {
	all, err := m.List(ctx, nil)
	for i := range all {
		all[i].Keys = nil
	}
	return all, err
}

// Values implements endpoint.Reader.
func (m *Memory) Values(ctx context.Context, refs []secret.Ref, each func(secret.Ref, secret.Value) error) error {
	values, err := run(ctx, m, Values, namesOf(refs), func() (map[secret.Ref]secret.Value, error) { return m.read(refs) })
	if err != nil {
		return err
	}
	for ref, v := range values {
		if err := each(ref, v); err != nil {
			return err
		}
	}
	return nil
}

// Digests implements endpoint.Reader.
func (m *Memory) Digests(ctx context.Context, refs []secret.Ref, nonce []byte) (map[secret.Ref]secret.Digest, error) {
	return run(ctx, m, Digests, namesOf(refs), func() (map[secret.Ref]secret.Digest, error) {
		values, err := m.read(refs)
		digests := make(map[secret.Ref]secret.Digest, len(values))
		for ref, v := range values {
			digests[ref] = v.Digest(nonce)
		}
		return digests, err
	})
}

// Create implements endpoint.Writer.
func (m *Memory) Create(ctx context.Context, s secret.Secret) (secret.Secret, error) {
	return run(ctx, m, Create, []string{s.Name}, func() (secret.Secret, error) {
		o := m.newObject(s)
		if err := m.check(o); err != nil {
			return secret.Secret{}, m.fail(Create, s.Name, endpoint.ErrInvalid, err)
		}
		if m.objects[m.index(s.Name)] != nil {
			return secret.Secret{}, m.fail(Create, s.Name, endpoint.ErrTaken, nil)
		}
		m.objects[m.index(s.Name)] = o
		m.tell(o.Name, o)
		return m.view(o, m.place.Kind == secret.Kubernetes), nil
	})
}

// Update implements endpoint.Writer.
func (m *Memory) Update(ctx context.Context, old, s secret.Secret) (secret.Secret, error) {
	return run(ctx, m, Update, []string{s.Name}, func() (secret.Secret, error) {
		was := m.objects[m.index(old.Name)]
		if was == nil || was.UID != old.UID || was.Version != old.Version {
			return secret.Secret{}, m.fail(Update, old.Name, endpoint.ErrMoved, nil)
		}
		o := m.newObject(s)
		o.UID = was.UID
		o.Internal, o.Unreadable = was.Internal, was.Unreadable
		var err error
		switch {
		case s.Name != old.Name:
			err = errors.New("the name of a secret can't change")
		case m.place.Kind == secret.Swarm:
			o.Keys, o.data = was.Keys, was.data
		case o.Type != was.Type:
			err = errors.New("the type of a Secret can't change")
		case was.Immutable && (!o.Immutable || !maps.EqualFunc(o.data, was.data, bytes.Equal)):
			err = errors.New("the Secret is immutable")
		default:
			for k, v := range was.labels {
				if _, set := o.labels[k]; !set && !was.ours[k] {
					o.labels[k] = v
				}
			}
		}
		if err = errors.Join(err, m.check(o)); err != nil {
			return secret.Secret{}, m.fail(Update, old.Name, endpoint.ErrInvalid, err)
		}
		m.objects[m.index(s.Name)] = o
		m.tell(o.Name, o)
		return m.view(o, m.place.Kind == secret.Kubernetes), nil
	})
}

// Remove implements endpoint.Writer.
func (m *Memory) Remove(ctx context.Context, s secret.Secret) error {
	_, err := run(ctx, m, Remove, []string{s.Name}, func() (struct{}, error) {
		o := m.objects[m.index(s.Name)]
		if o == nil {
			return struct{}{}, nil
		}
		stale := m.place.Kind == secret.Kubernetes && s.Version != "" && s.Version != o.Version
		if o.UID != s.UID || stale {
			return struct{}{}, m.fail(Remove, s.Name, endpoint.ErrMoved, nil)
		}
		delete(m.objects, m.index(s.Name))
		m.tell(s.Name, nil)
		return struct{}{}, nil
	})
	return err
}

// mostChanges are told before a watch that nobody reads from has missed something.
const mostChanges = 1000

// tell runs under the lock.
func (m *Memory) tell(name string, o *object) {
	c := endpoint.Change{Name: name}
	if o != nil {
		c.UID, c.Version = o.UID, o.Version
	}
	for _, w := range m.watches {
		select {
		case w <- c:
		default:
			panic("a watch is too slow")
		}
	}
}

// Break ends the connection of all watches: they miss what happens, begin anew, and say so.
func (m *Memory) Break(meanwhile func()) {
	m.mu.Lock()
	broken := m.watches
	m.watches = map[int]chan endpoint.Change{}
	m.mu.Unlock()
	meanwhile()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watches = broken
	for _, w := range broken {
		w <- endpoint.Change{}
	}
}

// Watch implements endpoint.Watcher.
func (m *Memory) Watch(ctx context.Context, _ []string, each func(endpoint.Change), _ func(error)) {
	changes := make(chan endpoint.Change, mostChanges)
	m.mu.Lock()
	m.last++
	id := m.last
	m.watches[id] = changes
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.watches, id)
	}()
	each(endpoint.Change{})
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-changes:
			each(c)
		}
	}
}

// FingerprintKey implements endpoint.Keeper.
func (m *KeyedMemory) FingerprintKey(ctx context.Context, create bool) (secret.FingerprintKey, error) {
	return run(ctx, m.Memory, FingerprintKey, nil, func() (secret.FingerprintKey, error) {
		o := m.objects[keySecret]
		if o == nil && !create {
			return secret.FingerprintKey{}, nil
		}
		if o == nil {
			o = m.newObject(secret.Secret{
				Name: keySecret, Type: keyType, Internal: "secretx's own",
				Keys: []secret.Key{{Name: "key", Value: secret.NewFingerprintKey().Value()}},
			})
			m.objects[keySecret] = o
		}
		key, err := secret.ParseFingerprintKey(secret.NewValue(bytes.Clone(o.data["key"])))
		if err != nil {
			return key, m.fail(FingerprintKey, keySecret, nil, err)
		}
		return key, nil
	})
}

// run does what all calls have in common around do, which runs under the lock.
func run[T any](ctx context.Context, m *Memory, op Op, names []string, do func() (T, error)) (T, error) {
	var none T
	call := Call{Op: op, Names: slices.Clone(names)}
	m.mu.Lock()
	m.calls[op]++
	before, after := m.before, m.after
	m.mu.Unlock()
	if before != nil {
		if err := before(ctx, call); err != nil {
			return none, err
		}
	}
	if err := ctx.Err(); err != nil {
		return none, m.fail(op, strings.Join(names, " "), nil, err)
	}
	m.mu.Lock()
	result, err := do()
	m.mu.Unlock()
	if err == nil && after != nil {
		err = after(ctx, call)
	}
	if err != nil {
		return none, err
	}
	return result, nil
}

func (m *Memory) fail(op Op, object string, reason, cause error) error {
	return &endpoint.Error{Op: string(op) + " secret", Object: object, Place: m.place.Name, Reason: reason, Cause: cause}
}

// index is what a name is unique by: swarmkit ignores case.
func (m *Memory) index(name string) string {
	if m.place.Kind == secret.Swarm {
		return strings.ToLower(name)
	}
	return name
}

// newObject copies s into an object of its own, with a fresh UID and version.
func (m *Memory) newObject(s secret.Secret) *object {
	m.last++
	o := &object{Secret: s, data: map[string][]byte{}, labels: map[string]string{}, ours: map[string]bool{}}
	o.UID = fmt.Sprintf("%s-uid-%d", m.place.Identity, m.last)
	o.Version = strconv.Itoa(m.last)
	for _, k := range s.Keys {
		o.data[k.Name] = append([]byte{}, k.Value.Reveal()...)
	}
	maps.Copy(o.labels, s.Labels)
	if m.place.Kind == secret.Swarm {
		o.Type, o.Immutable = "", false
		maps.Copy(o.labels, s.OwnLabels())
	} else {
		if o.Type == "" {
			o.Type = secret.Opaque
		}
		if s.Mark != nil {
			o.labels[secret.AnnotationPrefix+secret.MirrorLabel] = "true"
		}
		o.annotations = s.OwnAnnotations()
	}
	for k := range o.labels {
		o.ours[k] = true
	}
	o.Labels, o.Mark, o.Lineage = nil, nil, secret.Lineage{}
	return o
}

// view is what the API would show of an object; nothing in it is shared with the object.
func (m *Memory) view(o *object, withValues bool) secret.Secret {
	s := o.Secret
	s.Labels = secret.UserLabels(o.labels)
	s.Keys = nil
	for name, b := range o.data {
		k := secret.Key{Name: name}
		if withValues {
			k.Value = secret.NewValue(bytes.Clone(b))
		}
		s.Keys = append(s.Keys, k)
	}
	secret.SortKeys(s.Keys)
	if s.Damaged != "" {
		return s
	}
	if m.place.Kind == secret.Swarm {
		s.ReadLabels(o.labels)
	} else {
		s.ReadAnnotations(o.annotations)
	}
	return s
}

// read finds the values of refs; it runs under the lock.
func (m *Memory) read(refs []secret.Ref) (map[secret.Ref]secret.Value, error) {
	values := make(map[secret.Ref]secret.Value, len(refs))
	for _, ref := range refs {
		o := m.objects[m.index(ref.Name)]
		if o == nil || o.UID != ref.UID {
			return nil, m.fail(Values, ref.Name, endpoint.ErrMoved, nil)
		}
		b, found := o.data[ref.Key]
		if !found {
			return nil, m.fail(Values, ref.Name, endpoint.ErrMoved, fmt.Errorf("it has no key %q", ref.Key))
		}
		if o.Unreadable != "" {
			return nil, m.fail(Values, ref.Name, endpoint.ErrProbe, errors.New(o.Unreadable))
		}
		values[ref] = secret.NewValue(append([]byte{}, b...))
	}
	return values, nil
}

func namesOf(refs []secret.Ref) []string {
	names := make([]string, len(refs))
	for i, ref := range refs {
		names[i] = ref.Name
	}
	return names
}

var (
	swarmName     = regexp.MustCompile(`^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$`)
	dnsSubdomain  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	dataKey       = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)
	qualifiedName = regexp.MustCompile(`^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	labelValue    = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
)

// required are keys without which the API server takes no Secret of a type.
var required = map[string][]string{
	"kubernetes.io/tls":              {"tls.crt", "tls.key"},
	"kubernetes.io/ssh-auth":         {"ssh-privatekey"},
	"kubernetes.io/dockercfg":        {".dockercfg"},
	"kubernetes.io/dockerconfigjson": {".dockerconfigjson"},
}

// check is what the API would have against an object.
func (m *Memory) check(o *object) error {
	if m.place.Kind == secret.Swarm {
		switch {
		case len(o.Name) > 64 || !swarmName.MatchString(o.Name):
			return errors.New("the name isn't valid")
		case len(o.Keys) != 1 || o.Keys[0].Name != o.Name:
			return errors.New("a Swarm secret has one key, named like itself")
		case len(o.data[o.Name]) < 1 || len(o.data[o.Name]) > maxSwarm:
			return fmt.Errorf("a Swarm secret has 1 to %d bytes", maxSwarm)
		}
		return nil
	}
	if len(o.Name) > 253 || !dnsSubdomain.MatchString(o.Name) {
		return errors.New("the name isn't a DNS subdomain")
	}
	total := 0
	for k, v := range o.data {
		if len(k) > 253 || !dataKey.MatchString(k) || k == "." || strings.HasPrefix(k, "..") {
			return fmt.Errorf("the key %q isn't valid", k)
		}
		total += len(v)
	}
	if total > maxKubernetes {
		return fmt.Errorf("a Secret has at most %d bytes", maxKubernetes)
	}
	for _, k := range required[o.Type] {
		if _, found := o.data[k]; !found {
			return fmt.Errorf("a Secret of type %s needs the key %q", o.Type, k)
		}
	}
	for k, v := range o.labels {
		if !qualifiedName.MatchString(k) || !labelValue.MatchString(v) {
			return fmt.Errorf("the label %q isn't valid", k)
		}
	}
	total = 0
	for k, v := range o.annotations {
		total += len(k) + len(v)
	}
	if total > maxAnnotations {
		return fmt.Errorf("annotations have at most %d bytes", maxAnnotations)
	}
	return nil
}
