# shellcheck shell=bash
# shellcheck disable=SC2153 # NAME is set in common.sh
# Sandboxes: each engine, and Kubernetes, lives in namespaces of its own
# (processes, mounts, network, host name). Process 1 of a sandbox is `idle`;
# when it ends the kernel ends everything else in there and takes the mounts,
# the network and its links along. That is what makes `down` complete,
# whatever crashed before.
#
# The sandboxes are joined by a bridge that lives in a sandbox too ("lan"). The
# only thing outside is one link into it, for the API server's address: no
# bridge and no packet filter rule is ever made on the machine itself.

RUN=$STATE/run
LOGS=$STATE/log
HOST_LINK=stb-$ID

# --- processes ---------------------------------------------------------------

# A record holds a process's number, its start time and the boot it ran in:
# numbers are given out again, the three together are not.
boot_id() { cat /proc/sys/kernel/random/boot_id; }

# start_time PID: in clock ticks after boot; fails if it is gone or a zombie.
start_time() {
	local stat fields
	{ read -r stat </proc/"$1"/stat; } 2>/dev/null || return 1
	# The name in parentheses may hold anything; what follows has no surprises.
	read -ra fields <<<"${stat##*) }"
	[[ ${fields[0]} != [ZX] ]] || return 1
	printf '%s' "${fields[19]}"
}

# recorded FILE: prints the process's number if it still runs.
recorded() {
	local pid start boot
	{ read -r pid start boot <"$1"; } 2>/dev/null || return 1
	[[ $boot == "$(boot_id)" && $start == "$(start_time "$pid")" ]] || return 1
	printf '%s' "$pid"
}

# end_process FILE SIGNAL SECONDS: true once it is gone.
end_process() {
	local pid
	pid=$(recorded "$1") || return 0
	kill -s "$2" "$pid" 2>/dev/null || true
	until_true "$3" not recorded "$1"
}

not() { ! "$@"; }

# --- control groups ----------------------------------------------------------

# cgroup_roots prints every hierarchy: one with version 2, several with 1.
cgroup_roots() { awk '($3 == "cgroup" || $3 == "cgroup2") { print $2 }' /proc/self/mounts; }

cgroup_check() {
	local root made=0
	[[ -n $(cgroup_roots) ]] || die "needs control groups: none are mounted below /sys/fs/cgroup"
	for root in $(cgroup_roots); do
		if [[ -d $root/$NAME ]]; then
			made=1
		elif mkdir "$root/$NAME" 2>/dev/null; then
			made=1
			rmdir "$root/$NAME"
		fi
	done
	((made)) || die "needs to make control groups, but /sys/fs/cgroup does not let it (a container without privileges?)"
	# Version 2 in a container: its own processes are in the way.
	root=/sys/fs/cgroup
	if [[ -f $root/cgroup.type && -f $root/cgroup.subtree_control ]] && ! grep -qw memory $root/cgroup.subtree_control &&
		! echo +memory 2>/dev/null >$root/cgroup.subtree_control; then
		die "needs control groups with a memory controller, but $root does not hand it down (a container?)"
	fi
}

# cgroup_make PATH: in every hierarchy, able to hold processes and children.
cgroup_make() {
	local root part dir c controllers=()
	for root in $(cgroup_roots); do
		dir=$root
		for part in $(tr / ' ' <<<"$1"); do
			if [[ -f $dir/cgroup.subtree_control ]]; then
				read -ra controllers <"$dir/cgroup.controllers" || true
				for c in "${controllers[@]}"; do
					echo "+$c" 2>/dev/null >"$dir/cgroup.subtree_control" || true
				done
			fi
			dir=$dir/$part
			[[ -d $dir ]] || mkdir "$dir" 2>/dev/null || continue 2
			# Version 1: no process may enter before these two are set.
			for c in cpuset.cpus cpuset.mems; do
				if [[ -f $dir/cgroup.clone_children && -f $dir/$c && -z $(cat "$dir/$c") ]]; then
					cat "$dir/../$c" >"$dir/$c"
				fi
			done
		done
	done
}

# cgroup_enter: moves the calling shell, and what it becomes, out of the
# session it was started from.
cgroup_enter() {
	local root
	for root in $(cgroup_roots); do
		echo "$BASHPID" 2>/dev/null >"$root/$NAME/daemons/cgroup.procs" || true
	done
}

cgroup_processes() {
	local root
	for root in $(cgroup_roots); do
		[[ -d $root/$NAME ]] || continue
		find "$root/$NAME" -name cgroup.procs -exec cat {} + 2>/dev/null || true
	done | sort -nu
}

