package owner

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Self names this process so that a later one can tell whether it still runs: MACHINE.PID.START.
func Self() string {
	here, start := machine(), started("self")
	if here == "" || start == "" {
		return ""
	}
	return here + "." + strconv.Itoa(os.Getpid()) + "." + start
}

// Alive tells whether an owner still runs; not known is what can't be seen from here.
func Alive(owner string) (is, known bool) {
	where, process, _ := strings.Cut(owner, ".")
	pid, start, complete := strings.Cut(process, ".")
	if _, err := strconv.Atoi(pid); err != nil || !complete || where == "" || where != machine() {
		return false, false
	}
	switch now := started(pid); {
	case now != "":
		return now == start, true // a number is given to another process later
	default:
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		return false, err == nil && len(stat) > 0 || errors.Is(err, fs.ErrNotExist)
	}
}

// machine tells one boot of one machine, and one PID namespace on it, from all others: in another
// container the same number is another process. What is told of the machine is of no use to others.
func machine() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	digest := sha256.Sum256(append(boot, namespace...))
	return hex.EncodeToString(digest[:8])
}

// started is the time at which a process was started, in ticks since boot; empty when there is none.
// One that has ended and that nobody has waited for yet is none: an init that collects orphans late,
// or never, as in many a container, would keep the jobs of what was killed.
func started(pid string) string {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return ""
	}
	// The command may have blanks and parentheses in it; the start time is the 20th field after it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 || bytes.ContainsAny(fields[0], "ZX") {
		return ""
	}
	return string(fields[19])
}
