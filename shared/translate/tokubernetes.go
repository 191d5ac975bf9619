package translate

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// cluster is a workload of a Swarm on its way to Kubernetes.
type cluster struct {
	w       *Workload
	names   *naming
	options Options
	t       Translated
	kind    string
	name    string
	// What the secrets take: volumes of the pod, and mounts and variables of the container.
	volumes, mounts, secretEnv []any
	env                        []any
	fsGroup                    *int64
	// Labels that were left out, and those that are annotations.
	unlabelled, annotated []string
}

func (r *Result) toKubernetes(workloads []Workload, names *naming, options Options) {
	taken := map[string]int{}
	for i := range workloads {
		w := &workloads[i]
		k := &cluster{w: w, names: names, options: options, t: Translated{Object: w.Object()}}
		k.kind = k.chooseKind()
		k.name = k.dnsName(w.Name)
		if name := free(k.name, taken, longestName); name != k.name {
			w.note(w.Name+" is called "+name, k.name+" is what another one is called already")
			k.name = name
		}
		k.pair("docker service create", "kind: "+k.kind)
		k.pair("--name "+quote(swarmName(w)), "metadata.name: "+k.name)
		if len(w.Containers) > 0 {
			k.container(&w.Containers[0])
		}
		switch options.Form {
		case Manifests:
			k.t.Documents = k.manifests(len(workloads) > 1)
		case JSONPatch:
			k.t.Target, k.t.Operations = k.target(), k.jsonPatch()
		default:
			k.t.Target = k.target()
			k.t.Documents = []Fields{k.strategicPatch()}
		}
		r.finish(w, &k.t)
	}
}

