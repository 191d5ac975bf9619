// Command helper is the probe: the program inside the job that reads secrets where a Swarm shows
// them, in the container of a task, or that looks into other containers through their processes,
// and answers sealed. It is started by secretx alone; what it is
// told stands in its arguments and is public, what it answers is said in packages envelope and inside.
//
// It ends with one of the exit codes of package envelope and never says anything about a value in
// the clear, not even its length.
package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io"
	"os"

	"github.com/secretx/secretx/shared/probe/envelope"
)

func main() {
	os.Exit(run(os.Args[1:], envelope.Directory, os.Stdout))
}

func run(args []string, directory string, out io.Writer) int {
	job, err := envelope.ParseArgs(args)
	switch {
	case errors.Is(err, envelope.ErrVersion):
		return envelope.ExitVersion
	case err != nil:
		return envelope.ExitArgs
	}
	w, err := envelope.NewWriter(out, job)
	switch {
	case errors.Is(err, envelope.ErrArgs):
		return envelope.ExitArgs
	case err != nil:
		return envelope.ExitWrite
	}
	if job.Mode == envelope.Look {
		return look(job, w)
	}
	buffer := make([]byte, envelope.MaxBody+1) // the same for all, so that few copies of a value come to be
	for i := range job.Count {
		kind, body := read(directory+"/"+envelope.File(i), buffer)
		if kind == envelope.Body && job.Mode == envelope.Digests {
			mac := hmac.New(sha256.New, job.Nonce)
			mac.Write(body)
			body = mac.Sum(nil)
		}
		if err := w.Record(i, kind, body); err != nil {
			return envelope.ExitWrite
		}
	}
	clear(buffer)
	if err := w.Close(); err != nil {
		return envelope.ExitWrite
	}
	return envelope.ExitDone
}

// read gives the content of a file as a part of buffer.
func read(path string, buffer []byte) (envelope.Kind, []byte) {
	f, err := os.Open(path)
	if err != nil {
		return envelope.Unreadable, nil
	}
	defer f.Close()
	n, err := io.ReadFull(f, buffer)
	switch {
	case err == nil:
		return envelope.TooLong, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return envelope.Body, buffer[:n]
	}
	return envelope.Unreadable, nil
}
