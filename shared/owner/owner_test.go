package owner

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAlive(t *testing.T) {
	me := Self()
	if me == "" {
		t.Log("this system doesn't tell processes apart")
		return
	}
	if is, known := Alive(me); !is || !known {
		t.Errorf("I am %v, known %v", is, known)
	}
	machine, process, _ := strings.Cut(me, ".")
	pid, start, _ := strings.Cut(process, ".")
	if is, known := Alive(machine + "." + pid + "." + start + "0"); is || !known {
		t.Errorf("one who had my number before: %v, known %v", is, known)
	}
	for _, who := range []string{"", "elsewhere." + process, machine, machine + "." + pid, machine + ".x." + start, machine + ".../x.1"} {
		if _, known := Alive(who); known {
			t.Errorf("%q is known", who)
		}
	}
	child := exec.Command("cat")
	in, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	number := strconv.Itoa(child.Process.Pid)
	stat, err := os.ReadFile("/proc/" + number + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	other := machine + "." + number + "." + strings.Fields(string(stat))[21]
	if is, known := Alive(other); !is || !known {
		t.Errorf("a child: %v, known %v", is, known)
	}
	_ = in.Close()
	// It ends, and stays in the list of processes until somebody waits for it.
	for range 1000 {
		if is, known := Alive(other); !is && known {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	if is, known := Alive(other); is || !known {
		t.Errorf("one who has ended, and nobody waited: %v, known %v", is, known)
	}
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if is, known := Alive(other); is || !known {
		t.Errorf("one who has ended: %v, known %v", is, known)
	}
}
