// Package mapping says what a secret of one orchestrator is called and looks like in the other. It
// is pure: names and shapes in, names and shapes out. It imports secret and the standard library.
package mapping

import (
	"crypto/sha256"
	"encoding/base32"
	"regexp"
	"strconv"
	"strings"

	"github.com/secretx/secretx/shared/secret"
)

// Limits of the two orchestrators, in bytes.
const (
	swarmNameLength      = 64
	swarmLargest         = 511_999
	kubernetesNameLength = 253
	kubernetesLargest    = 1 << 20
)

var (
	swarmName     = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$`)
	dnsSubdomain  = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$`)
	kubernetesKey = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)
	notSwarm      = regexp.MustCompile(`[^a-zA-Z0-9-_.]+`)
	notDNS        = regexp.MustCompile(`[^a-z0-9]+`)
	// reserved is how a rewritten name and the name of a version end. A natural name that ends so is
	// rewritten too: this keeps what was rewritten and what was not apart.
	reserved = regexp.MustCompile(`(?:-[a-z2-7]{10}|\.v[0-9]+)$`)
)

// ValidName tells whether an orchestrator takes a name for a secret.
func ValidName(kind secret.Kind, name string) bool {
	if kind == secret.Swarm {
		return len(name) <= swarmNameLength && swarmName.MatchString(name)
	}
	return len(name) <= kubernetesNameLength && dnsSubdomain.MatchString(name)
}

// SwarmNames gives each key of a Kubernetes Secret its name in a Swarm: <secret>.<key>, wherever
// that is a valid name that no other secret and key can have. Otherwise a hash of the names (never
// of a value) is put behind as much of it as fits:
//
//   - a name that is too long or does not begin and end as Swarm wants it
//   - a secret with a dot in its name, since a.b and c would meet a and b.c
//   - keys of one secret that differ only in case, since Swarm takes those for the same; the one
//     without capitals keeps its name
//   - names that end like a hash of ours, or like a version (name.v2)
func SwarmNames(name string, keys []string) map[string]string {
	folded := make(map[string]int, len(keys))
	for _, k := range keys {
		folded[strings.ToLower(k)]++
	}
	names := make(map[string]string, len(keys))
	for _, k := range keys {
		natural := name + "." + k
		lower := strings.ToLower(k)
		if ValidName(secret.Swarm, natural) && !strings.Contains(name, ".") && !reserved.MatchString(natural) &&
			(folded[lower] == 1 || k == lower) {
			names[k] = natural
			continue
		}
		names[k] = hashed(notSwarm.ReplaceAllString(natural, "-"), swarmNameLength, "kubernetes", name, k)
	}
	return names
}

// KubernetesName gives a Swarm secret its name as a Kubernetes Secret: its own where that is a DNS
// subdomain, otherwise a lower-case form of it with a hash of the name. (The key has the Swarm name
// as it is.)
func KubernetesName(name string) string {
	if ValidName(secret.Kubernetes, name) && !reserved.MatchString(name) {
		return name
	}
	return hashed(notDNS.ReplaceAllString(strings.ToLower(name), "-"), kubernetesNameLength, "swarm", name)
}

// VersionName is what version n of a Swarm secret is called: name, name.v2, name.v3 …, shortened
// and with a hash of the name where that would be too long.
func VersionName(name string, n int) string {
	if n <= 1 {
		return name
	}
	suffix := ".v" + strconv.Itoa(n)
	if len(name)+len(suffix) > swarmNameLength {
		name = hashed(name, swarmNameLength-len(suffix), "version", name)
	}
	return name + suffix
}

// hashed cuts a readable name to fit and puts the hash of what it stands for behind it. Fifty bits
// are enough for names that nobody chooses at random, and a collision is found in the plan.
func hashed(readable string, limit int, identity ...string) string {
	h := sha256.New()
	for _, field := range identity {
		h.Write([]byte(strconv.Itoa(len(field)) + ":" + field))
	}
	suffix := "-" + strings.ToLower(base32.StdEncoding.EncodeToString(h.Sum(nil))[:10])
	readable = readable[:min(len(readable), limit-len(suffix))]
	readable = strings.Trim(readable, "-_.")
	if readable == "" {
		readable = "secret"
	}
	return readable + suffix
}