cgroup_remove() {
	local root
	for root in $(cgroup_roots); do
		[[ -d $root/$NAME ]] || continue
		find "$root/$NAME" -depth -type d -exec rmdir {} + 2>/dev/null || true
		[[ ! -d $root/$NAME ]] || return 1
	done
}

# --- sandboxes ---------------------------------------------------------------

sandbox_alive() { recorded "$RUN/$1.sandbox"; }

# sandbox_create NAME ADDRESS: starts it, or only joins it to the bridge again.
sandbox_create() {
	local name=$1 pid log=$LOGS/$1.sandbox.log
	if ! sandbox_alive "$name" >/dev/null; then
		rm -rf "${RUN:?}/$name.sandbox" "${RUN:?}/$name"
		mkdir -p "$RUN/$name" "$LOGS"
		# Where it stands now may not be visible in there.
		cp "$LIB/inside.sh" "$RUN/$name/inside.sh"
		(
			cd /
			cgroup_enter
			exec setsid unshare --mount --uts --net --pid --fork --propagation private \
				bash "$LIB/inside.sh" sandbox "$name" "$RUN/$name.sandbox" "$IDLE" "$STATE" "$CACHE" "${CNI:-$STATE}"
		) </dev/null >"$log" 2>&1 9>&- &
		until_true 15 sandbox_alive "$name" || {
			show_log "$log" 5
			fail "the sandbox $name did not start, see $log"
		}
	fi
	pid=$(sandbox_alive "$name")
	nsenter -t "$pid" -n ip link set lo up
	[[ $# -lt 2 ]] || lan_join "$pid" "$name" "$2"
}

# lan_up: the bridge, and the machine's link to it.
lan_up() {
	local pid
	sandbox_create lan
	pid=$(sandbox_alive lan)
	if ! nsenter -t "$pid" -n ip link show br0 >/dev/null 2>&1; then
		nsenter -t "$pid" -n ip link add br0 type bridge
	fi
	nsenter -t "$pid" -n ip link set br0 up
	if ! ip link show "$HOST_LINK" >/dev/null 2>&1; then
		ip link add "$HOST_LINK" address "$(hardware_address 1)" type veth peer name host netns "$pid"
	fi
	ip addr replace "$(address 1)/24" dev "$HOST_LINK"
	ip link set "$HOST_LINK" up
	nsenter -t "$pid" -n ip link set host master br0 up
}

lan_join() {
	local pid=$1 name=$2 ip=$3 lan
	lan=$(sandbox_alive lan)
	if ! nsenter -t "$pid" -n ip link show eth0 >/dev/null 2>&1; then
		nsenter -t "$lan" -n ip link add "$name" type veth \
			peer name eth0 address "$(hardware_address "${ip##*.}")" netns "$pid"
	fi
	nsenter -t "$lan" -n ip link set "$name" master br0 up
	nsenter -t "$pid" -n ip addr replace "$ip/24" dev eth0
	nsenter -t "$pid" -n ip link set eth0 up
}

# sandbox_run NAME COMMAND…: a short command in a sandbox.
sandbox_run() {
	local pid
	pid=$(sandbox_alive "$1") || fail "the sandbox $1 does not run"
	shift
	(cd / && cgroup_enter && exec nsenter -t "$pid" -m -u -n -p -- "$@") 9>&-
}

# component_start SANDBOX COMPONENT COMMAND…: a process that stays, with an
# environment of its own: no proxy, no DOCKER_HOST, no KUBECONFIG gets in. It
# finds those in the folder PROGRAMS, if set, before the distribution's.
component_start() {
	local sandbox=$1 component=$2
	local record=$RUN/$1/$2.pid log=$LOGS/$1.$2.log
	shift 2
	rm -f "$record"
	sandbox_run "$sandbox" setsid -f env -i HOME=/run LANG=C.UTF-8 \
		PATH="${PROGRAMS:+$PROGRAMS:}"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		bash "$RUN/$sandbox/inside.sh" component "$record" "$@" </dev/null >>"$log" 2>&1
	until_true 5 test -e "$record" || fail "$sandbox: $component did not start, see $log"
}

component_alive() { recorded "$RUN/$1/$2.pid" >/dev/null; }

# component_stop SANDBOX COMPONENT SECONDS
component_stop() {
	end_process "$RUN/$1/$2.pid" TERM "$3" || end_process "$RUN/$1/$2.pid" KILL 5
	rm -f "$RUN/$1/$2.pid"
}

# await SANDBOX COMPONENT SECONDS COMMAND…: until the component does its work;
# gives up at once when it ended.
await() {
	local sandbox=$1 component=$2 end=$((SECONDS + $3 * PATIENCE)) log=$LOGS/$1.$2.log
	shift 3
	until "$@" >/dev/null 2>&1; do
		if ! component_alive "$sandbox" "$component" || ((SECONDS >= end)); then
			show_log "$log" 10
			fail "$sandbox: $component is not ready, see $log (scripts/testbed down clears up)"
		fi
		sleep 0.1
	done
}

# sandboxes_end: ends all processes of this testbed, those too whose records
# are lost: they are in its control groups.
sandboxes_end() {
	local record pid end=$((SECONDS + 20))
	for record in "$RUN"/*.sandbox; do
		[[ -e $record ]] || continue
		end_process "$record" KILL 10 || say "a process of $record does not end"
	done
	while [[ -n $(cgroup_processes) ]]; do
		((SECONDS < end)) || fail "these processes do not end: $(cgroup_processes | tr '\n' ' ')"
		for pid in $(cgroup_processes); do kill -KILL "$pid" 2>/dev/null || true; done
		sleep 0.2
	done
	until_true 10 cgroup_remove || say "control groups named $NAME could not be removed"
	# It went away with the bridge's sandbox, unless that never held it.
	if ip link show "$HOST_LINK" >/dev/null 2>&1; then ip link del "$HOST_LINK"; fi
}

# --- addresses ---------------------------------------------------------------

address() { printf '%s.%s' "$(<"$STATE/subnet")" "$1"; }

# hardware_address LAST: the same for the same address, so that whoever comes
# back after a crash is found at once, not when its neighbours' caches expire.
hardware_address() { printf '02:74:%s:%s:%s:%02x' "${ID:0:2}" "${ID:2:2}" "${ID:4:2}" "$1"; }

# to_number A.B.C.D
to_number() {
	local a b c d
	IFS=. read -r a b c d <<<"$1"
	printf '%s' $(((a << 24) + (b << 16) + (c << 8) + d))
}

# subnet_user A.B.C: prints the route that overlaps with A.B.C.0/24, if any.
subnet_user() {
	local first last net bits low
	first=$(to_number "$1.0")
	last=$((first + 255))
	while read -r net; do
		bits=${net#*/}
		[[ $net == */* ]] || bits=32
		((bits > 0)) || continue
		low=$(to_number "${net%/*}")
		low=$((low & ~((1 << (32 - bits)) - 1)))
		if ((low <= last && low + (1 << (32 - bits)) - 1 >= first)); then
			printf '%s' "$net"
			return 0
		fi
	done < <(ip -4 route show table all | grep -v " dev $HOST_LINK " |
		awk '{ for (i = 1; i <= 2; i++) if ($i ~ /^[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+(\/[0-9]+)?$/ && (i == 1 || $1 !~ /^[0-9]/)) { print $i; break } }')
	return 1
}

# subnet_check: before anything is made, chooses a network of 256 addresses that
# no route leads to. It is kept: the swarm knows its managers by address.
subnet_check() {
	local wanted=${SECRETX_TESTBED_SUBNET:-} user candidate offset
	have ip || return 0 # then there is no testbed yet, and iproute2 comes first
	if [[ -s $STATE/subnet ]]; then
		candidate=$(<"$STATE/subnet")
		[[ -z $wanted || $wanted == "$candidate.0/24" ]] ||
			die "the testbed already uses $candidate.0/24: 'down' first, for another SECRETX_TESTBED_SUBNET"
		if user=$(subnet_user "$candidate"); then
			die "the testbed's network $candidate.0/24 overlaps with the route $user: 'down', then 'up', chooses another"
		fi
		return
	fi
	if [[ -n $wanted ]]; then
		[[ $wanted =~ ^((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}0/24$ ]] ||
			die "SECRETX_TESTBED_SUBNET must look like 10.9.8.0/24, not $wanted"
		candidate=${wanted%.0/24}
		if user=$(subnet_user "$candidate"); then
			die "the network $wanted overlaps with the route $user: choose another in SECRETX_TESTBED_SUBNET"
		fi
		echo "$candidate" >"$STATE/subnet"
		return
	fi
	for offset in {0..9}; do
		for candidate in 10.213 172.30 192.168 198.18; do
			candidate=$candidate.$(((16#${ID:4:2} + offset) % 256))
			if ! subnet_user "$candidate" >/dev/null; then
				echo "$candidate" >"$STATE/subnet"
				return
			fi
		done
	done
	die "found no free private network: name one in SECRETX_TESTBED_SUBNET"
}
