package envelope

import (
	"bytes"
	"crypto/hpke"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// testKey is the same in each process, so that what fuzzing found can be run again.
func testKey(tb testing.TB) hpke.PrivateKey {
	tb.Helper()
	key, err := kem().DeriveKeyPair(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func testJob(tb testing.TB, count int) Job {
	return Job{Run: "RUN", Mode: Values, Count: count, Key: testKey(tb).PublicKey().Bytes()}
}

// write is what the probe would log; a nil body is an unreadable file.
func write(tb testing.TB, job Job, bodies ...[]byte) []byte {
	tb.Helper()
	var log bytes.Buffer
	w, err := NewWriter(&log, job)
	if err != nil {
		tb.Fatal(err)
	}
	for i, body := range bodies {
		kind := Body
		if body == nil {
			kind = Unreadable
		}
		if err := w.Record(i, kind, body); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return log.Bytes()
}

// random are bodies of all kinds of lengths, around those where something ends.
func random(seed uint64, count int) [][]byte {
	r := rand.New(rand.NewPCG(seed, 1))
	lengths := []int{0, 1, 2, 255, 1000, FrameSize - headerSize - 1, FrameSize - headerSize, FrameSize - headerSize + 1, FrameSize, 3*FrameSize + 7}
	bodies := make([][]byte, count)
	for i := range bodies {
		bodies[i] = make([]byte, lengths[r.IntN(len(lengths))])
		for j := range bodies[i] {
			bodies[i][j] = byte(r.Uint32())
		}
	}
	return bodies
}

// read gives the bodies that come out of a log, and fails at once when one of them is wrong.
func read(tb testing.TB, r *Reader, log io.Reader, want [][]byte) (int, error) {
	tb.Helper()
	n := 0
	err := r.Read(log, func(got Record) error {
		n++
		if got.Index >= len(want) {
			tb.Fatalf("a record for index %d of %d", got.Index, len(want))
		}
		if (got.Kind == Unreadable) != (want[got.Index] == nil) || !bytes.Equal(got.Body, want[got.Index]) {
			tb.Fatalf("record %d is wrong", got.Index)
		}
		return nil
	})
	return n, err
}

func TestRoundTrip(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	cases := map[string][][]byte{
		"all bytes":  {all},
		"one byte":   {{0}},
		"empty":      {{}},
		"unreadable": {{1}, nil, {2}},
		"longest":    {make([]byte, MaxBody)},
		"swarm max":  {bytes.Repeat(all, 2000)[:511999], {7}},
	}
	for seed := range uint64(20) {
		cases[fmt.Sprint("random ", seed)] = random(seed, 1+int(seed)*3)
	}
	for name, bodies := range cases {
		t.Run(name, func(t *testing.T) {
			job := testJob(t, len(bodies))
			log := write(t, job, bodies...)
			for shape, stream := range map[string]io.Reader{
				"whole": bytes.NewReader(log), "halves": iotest.HalfReader(bytes.NewReader(log)),
				"with EOF": iotest.DataErrReader(bytes.NewReader(log)),
			} {
				r := NewReader(job, testKey(t))
				if n, err := read(t, r, stream, bodies); err != nil || n != len(bodies) || !r.Done() {
					t.Errorf("%s: %d of %d records, done %v: %v", shape, n, len(bodies), r.Done(), err)
				}
			}
		})
	}
}

// TestDoesNotWaitForTheEnd: a log that is followed stays open.
func TestDoesNotWaitForTheEnd(t *testing.T) {
	bodies := random(1, 5)
	job := testJob(t, len(bodies))
	log := io.MultiReader(bytes.NewReader(write(t, job, bodies...)), iotest.ErrReader(errors.New("read on")))
	if _, err := read(t, NewReader(job, testKey(t)), log, bodies); err != nil {
		t.Error(err)
	}
}

func TestLines(t *testing.T) {
	job := testJob(t, 1)
	for _, length := range []int{0, 1, 1000, 511999, MaxBody} {
		for i, line := range strings.SplitAfter(string(write(t, job, make([]byte, length))), "\n") {
			if len(line) >= maxLine {
				t.Errorf("line %d has %d bytes, Docker cuts at %d", i, len(line), maxLine)
			}
			if strings.Trim(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/ -\n") != "" {
				t.Errorf("line %d has something that a log driver could change", i)
			}
		}
	}
}

// TestLengthsDontShow: what the log looks like from outside depends on the sum alone, roughly.
func TestLengthsDontShow(t *testing.T) {
	shape := func(bodies ...[]byte) (lines []int) {
		for line := range strings.Lines(string(write(t, testJob(t, len(bodies)), bodies...))) {
			lines = append(lines, len(line))
		}
		return lines
	}
	of := func(lengths ...int) (bodies [][]byte) {
		for _, n := range lengths {
			bodies = append(bodies, make([]byte, n))
		}
		return bodies
	}
	same := [][2][][]byte{
		{of(1), of(FrameSize - 2*headerSize)},
		{of(1, 5000, 1), of(2000, 2, 3000)},
		{of(480000), of(500000)},
	}
	for i, pair := range same {
		if a, b := shape(pair[0]...), shape(pair[1]...); !reflect.DeepEqual(a, b) {
			t.Errorf("case %d can be told apart: %v and %v", i, a, b)
		}
	}
	for frames := 1; frames < 100000; frames += 1 + frames/50 {
		padded := padme(frames)
		if padded < frames || float64(padded) > 1.12*float64(frames) {
			t.Errorf("%d frames are padded to %d", frames, padded)
		}
	}
	seen := map[int]bool{}
	for frames := 1; frames <= 4096; frames++ {
		seen[padme(frames)] = true
	}
	if len(seen) > 200 {
		t.Errorf("%d sizes of up to 4096 frames can be told apart", len(seen))
	}
}

// TestCut: a log that ends anywhere gives what is whole in it, and an error.
func TestCut(t *testing.T) {
	bodies := random(3, 6)
	job := testJob(t, len(bodies))
	log := write(t, job, bodies...)
	whole := NewReader(job, testKey(t))
	counting := &countingReader{in: iotest.OneByteReader(bytes.NewReader(log))}
	if _, err := read(t, whole, counting, bodies); err != nil {
		t.Fatal(err)
	}
	for end := 0; end < counting.n; end += 1 + end%37 {
		r := NewReader(job, testKey(t))
		_, err := read(t, r, bytes.NewReader(log[:end]), bodies)
		if !errors.Is(err, ErrIncomplete) || r.Done() {
			t.Fatalf("cut after %d of %d bytes: %v", end, counting.n, err)
		}
		// The same log again, from its start.
		before := r.Next()
		n, err := read(t, r, bytes.NewReader(log), bodies)
		if err != nil || before+n != len(bodies) {
			t.Fatalf("read again after %d bytes: %d and %d records, %v", end, before, n, err)
		}
	}
}

type countingReader struct {
	in io.Reader
	n  int
}

func (c *countingReader) Read(b []byte) (int, error) {
	n, err := c.in.Read(b)
	c.n += n
	return n, err
}

// TestFlip: no changed bit makes a wrong value.
func TestFlip(t *testing.T) {
	bodies := random(4, 3)
	job := testJob(t, len(bodies))
	log := write(t, job, bodies...)
	for at := 0; at < len(log); at += 1 + at%29 {
		for _, bit := range []byte{1, 4, 32} {
			changed := bytes.Clone(log)
			changed[at] ^= bit
			r := NewReader(job, testKey(t))
			n, err := read(t, r, bytes.NewReader(changed), bodies)
			if err == nil && n != len(bodies) || err != nil && r.Done() {
				t.Fatalf("bit %d of byte %d: %d records, done %v, %v", bit, at, n, r.Done(), err)
			}
		}
	}
}

func TestLinesInDisorder(t *testing.T) {
	bodies := random(5, 12)
	job := testJob(t, len(bodies))
	lines := strings.SplitAfter(string(write(t, job, bodies...)), "\n")
	lines = lines[:len(lines)-1]
	other := job
	other.Run = "OTHER"
	foreign := strings.SplitAfter(string(write(t, other, bodies...)), "\n")
	join := func(lines ...string) string { return strings.Join(lines, "") }
	renumbered := strings.Replace(lines[2], " 2 ", " 1 ", 1)
	cases := map[string]struct {
		log  string
		want error
	}{
		"swapped":              {join(lines[0], lines[2], lines[1], join(lines[3:]...)), ErrDamaged},
		"without the first":    {join(lines[1:]...), ErrDamaged},
		"one is missing":       {join(lines[0], lines[1], join(lines[3:]...)), ErrDamaged},
		"another's number":     {join(lines[0], renumbered, join(lines[1:]...)), ErrDamaged},
		"another's lines":      {join(foreign...), ErrIncomplete},
		"another's, renamed":   {strings.ReplaceAll(join(foreign...), "OTHER", "RUN"), ErrDamaged},
		"cut inside":           {join(lines[0], lines[1][:100]+"\n", join(lines[2:]...)), ErrDamaged},
		"doubled":              {join(lines[0], lines[0], lines[1], lines[1], lines[0], join(lines[2:]...)), nil},
		"among others":         {"hello\n" + lines[0] + join(foreign...) + "\n\n" + strings.Repeat("x", 100000) + "\n" + join(lines[1:]...), nil},
		"end of a long line":   {strings.Repeat("x", maxLine) + magic + " RUN 9 AAAA\n" + join(lines...), nil},
		"number not a number":  {strings.Replace(join(lines...), " 1 ", " one ", 1), ErrDamaged},
		"number below zero":    {strings.Replace(join(lines...), " 1 ", " -1 ", 1), ErrDamaged},
		"nothing":              {"", ErrIncomplete},
		"a second one follows": {join(lines...) + strings.ReplaceAll(join(foreign...), "OTHER", "RUN"), nil},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			r := NewReader(job, testKey(t))
			n, err := read(t, r, strings.NewReader(c.log), bodies)
			if !errors.Is(err, c.want) || c.want == nil && n != len(bodies) {
				t.Errorf("%d records, %v", n, err)
			}
			if errors.Is(err, ErrDamaged) {
				if n, again := read(t, r, strings.NewReader(join(lines...)), bodies); again == nil || n != 0 {
					t.Error("it goes on after damage")
				}
			}
		})
	}
}

// TestBound: an answer to one job is no answer to another one.
func TestBound(t *testing.T) {
	bodies := [][]byte{bytes.Repeat([]byte("x"), 32), bytes.Repeat([]byte("y"), 32)}
	job := testJob(t, 2)
	log := write(t, job, bodies...)
	stranger, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, reader := range map[string]*Reader{
		"key":   NewReader(job, stranger),
		"mode":  NewReader(Job{Run: job.Run, Mode: Digests, Count: 2, Key: job.Key, Nonce: []byte("n")}, testKey(t)),
		"count": NewReader(Job{Run: job.Run, Mode: Values, Count: 3, Key: job.Key}, testKey(t)),
		"nonce": NewReader(Job{Run: job.Run, Mode: Values, Count: 2, Key: job.Key, Nonce: []byte("n")}, testKey(t)),
	} {
		if n, err := read(t, reader, bytes.NewReader(log), bodies); !errors.Is(err, ErrDamaged) || n != 0 {
			t.Errorf("another %s: %d records, %v", name, n, err)
		}
	}
	if again := write(t, job, bodies...); bytes.Equal(log, again) {
		t.Error("the same twice: it isn't sealed anew")
	}
	if bytes.Contains(log, []byte("xxxx")) {
		t.Error("a value in the clear")
	}
}

// TestBadStream: a probe that is genuine but wrong is found out.
func TestBadStream(t *testing.T) {
	record := func(kind Kind, index, length int) string {
		var h [headerSize]byte
		h[0] = byte(kind)
		putUint32(h[1:], index)
		putUint32(h[5:], length)
		return string(h[:])
	}
	job := testJob(t, 2)
	for name, stream := range map[string]string{
		"zeros":             strings.Repeat("\x00", 100),
		"index ahead":       record(Body, 1, 0),
		"index again":       record(Body, 0, 0) + record(Body, 0, 0),
		"too long":          record(Body, 0, MaxBody+1),
		"negative length":   record(Body, 0, 1<<32-1),
		"end too early":     record(Body, 0, 0) + record(end, 1, 0),
		"end with a body":   record(Body, 0, 0) + record(Body, 1, 0) + record(end, 2, 1),
		"one too many":      record(Body, 0, 0) + record(Body, 1, 0) + record(Body, 2, 0),
		"error with a body": record(Unreadable, 0, 1) + "x",
		"unknown kind":      record(9, 0, 0),
	} {
		r := NewReader(job, testKey(t))
		if err := r.take([]byte(stream), func(Record) error { return nil }); !errors.Is(err, ErrDamaged) || r.done {
			t.Errorf("%s: %v, done %v", name, err, r.done)
		}
	}
	digests := Job{Run: "RUN", Mode: Digests, Count: 1, Nonce: []byte("n")}
	if err := NewReader(digests, testKey(t)).take([]byte(record(Body, 0, 31)), func(Record) error { return nil }); !errors.Is(err, ErrDamaged) {
		t.Errorf("a digest of 31 bytes: %v", err)
	}
}

func TestEachStops(t *testing.T) {
	bodies := random(6, 4)
	job := testJob(t, len(bodies))
	log := write(t, job, bodies...)
	enough, n := errors.New("enough"), 0
	r := NewReader(job, testKey(t))
	for range 2 {
		err := r.Read(bytes.NewReader(log), func(Record) error { n++; return enough })
		if !errors.Is(err, enough) || n != 1 {
			t.Errorf("after %d calls: %v", n, err)
		}
	}
}

type failingWriter struct{ left int }

func (f *failingWriter) Write(b []byte) (int, error) {
	if f.left--; f.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func TestWriterFails(t *testing.T) {
	job := testJob(t, 1)
	for writes := range 5 {
		w, err := NewWriter(&failingWriter{writes}, job)
		if err == nil {
			_ = w.Record(0, Body, make([]byte, 3*FrameSize))
			err = w.Close()
		}
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("after %d writes: %v", writes, err)
		}
	}
	job.Key = job.Key[1:]
	if _, err := NewWriter(io.Discard, job); !errors.Is(err, ErrArgs) {
		t.Errorf("a bad key: %v", err)
	}
}

func TestArgs(t *testing.T) {
	for _, job := range []Job{
		testJob(t, 1),
		{Run: "R", Mode: Digests, Count: MaxCount, Key: []byte{1, 2}, Nonce: []byte{0, 255}},
		{Run: "R", Mode: Look, Count: 1, Key: []byte{1, 2}, Nonce: []byte{1}, Request: []byte("{}")},
		{Run: "R", Mode: Look, Count: 1, Key: []byte{1, 2}, Nonce: []byte{1}, Request: bytes.Repeat([]byte("r"), MaxRequest)},
	} {
		for _, arg := range job.Args() {
			if len(arg) > maxArg {
				t.Errorf("an argument has %d bytes", len(arg))
			}
		}
		got, err := ParseArgs(job.Args())
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Nonce) == 0 {
			got.Nonce = nil
		}
		if len(got.Request) == 0 {
			got.Request = nil
		}
		if !reflect.DeepEqual(got, job) {
			t.Errorf("%+v became %+v", job, got)
		}
	}
	good := testJob(t, 2).Args()
	look := Job{Run: "R", Mode: Look, Count: 1, Key: []byte{1}, Nonce: []byte{1}, Request: []byte("{}")}.Args()
	changed := func(i int, to string) []string {
		args := append([]string{}, good...)
		args[i] = to
		return args
	}
	for name, c := range map[string]struct {
		args []string
		want error
	}{
		"none":           {nil, ErrArgs},
		"too few":        {good[:5], ErrArgs},
		"too many":       {append(append([]string{}, good...), ""), ErrArgs},
		"version":        {changed(0, "1"), ErrVersion},
		"longer, newer":  {append([]string{"3", "x"}, good...), ErrVersion},
		"run":            {changed(1, ""), ErrArgs},
		"run, blank":     {changed(1, "a b"), ErrArgs},
		"mode":           {changed(2, "clear"), ErrArgs},
		"no nonce":       {changed(2, string(Digests)), ErrArgs},
		"nonce":          {changed(5, "AA"), ErrArgs},
		"count":          {changed(3, "x"), ErrArgs},
		"count 0":        {changed(3, "0"), ErrArgs},
		"count -1":       {changed(3, "-1"), ErrArgs},
		"too much":       {changed(3, strconv.Itoa(MaxCount+1)), ErrArgs},
		"key":            {changed(4, "!"), ErrArgs},
		"no request":     {look[:6], ErrArgs},
		"request":        {append(append([]string{}, look...), "!"), ErrArgs},
		"no nonce, look": {append(append([]string{}, changed(2, string(Look))...), "AAAA"), ErrArgs},
		"long request":   {Job{Run: "R", Mode: Look, Count: 1, Key: []byte{1}, Nonce: []byte{1}, Request: make([]byte, MaxRequest+1)}.Args(), ErrArgs},
	} {
		if _, err := ParseArgs(c.args); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzDecodeLog: whatever the log, what comes out of it is what was put in.
func FuzzDecodeLog(f *testing.F) {
	bodies := [][]byte{[]byte("first"), nil, bytes.Repeat([]byte("long "), 3000), {}}
	job := testJob(f, len(bodies))
	log := write(f, job, bodies...)
	f.Add(log)
	f.Add(log[:len(log)/2])
	f.Add(append([]byte("foreign\n"), log...))
	f.Add([]byte(magic + " RUN 0 \n"))
	f.Add([]byte(magic + " RUN 0 AAAA\n" + magic + " RUN 1 AAAA\n"))
	f.Fuzz(func(t *testing.T, log []byte) {
		r := NewReader(job, testKey(t))
		n, err := read(t, r, bytes.NewReader(log), bodies)
		if (err == nil) != r.Done() || r.Done() && n != len(bodies) {
			t.Errorf("%d records, done %v, %v", n, r.Done(), err)
		}
	})
}

// FuzzDecodeStream: however the stream is cut and whatever is in it, it is taken in the same way.
func FuzzDecodeStream(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\x01x\x02\x00\x00\x00\x01\x00\x00\x00\x00\x04\x00\x00\x00\x02\x00\x00\x00\x00"), 3)
	f.Fuzz(func(t *testing.T, stream []byte, step int) {
		take := func(step int) (records []Record, done bool, err error) {
			r := NewReader(Job{Run: "RUN", Mode: Values, Count: 2}, nil)
			for rest := stream; len(rest) > 0 && err == nil && !r.done; {
				n := min(max(step, 1), len(rest))
				err = r.take(rest[:n], func(got Record) error { records = append(records, got); return nil })
				rest = rest[n:]
			}
			return records, r.done, err
		}
		a, doneA, errA := take(len(stream))
		b, doneB, errB := take(step)
		if !reflect.DeepEqual(a, b) || doneA != doneB || !errors.Is(errB, errA) {
			t.Errorf("%v %v %v in one piece, %v %v %v in pieces of %d", a, doneA, errA, b, doneB, errB, step)
		}
	})
}

// TestLook: what is said of a container may be longer than a secret, and is bound to the request.
func TestLook(t *testing.T) {
	job := Job{Run: "RUN", Mode: Look, Count: 2, Key: testKey(t).PublicKey().Bytes(), Nonce: []byte("n"), Request: []byte("{}")}
	bodies := [][]byte{make([]byte, MaxBody+1), []byte("{}")}
	log := write(t, job, bodies...)
	if n, err := read(t, NewReader(job, testKey(t)), bytes.NewReader(log), bodies); err != nil || n != 2 {
		t.Errorf("%d records: %v", n, err)
	}
	for name, change := range map[string]func(*Job){
		"another request": func(j *Job) { j.Request = []byte("[]") },
		"another mode":    func(j *Job) { j.Mode, j.Request = Digests, nil },
		"another nonce":   func(j *Job) { j.Nonce = []byte("m") },
	} {
		other := job
		change(&other)
		if _, err := read(t, NewReader(other, testKey(t)), bytes.NewReader(log), nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
