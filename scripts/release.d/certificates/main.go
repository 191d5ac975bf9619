// Command certificates writes the public certificate authorities, as Mozilla lists them, into a file in
// PEM. They come out of a module that is pinned in go.sum, so that every machine writes the same.
package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "certificates:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: certificates FILE")
	}
	var out bytes.Buffer
	for root := range bundle.Roots() {
		// PEM can't say up to when an authority is trusted: those that are distrusted by now stay out.
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(args[0]), 0o755); err != nil {
		return err
	}
	return os.WriteFile(args[0], out.Bytes(), 0o644)
}
