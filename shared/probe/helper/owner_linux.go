package main

import (
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// owners turns the owners of files into what they are called within a container.
type owners struct{ users, groups []stretch }

// stretch is one line of a uid_map: that many IDs from outside on are those from inside on.
type stretch struct{ inside, outside, length int }

// ownersOf a process in our own user namespace are as we see them: both lists are empty.
func ownersOf(process string) owners {
	theirs, err := os.Readlink(process + "/ns/user")
	ours, bad := os.Readlink("/proc/self/ns/user")
	if err != nil || bad != nil || theirs == ours {
		return owners{}
	}
	return owners{users: stretches(process + "/uid_map"), groups: stretches(process + "/gid_map")}
}

func stretches(file string) (all []stretch) {
	content, _ := os.ReadFile(file)
	for line := range strings.Lines(string(content)) {
		var n [3]int
		for i, field := range strings.Fields(line) {
			if i < len(n) {
				n[i], _ = strconv.Atoi(field)
			}
		}
		all = append(all, stretch{n[0], n[1], n[2]})
	}
	return all
}

// nobody is what the kernel calls an ID that has none in a namespace.
const nobody = 65534

func translate(id int, all []stretch) int {
	if len(all) == 0 {
		return id
	}
	for _, s := range all {
		if id >= s.outside && id-s.outside < s.length {
			return s.inside + id - s.outside
		}
	}
	return nobody
}

// of gives the permission bits and the owner of a file.
func (o owners) of(info fs.FileInfo) (mode uint32, uid, gid int) {
	stat, is := info.Sys().(*syscall.Stat_t)
	if !is {
		return uint32(info.Mode().Perm()), 0, 0
	}
	return stat.Mode & 0o7777, translate(int(stat.Uid), o.users), translate(int(stat.Gid), o.groups)
}