func (k *cluster) pair(swarm, kubernetes string) {
	k.t.Pieces = append(k.t.Pieces, Piece{Swarm: lines(swarm), Kubernetes: lines(kubernetes)})
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

func (k *cluster) chooseKind() string {
	w := k.w
	switch {
	case w.Mode == Global:
		k.always("DaemonSet")
		return "DaemonSet"
	case w.Mode == GlobalJob:
		w.note("a job on each node becomes one that runs once", "Kubernetes has no job that runs once on each node")
		w.Replicas, w.Parallel = 1, 0
		return "Job"
	case w.Mode == Job:
		return "Job"
	case w.Restart != Always && w.Replicas == 1:
		return "Pod"
	}
	k.always("Deployment")
	return "Deployment"
}

// always: what keeps up a number of pods starts them again whatever their exit code.
func (k *cluster) always(kind string) {
	if k.w.Restart != Always {
		k.w.note("its containers are always started again", fmt.Sprintf("a %s knows no restart condition %s", kind, k.w.Restart))
	}
	if k.w.Attempts > 0 {
		k.w.note("its containers are started again without a limit", fmt.Sprintf("a %s has none, and the service has one of %d", kind, k.w.Attempts))
	}
}

var notLabel = regexp.MustCompile(`[^a-z0-9]+`)

// dnsName makes a name of a workload or container.
func (k *cluster) dnsName(name string) string {
	dns := dnsLabel(name)
	if dns != name {
		k.w.note(name+" is called "+dns, "a name in Kubernetes is of lower-case letters, digits and -")
	}
	return dns
}

func dnsLabel(name string) string {
	label := strings.Trim(notLabel.ReplaceAllString(lower(name), "-"), "-")
	if label != "" && label[0] <= '9' {
		label = "s-" + label // a Service has to begin with a letter
	}
	if len(label) > longestName {
		label = strings.Trim(label[:longestName], "-")
	}
	return or(label, "unnamed")
}

// longestName is how long the name of a service, a container or a volume may be; longestStack leaves some of it, and
// shortStack is what the name of a stack should have.
const (
	longestName  = 63
	longestStack = 50
	shortStack   = 20
)

// free gives a name, or with a number behind it one that isn't taken, no longer than may be.
func free(name string, taken map[string]int, longest int) string {
	unique := name
	for taken[unique] > 0 {
		taken[name]++
		number := "-" + decimal(int64(taken[name]))
		unique = strings.Trim(name[:min(len(name), longest-len(number))], "-_.") + number
	}
	taken[unique]++
	return unique
}

func (k *cluster) container(c *Container) {
	k.pair(quote(c.Image), "image: "+c.Image)
	k.environment(c)
	k.files(c)
}

func (k *cluster) environment(c *Container) {
	for _, v := range c.Env {
		switch {
		case v.From != nil:
			to := k.names.targets[*v.From]
			entry := Fields{{"name", v.Name}, {"valueFrom", Fields{{"secretKeyRef", Fields{{"name", to.Secret}, {"key", to.Key}}}}}}
			k.secretEnv = append(k.secretEnv, entry)
			k.pair("--secret source="+v.From.Secret+" (for the shell that sets $"+v.Name+")", fmt.Sprintf("env: name: %s\nvalueFrom.secretKeyRef:\n  name: %s, key: %s", v.Name, to.Secret, to.Key))
		case v.Unset:
			k.w.note("$"+v.Name+" is set to nothing", "Kubernetes can't take a variable of the image away")
			k.env = append(k.env, Fields{{"name", v.Name}, {"value", ""}})
		case !variableName.MatchString(v.Name):
			k.w.note("the variable "+v.Name+" was left out", "Kubernetes takes no such name")
		default:
			if !oldVariableName.MatchString(v.Name) {
				k.w.note("the variable "+v.Name+" needs Kubernetes 1.32 or newer", "before, names of variables were of letters, digits and -_. alone")
			}
			if strings.Contains(strings.ReplaceAll(v.Value, escapedTemplate, ""), "{{") {
				k.w.note("$"+v.Name+" stands as it is", "Kubernetes fills in no templates: {{ }} of a Swarm has no form")
			}
			value := unexpanded(strings.ReplaceAll(v.Value, escapedTemplate, "{{"))
			k.env = append(k.env, Fields{{"name", v.Name}, {"value", value}})
			k.pair("--env "+quote(v.Name+"="+v.Value)+pointer(c.Files, v), "env: name: "+v.Name+"\n     value: "+value)
		}
	}
}

// pointer marks, for people, a variable that holds the path of a secret's file.
func pointer(files []File, v Var) string {
	if !path.IsAbs(v.Value) {
		return ""
	}
	at := path.Clean(v.Value)
	for _, f := range files {
		if at == f.Path {
			return "\n(the path of the file of " + f.Ref.String() + ")"
		}
	}
	return ""
}

var (
	variableName    = regexp.MustCompile(`^[ -<>-~]+$`)
	oldVariableName = regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]*$`)
)

// files makes a volume of each directory that files go to.
func (k *cluster) files(c *Container) {
	if len(c.Files) == 0 {
		return
	}
	files := slices.DeleteFunc(slices.Clone(c.Files), k.unmountable)
	c.Files = files
	if len(files) == 0 {
		return
	}
	k.owners(c)
	files = slices.Clone(c.Files)
	used := map[string]int{}
	for _, d := range directories(files) {
		k.volume(d.path, d.files, used)
	}
}

// unmountable tells files at paths that no volume can give, and says so.
func (k *cluster) unmountable(f File) bool {
	dir, name := path.Split(f.Path)
	switch {
	case strings.Contains(dir, ":") || strings.Contains(name, ":") && !ownDirectory(path.Clean(dir)):
		k.w.note(f.Path+" was left out", "Kubernetes mounts nothing at a path with a colon")
	case strings.Contains(f.Path, "/.."):
		k.w.note(f.Path+" was left out", "Kubernetes takes no name in a volume that begins with ..")
	default:
		return false
	}
	return true
}

// directory is one that a volume stands for.
type directory struct {
	path  string
	files []File
}

// directories are those that volumes stand for, in the order of their files: none is within another, since nothing
// can be mounted within a volume of secrets.
func directories(files []File) []*directory {
	holds := map[string]bool{}
	for _, f := range files {
		holds[path.Dir(f.Path)] = true
	}
	var all []*directory
	at := map[string]*directory{}
	for _, f := range files {
		// The uppermost one that is a volume: in one that every image has, files are mounted by themselves.
		home := path.Dir(f.Path)
		for i := 1; i < len(home); i++ {
			if above := home[:i]; home[i] == '/' && holds[above] && !shared(above) {
				home = above
				break
			}
		}
		d := at[home]
		if d == nil {
			d = &directory{path: home}
			at[home] = d
			all = append(all, d)
		}
		d.files = append(d.files, f)
	}
	return all
}

// shared tells directories in which every image has something.
func shared(dir string) bool {
	switch dir {
	case "/", "/run", "/var", "/var/run", "/tmp", "/root", "/home", "/opt", "/srv", "/app", "/mnt", "/media":
		return true
	}
	for _, top := range []string{"/bin", "/sbin", "/lib", "/lib64", "/usr", "/etc", "/boot", "/dev", "/proc", "/sys"} {
		if dir == top {
			return true
		}
	}
	for _, below := range []string{"/usr/", "/etc/ssl", "/etc/pki", "/etc/nginx", "/etc/apache2", "/lib/", "/bin/", "/sbin/", "/dev/", "/proc/", "/sys/", "/var/lib", "/var/log"} {
		if strings.HasPrefix(dir, below) {
			return true
		}
	}
	return false
}

// ownDirectory tells those in which no image has anything.
func ownDirectory(dir string) bool {
	return dir == swarmDirectory || strings.HasPrefix(dir, swarmDirectory+"/") || dir == "/var"+swarmDirectory || strings.HasPrefix(dir, "/var"+swarmDirectory+"/")
}

// volume makes one of the files in a directory, and says how it is mounted.
func (k *cluster) volume(dir string, files []File, used map[string]int) {
	name := dnsLabel(strings.TrimPrefix(dir, "/"))
	if dir == "/" {
		name = "root"
	}
	name = free(name, used, longestName)
	alone := k.alone(dir, files)
	usual := usualMode(files)
	var secrets []string
	items := map[string][]any{}
	for _, f := range files {
		to := k.names.targets[f.Ref]
		if !slices.Contains(secrets, to.Secret) {
			secrets = append(secrets, to.Secret)
		}
		item := Fields{{"key", to.Key}, {"path", strings.TrimPrefix(strings.TrimPrefix(f.Path, dir), "/")}}
		if f.Mode != usual {
			item = append(item, Field{"mode", octal(f.Mode)})
		}
		items[to.Secret] = append(items[to.Secret], item)
	}
	volume := Fields{{"name", name}}
	if len(secrets) == 1 {
		volume = append(volume, Field{"secret", Fields{{"secretName", secrets[0]}, {"items", items[secrets[0]]}, {"defaultMode", octal(usual)}}})
	} else {
		var sources []any
		for _, s := range secrets {
			sources = append(sources, Fields{{"secret", Fields{{"name", s}, {"items", items[s]}}}})
		}
		volume = append(volume, Field{"projected", Fields{{"sources", sources}, {"defaultMode", octal(usual)}}})
	}
	k.volumes = append(k.volumes, volume)
	if !alone {
		k.mounts = append(k.mounts, Fields{{"name", name}, {"mountPath", dir}, {"readOnly", true}})
	}
	for i, f := range files {
		within := strings.TrimPrefix(strings.TrimPrefix(f.Path, dir), "/")
		to := k.names.targets[f.Ref]
		right := fmt.Sprintf("volumes[%s]\n  secret: %s\n  items: key: %s, path: %s\n  mode: %04o", name, to.Secret, to.Key, within, f.Mode)
		if alone {
			k.mounts = append(k.mounts, Fields{{"name", name}, {"mountPath", f.Path}, {"subPath", within}, {"readOnly", true}})
			right += fmt.Sprintf("\nvolumeMounts[%s]\n  mountPath: %s\n  subPath: %s", name, f.Path, within)
		} else if i == 0 {
			right += fmt.Sprintf("\nvolumeMounts[%s]\n  mountPath: %s", name, dir)
		}
		k.pair("--secret "+quote(secretFlag(f.Ref.Secret, f)), right)
	}
}

// alone decides whether files are mounted one by one, and says what that costs.
func (k *cluster) alone(dir string, files []File) bool {
	if dir == "/" {
		k.w.note("files in / are mounted by themselves (subPath), and keep the value that they have when the pod starts", "a volume can't be mounted there")
		return true
	}
	if ownDirectory(dir) {
		return false
	}
	switch k.options.Mount {
	case MountDir:
		k.w.note(dir+" is mounted as a whole", "what the image has there is hidden (--mount directory)")
		return false
	case MountFile:
		k.w.note("in "+dir+", files are mounted by themselves (subPath), and keep the value that they have when the pod starts", "--mount file")
		return true
	}
	switch {
	case len(files) == 1:
		k.w.note(files[0].Path+" is mounted by itself (subPath), and keeps the value that it has when the pod starts",
			"a volume at "+dir+" would hide what else the image has there; if that is nothing, --mount directory follows the secret")
		return true
	case shared(dir):
		k.w.note("in "+dir+", files are mounted by themselves (subPath), and keep the value that they have when the pod starts",
			"a volume there would hide what every image has in it")
		return true
	}
	k.w.note(dir+" is mounted as a whole", "so that its files follow their secrets; what the image has there is hidden, and --mount file would leave it to be seen")
	return false
}

func usualMode(files []File) uint32 {
	count := map[uint32]int{}
	for _, f := range files {
		count[f.Mode]++
	}
	best := files[0].Mode
	for _, f := range files {
		if count[f.Mode] > count[best] || count[f.Mode] == count[best] && f.Mode < best {
			best = f.Mode
		}
	}
	return best
}

// owners: files of a volume of secrets are root's. Where others should be able to read them, their group can.
func (k *cluster) owners(c *Container) {
	var owned []string
	needed := false
	var group int64
	for i := range c.Files {
		f := &c.Files[i]
		if f.Mode&^0o777 != 0 {
			k.w.note(fmt.Sprintf("%s has the mode %04o", f.Path, f.Mode&0o777), "Kubernetes takes no more than the permissions")
			f.Mode &= 0o777
		}
		if (f.UID == "0" || f.UID == "") && (f.GID == "0" || f.GID == "") {
			continue
		}
		owned = append(owned, f.Path)
		if f.Mode&0o004 != 0 {
			continue
		}
		needed = true
		for _, id := range []string{f.GID, f.UID} {
			if n, err := strconv.ParseInt(id, 10, 64); group == 0 && err == nil && n > 0 && n < 1<<31 {
				group = n
			}
		}
	}
	slices.SortFunc(owned, cmp.Compare[string])
	switch files := strings.Join(owned, ", "); {
	case len(owned) == 0:
	case !needed:
		k.w.note(files+": the owner is root", "files of a Secret have no owner of their own in Kubernetes; all may read it, as in the Swarm")
	case group == 0:
		k.w.note(files+": the owner is root", "files of a Secret have no owner of their own in Kubernetes, and this one is no number: set the pod's fsGroup")
	default:
		k.fsGroup = &group
		var all []string
		for _, f := range c.Files {
			all = append(all, f.Path)
		}
		k.w.note(fmt.Sprintf("%s: the owner is root, the group %d, and the group may read (fsGroup)", strings.Join(all, ", "), group),
			"files of a Secret have no owner of their own in Kubernetes; fsGroup is that of all the pod's volumes, and its processes are in it")
	}
}
