//go:build !linux

package main

import "io/fs"

// owners are of use on Linux alone, where the helper runs.
type owners struct{}

func ownersOf(string) owners { return owners{} }

func (owners) of(info fs.FileInfo) (mode uint32, uid, gid int) {
	return uint32(info.Mode().Perm()), 0, 0
}
