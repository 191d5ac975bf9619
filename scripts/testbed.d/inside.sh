#!/usr/bin/env bash
# What runs first in a sandbox: as its process 1, which arranges the mounts and
# becomes idle, and before each component, to leave its record.
set -euo pipefail

# The machine's folders that engines write to without asking. A sandbox has
# empty ones instead.
HIDDEN=(/run /var /opt /tmp)

# record FILE: writes the number, start time and boot of the calling shell, and
# of what it becomes. No subshell may do it: it would record itself.
record() {
	local stat fields boot
	read -r stat </run/host-proc/self/stat
	read -ra fields <<<"${stat##*) }"
	read -r boot </proc/sys/kernel/random/boot_id
	echo "${stat%% *} ${fields[19]} $boot" >"$1.new"
	mv "$1.new" "$1"
}

# mask TEXT FILE: in the sandbox, the file has this text.
mask() {
	local copy=/run/masks/${2//\//-}
	[[ -e $2 ]] || return 0
	mkdir -p /run/masks
	echo "$1" >"$copy"
	mount --bind "$copy" "$2"
}

# arrange NAME FOLDER…: the mounts; the folders stay visible.
arrange() {
	local name=$1 folder hidden fd keep=()
	shift
	hostname "$name" 2>/dev/null || echo "$name" >/proc/sys/kernel/hostname

	# What must stay visible is held open while the hidden folders are covered.
	for folder in "$@"; do
		for hidden in "${HIDDEN[@]}"; do
			if [[ $folder/ == "$hidden"/* ]]; then
				exec {fd}<"$folder"
				keep+=("$fd:$folder")
				break
			fi
		done
	done
	for folder in "${HIDDEN[@]}"; do
		if [[ -d $folder && ! -L $folder ]]; then mount -t tmpfs -o mode=755 testbed "$folder"; fi
	done
	chmod 1777 /tmp
	mkdir -p /var/lib /var/log /var/tmp /var/cache /run/lock /run/docker /run/etc /run/work
	ln -sfn /run /var/run
	for folder in "${keep[@]}"; do
		fd=${folder%%:*}
		folder=${folder#*:}
		mkdir -p "$folder"
		mount --no-canonicalize --rbind "/proc/self/fd/$fd" "$folder"
		exec {fd}<&-
	done

	# /etc may be read, and written without a trace. There is no name server:
	# a look-up fails at once instead of after a long wait.
	mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/work testbed /etc
	rm -f /etc/resolv.conf
	echo 'nameserver 127.0.0.1' >/etc/resolv.conf
	printf '127.0.0.1 localhost %s\n::1 localhost\n' "$name" >/etc/hosts

	# The old /proc tells processes their number outside.
	mkdir /run/host-proc
	mount --bind /proc /run/host-proc
	mount -t proc proc /proc

	# Engines load their AppArmor profile for the whole machine: let them
	# believe that there is none. The kubelet corrects the machine's settings:
	# give it copies that please it already.
	mask N /sys/module/apparmor/parameters/enabled
	mask 1 /proc/sys/vm/overcommit_memory
	mask 0 /proc/sys/vm/panic_on_oom
	mask 10 /proc/sys/kernel/panic
	mask 1 /proc/sys/kernel/panic_on_oops
	mask 1000000 /proc/sys/kernel/keys/root_maxkeys
	mask 25000000 /proc/sys/kernel/keys/root_maxbytes
}

case $1 in
sandbox) # NAME RECORD IDLE FOLDER…
	name=$2 file=$3 idle=$4
	shift 4
	arrange "$name" "$@"
	record "$file"
	exec "$idle"
	;;
component) # RECORD COMMAND…
	record "$2"
	shift 2
	exec "$@"
	;;
esac
