// Command contents lists the files in an archive, tar.gz or zip, by name.
package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: contents ARCHIVE")
		os.Exit(2)
	}
	names, err := list(os.Args[1])
	if err != nil {
		fmt.Fprintf(os.Stderr, "contents: %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
	slices.Sort(names)
	fmt.Println(strings.Join(names, "\n"))
}

func list(file string) (names []string, err error) {
	if strings.HasSuffix(file, ".zip") {
		z, err := zip.OpenReader(file)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		for _, f := range z.File {
			names = append(names, f.Name)
		}
		return names, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	unzipped, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	for t := tar.NewReader(unzipped); ; {
		header, err := t.Next()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		names = append(names, header.Name)
	}
}
