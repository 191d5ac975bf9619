package translate

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Amounts are read exactly: what Kubernetes and docker read.
func TestAmounts(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1e9, "0.5": 5e8, ".5": 5e8, "1.": 1e9, "+1": 1e9, "100m": 1e8, "1u": 1000, "1n": 1, "0.1n": 1, "1e3": 1e12, "1E3": 1e12, "1e-3": 1e6, "2k": 2e12, "9G": 9e18,
		"": -1, "-1": -1, "m": -1, "1\x20": -1, "1x": -1, "NaN": -1, "inf": -1, "0x1": -1, "1_0": -1, "1/2": -1, "1e": -1, "1e+": -1, "1e99": -1, "1e999999999": -1, "10G": -1, "1E": -1, "9999999999999999999": -1, strings.Repeat("9", 500): -1,
	} {
		if got, ok := quantity(text, cpuDigits); got != want && ok || ok != (want >= 0) {
			t.Errorf("%s CPUs are %d, %v", text, got, ok)
		}
	}
	for text, want := range map[string]int64{
		"128974848": 128974848, "129e6": 129e6, "129M": 129e6, "128974848000m": 128974848, "123Mi": 123 << 20, "1Ki": 1024, "1k": 1000, "0.5Gi": 1 << 29, "1G": 1e9, "1e9": 1e9, "1P": 1e15, "1Pi": 1 << 50, "7Ei": 7 << 60, "9E": 9e18, "1m": 1,
		"8Ei": -1, "10E": -1, "1K": -1, "1mi": -1, "1MiB": -1,
	} {
		if got, ok := quantity(text, 0); got != want && ok || ok != (want >= 0) {
			t.Errorf("%s bytes are %d, %v", text, got, ok)
		}
	}
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "512b": 512, "1k": 1024, "1K": 1024, "1kb": 1024, "1KiB": 1024, "512M": 512 << 20, "1.5g": 3 << 29, "50 MB": 50 << 20, "1t": 1 << 40, "1p": 1 << 50,
		"": -1, "-1": -1, "1e9": -1, "x": -1, "1x": -1, "10000p": -1, "${MEMORY}": -1,
	} {
		if got, ok := composeSize(scalar{text: text}); got != want && ok || ok != (want >= 0) {
			t.Errorf("%s are %d bytes to docker, %v", text, got, ok)
		}
	}
	if _, ok := composeCPU(scalar{text: "100m"}); ok {
		t.Error("docker knows thousandths of a CPU")
	}
}

// Whatever is written is read as the same amount.
func TestAmountsAreWrittenExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.Int64Range(0, math.MaxInt64), rapid.Int64Range(0, 1<<40), rapid.Custom(func(t *rapid.T) int64 {
			return rapid.Int64Range(0, 999).Draw(t, "n") * rapid.SampledFrom([]int64{1, 1000, 1024, 1e6, 1 << 20, 1e9, 1 << 30}).Draw(t, "unit")
		})).Draw(t, "amount")
		if got, ok := composeCPU(scalar{text: cpuText(n)}); !ok || got != n {
			t.Fatalf("%d: %s", n, cpuText(n))
		}
		if got, ok := composeSize(scalar{text: dockerSize(n)}); !ok || got != n {
			t.Fatalf("%d: %s", n, dockerSize(n))
		}
		if got, ok := quantity(sizeQuantity(n), 0); !ok || got != n {
			t.Fatalf("%d: %s", n, sizeQuantity(n))
		}
		k := &cluster{w: &Workload{}}
		up := k.countable(resource{key: "cpu"}, "limit", n)
		if got, ok := quantity(cpuQuantity(up), cpuDigits); !ok || got != up || up-n >= 1_000_000 || up-n <= -1_000_000 || up != n && len(k.w.notes) == 0 {
			t.Fatalf("%d: %s", n, cpuQuantity(up))
		}
	})
}
