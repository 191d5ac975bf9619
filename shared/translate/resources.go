package translate

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// Amounts are of what a container runs with: billionths of a CPU, and bytes. 0 is none, and then nobody has to say
// so.
type Amounts struct{ CPU, Memory int64 }

// cpuDigits is how many digits behind the point an amount of CPU has.
const cpuDigits = 9

// The numbers that both sides write. What is longer than anybody writes is none: it is read exactly, and would have
// to be kept.
var (
	quantityText = regexp.MustCompile(`^\+?([0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(n|u|m|k|M|G|T|P|E|[KMGTPE]i|[eE][-+]?[0-9]{1,2})?$`)
	sizeText     = regexp.MustCompile(`^([0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40}) ?([kKmMgGtTpP]?)[iI]?[bB]?$`)
)

var decimalSuffixes = map[string]int{"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}

// binarySuffixes are powers of 1024.
const binarySuffixes = "KMGTPE"

// quantity reads an amount as Kubernetes writes it, in units of so many digits behind the point.
func quantity(text string, digits int) (int64, bool) {
	m := quantityText.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	if ten, known := decimalSuffixes[m[2]]; known {
		return exact(m[1], ten+digits, 0)
	}
	if power := strings.Index(binarySuffixes, m[2][:1]); strings.HasSuffix(m[2], "i") {
		return exact(m[1], digits, power+1)
	}
	ten, err := strconv.Atoi(m[2][1:])
	if err != nil {
		return 0, false
	}
	return exact(m[1], ten+digits, 0)
}

// exact is a number times 10^ten and 1024^power, rounded up as Kubernetes does.
func exact(number string, ten, power int) (int64, bool) {
	n, ok := new(big.Rat).SetString(number + "e" + strconv.Itoa(ten))
	if !ok {
		return 0, false
	}
	whole := new(big.Int).Lsh(n.Num(), uint(10*power))
	whole, rest := whole.QuoRem(whole, n.Denom(), new(big.Int))
	if rest.Sign() > 0 {
		whole.Add(whole, big.NewInt(1))
	}
	return whole.Int64(), whole.IsInt64()
}

// The ways in which an amount is written: by the engine, in a Compose file and in a manifest.

func wholeAmount(s scalar) (int64, bool) {
	n, err := wholeNumber(s)
	return n, err == nil
}

func composeCPU(s scalar) (int64, bool) {
	if strings.Trim(s.text, "0123456789.") != "" {
		return 0, false
	}
	return quantity(s.text, cpuDigits)
}

// composeSize reads bytes as docker does, to which k, K, kb and KiB are all 1024.
func composeSize(s scalar) (int64, bool) {
	m := sizeText.FindStringSubmatch(s.text)
	if m == nil {
		return 0, false
	}
	return exact(m[1], 0, strings.Index(binarySuffixes, strings.ToUpper(m[2]))+min(len(m[2]), 1))
}

func quantityCPU(s scalar) (int64, bool)    { return quantity(s.text, cpuDigits) }
func quantityMemory(s scalar) (int64, bool) { return quantity(s.text, 0) }

// amount reads one. One that nobody can mean is left out: what has secrets is translated all the same.
func (w *Workload) amount(o *object, key string, read func(scalar) (int64, bool)) int64 {
	s, there := o.scalar(key)
	if !there {
		return 0
	}
	n, ok := read(s)
	if !ok || n < 0 {
		w.leave(join(o.at, key) + " (no amount)")
		return 0
	}
	return n
}

// resources reads what a manifest says. Where it has a limit and no request, the API server makes them equal.
func (c *Container) resources(w *Workload, o *object) {
	limits, requests := o.object("limits"), o.object("requests")
	c.Limits = Amounts{w.amount(limits, "cpu", quantityCPU), w.amount(limits, "memory", quantityMemory)}
	c.Requests = c.Limits
	if requests.has("cpu") {
		c.Requests.CPU = w.amount(requests, "cpu", quantityCPU)
	}
	if requests.has("memory") {
		c.Requests.Memory = w.amount(requests, "memory", quantityMemory)
	}
}

// cpuText is a number of CPUs, exactly.
func cpuText(n int64) string {
	text := new(big.Rat).SetFrac64(n, 1_000_000_000).FloatString(cpuDigits)
	return strings.TrimRight(strings.TrimRight(text, "0"), ".")
}

// cpuQuantity has thousandths of a CPU, which is all that Kubernetes knows.
func cpuQuantity(n int64) string {
	const milli = 1_000_000
	if n%(1000*milli) == 0 {
		return decimal(n / (1000 * milli))
	}
	return decimal(n/milli) + "m"
}

// sizeOf is the shortest way to write a number of bytes, with the suffixes of units that are powers of step.
func sizeOf(n, step int64, suffixes []string) string {
	shortest := decimal(n)
	for _, suffix := range suffixes {
		if n == 0 || n%step != 0 {
			break
		}
		n /= step
		shortest = decimal(n) + suffix
	}
	return shortest
}

// dockerSize: its units are powers of 1024.
func dockerSize(n int64) string { return sizeOf(n, 1024, []string{"K", "M", "G"}) }

func sizeQuantity(n int64) string {
	binary, tens := sizeOf(n, 1024, []string{"Ki", "Mi", "Gi"}), sizeOf(n, 1000, []string{"k", "M", "G"})
	if len(tens) < len(binary) {
		return tens
	}
	return binary
}

// resource is one of them on its way to the other side.
type resource struct {
	key, flag, compose, said string // what it is called
	limit, request           int64
}

func (c *Container) each() []resource {
	return []resource{
		{"cpu", "cpu", "cpus", "CPU", c.Limits.CPU, c.Requests.CPU},
		{"memory", "memory", "memory", "memory", c.Limits.Memory, c.Requests.Memory},
	}
}

// inSwarm and inKubernetes are an amount as each side writes it.
func (r resource) inSwarm(n int64) string {
	if r.key == "cpu" {
		return cpuText(n)
	}
	return dockerSize(n)
}

func (r resource) inKubernetes(n int64) string {
	if r.key == "cpu" {
		return cpuQuantity(n)
	}
	return sizeQuantity(n)
}

// resources are those of a pod's container.
func (k *cluster) resources(c *Container) Fields {
	var limits, requests Fields
	for _, r := range c.each() {
		limit, request := k.countable(r, "limit", r.limit), k.countable(r, "request", r.request)
		if limit > 0 && request > limit {
			k.w.note("its request of "+r.said+" is "+r.inKubernetes(limit), "Kubernetes takes no more than the limit, and the service reserves "+r.inSwarm(request))
			request = limit
		}
		if limit > 0 {
			limits = append(limits, Field{r.key, r.inKubernetes(limit)})
			k.pair("--limit-"+r.flag+" "+r.inSwarm(r.limit), "resources.limits:\n  "+r.key+": "+r.inKubernetes(limit))
		}
		switch {
		case request > 0:
			requests = append(requests, Field{r.key, r.inKubernetes(request)})
			k.pair("--reserve-"+r.flag+" "+r.inSwarm(r.request), "resources.requests:\n  "+r.key+": "+r.inKubernetes(request))
		case limit > 0:
			// Unsaid, the request would be as high as the limit, and a Swarm reserves nothing.
			requests = append(requests, Field{r.key, "0"})
			k.pair("", "resources.requests:\n  "+r.key+": 0")
		}
	}
	return Fields{}.with("limits", limits).with("requests", requests)
}

// countable is an amount that Kubernetes can count: of a CPU, thousandths.
func (k *cluster) countable(r resource, what string, n int64) int64 {
	const milli = 1_000_000
	if r.key != "cpu" || n%milli == 0 {
		return n
	}
	// The largest number of CPUs can't be rounded up, and nobody has as many.
	up := min(n/milli, 1<<63/milli-1)*milli + milli
	k.w.note("its "+what+" of CPU is "+cpuQuantity(up), "Kubernetes counts thousandths, and the service has "+cpuText(n))
	return up
}

// What an engine takes at least: less makes it refuse the service, or each of its tasks.
var leastLimits, leastRequests = Amounts{CPU: 10_000_000, Memory: 6 << 20}, Amounts{CPU: 1_000_000, Memory: 4 << 20}

// resources gives a task what a pod's container has: each with its flag, and as a part of a Compose file.
func (s *service) resources() (flags [][]string, compose Fields) {
	var limits, reservations Fields
	s.c.Limits, s.c.Requests = s.atLeast("limit", s.c.Limits, leastLimits), s.atLeast("request", s.c.Requests, leastRequests)
	for _, r := range s.c.each() {
		if r.limit > 0 {
			text := r.inSwarm(r.limit)
			flags, limits = append(flags, []string{"--limit-" + r.flag, text}), append(limits, Field{r.compose, text})
			s.pair("--limit-"+r.flag+" "+text, "resources.limits:\n  "+r.key+": "+r.inKubernetes(r.limit))
		}
		if r.request > 0 {
			text := r.inSwarm(r.request)
			flags, reservations = append(flags, []string{"--reserve-" + r.flag, text}), append(reservations, Field{r.compose, text})
			s.pair("--reserve-"+r.flag+" "+text, "resources.requests:\n  "+r.key+": "+r.inKubernetes(r.request))
		}
	}
	return flags, Fields{}.with("limits", limits).with("reservations", reservations)
}

func (s *service) atLeast(what string, have, least Amounts) Amounts {
	up := have
	if have.CPU > 0 && have.CPU < least.CPU {
		up.CPU = least.CPU
		s.w.note("its "+what+" of CPU is "+cpuText(up.CPU), "an engine takes no less, and the pod has "+cpuText(have.CPU))
	}
	if have.Memory > 0 && have.Memory < least.Memory {
		up.Memory = least.Memory
		s.w.note("its "+what+" of memory is "+dockerSize(up.Memory), "an engine takes no less, and the pod has "+sizeQuantity(have.Memory))
	}
	return up
}
