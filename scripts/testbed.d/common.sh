# shellcheck shell=bash
# shellcheck disable=SC2034 # the other parts use what is set here
# What every part of the testbed uses: messages, processes that take long,
# the lock, root, and the checks made before anything is touched.

# State is one folder. What a second `up` should not build again lies in the
# cache, which `down` keeps.
DEFAULT_STATE=/var/lib/secretx-testbed
STATE=$(realpath -m -- "${SECRETX_TESTBED_DIR:-$DEFAULT_STATE}")
CACHE=$(realpath -m -- "${SECRETX_TESTBED_CACHE:-$STATE/cache}")

# Every waiting time is multiplied by this; for machines that are slow.
PATIENCE=${SECRETX_TESTBED_PATIENCE:-1}

# Everything that has a name outside the folder (control groups, one network
# link) carries this one, so that two testbeds never meet.
ID=$(printf '%s' "$STATE" | cksum | awk '{ printf "%06x", $1 % 16777216 }')
NAME=secretx-testbed-$ID

say() { printf 'testbed: %s\n' "$*" >&2; }

# die MESSAGE: the request or the machine is not fit; nothing was changed.
die() {
	say "$*"
	exit 2
}

# fail MESSAGE: something that was started did not do what it should.
fail() {
	say "$*"
	exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

elapsed() {
	local s=$((SECONDS - $1))
	if ((s < 60)); then printf '%ds' "$s"; else printf '%dm%02ds' $((s / 60)) $((s % 60)); fi
}

# attempt LOG COMMAND…: runs a function that stops at its first failing step,
# its output in a file, and sets RC. It must not stand in a condition, nor must
# its callers: bash would then ignore the failing steps.
attempt() {
	local log=$1
	shift
	mkdir -p "$(dirname "$log")"
	RC=0
	# A process group of its own, so that the end of this command ends it all.
	set -m
	"$@" >"$log" 2>&1 </dev/null 9>&- &
	set +m
	# shellcheck disable=SC2064 # the process of now
	trap "kill -- -$! 2>/dev/null; exit 130" INT TERM HUP
	watch_job "$!" || RC=$?
	trap - INT TERM HUP
	if ((RC != 0)); then show_log "$log" 20; fi
}

# long LABEL LOG COMMAND…: an attempt that may take minutes: says what it does,
# and gives a sign of life every 30 seconds.
long() {
	local from=$SECONDS
	say "$1"
	shift
	attempt "$@"
	if ((RC == 0 && SECONDS - from >= 10)); then say "  done in $(elapsed "$from")"; fi
}

watch_job() {
	local from=$SECONDS shown=$SECONDS
	while kill -0 "$1" 2>/dev/null; do
		sleep 0.1
		if ((SECONDS - shown >= 30)); then
			shown=$SECONDS
			say "  … $(elapsed "$from")"
		fi
	done
	wait "$1"
}

show_log() { tail -n "$2" "$1" | cut -c -300 | sed 's/^/  | /' >&2; }

# until_true SECONDS COMMAND…: repeats a command until it succeeds.
until_true() {
	local end=$((SECONDS + $1 * PATIENCE))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return 1
		sleep 0.1
	done
}

# need_root ARGS…: the testbed makes namespaces and control groups. Whoever is
# not root becomes it through sudo, and keeps the settings that matter to Go.
need_root() {
	((EUID != 0)) || return 0
	have sudo || die "must run as root (there is no sudo either)"
	local options=() keep=() name value
	if sudo -n true 2>/dev/null; then
		options=(-n)
	elif ! [[ -t 0 && -t 2 ]]; then
		die "must run as root: sudo asks for a password and there is no terminal"
	fi
	for name in $(compgen -e); do
		case $name in
		PATH | HTTP_PROXY | HTTPS_PROXY | NO_PROXY | http_proxy | https_proxy | no_proxy | SECRETX_TESTBED* | GOFLAGS)
			keep+=("$name=${!name}") ;;
		esac
	done
	if find_go; then
		for name in GOPATH GOCACHE GOMODCACHE GOPROXY GOSUMDB GONOSUMDB GOPRIVATE GOTOOLCHAIN; do
			value=$(go env "$name" 2>/dev/null) && keep+=("$name=$value")
		done
	fi
	exec sudo "${options[@]}" -- env "${keep[@]}" "$SELF" "$@"
}

# owner prints the numeric user and group that may use what the testbed offers:
# who called sudo, at last. Root itself takes it from nobody.
owner() {
	if [[ ${SUDO_UID:-0} != 0 ]]; then
		printf '%s:%s' "$SUDO_UID" "${SUDO_GID:-$SUDO_UID}"
	else
		cat "$STATE/owner" 2>/dev/null || printf '0:0'
	fi
}

# as_owner COMMAND…: what fills Go's caches runs as whoever owns them, also
# under sudo.
as_owner() {
	if [[ ${SUDO_UID:-0} == 0 ]]; then
		"$@"
		return
	fi
	local home
	home=$(getent passwd "$SUDO_UID" | cut -d: -f6)
	setpriv --reuid "$SUDO_UID" --regid "${SUDO_GID:-$SUDO_UID}" --init-groups env HOME="${home:-/}" "$@"
}

find_go() {
	have go && return
	[[ -x /usr/local/go/bin/go ]] || return
	PATH=$PATH:/usr/local/go/bin
}

# lock: one command at a time. The lock file goes away with the folder, so a
# lock on a file that is no longer there is taken anew.
lock() {
	while :; do
		mkdir -p "$STATE" || die "cannot make the folder $STATE"
		exec 9>>"$STATE/lock"
		if ! flock -n 9; then
			say "waiting for another testbed command to end"
			flock 9
		fi
		[[ $STATE/lock -ef /dev/fd/9 ]] && return
	done
}

# cache_lock: several testbeds may share a cache; one at a time fills it. Unlike
# the other lock, what is built holds it too: when its testbed was killed, the
# next one waits for it to end. Whoever has waited looks again for what it needs.
cache_lock() {
	local from
	while :; do
		mkdir -p "$CACHE" || die "cannot make the folder $CACHE"
		exec 8>>"$CACHE/lock"
		if ! flock -n 8; then
			from=$SECONDS
			say "waiting for another testbed that fills the cache $CACHE"
			until flock -w 30 8; do say "  … $(elapsed "$from")"; done
		fi
		[[ $CACHE/lock -ef /dev/fd/8 ]] && return
	done
}

cache_unlock() { exec 8>&-; }

# The mark tells a testbed's folder from any other: what lies in another is
# neither used nor removed. The few that are there before the mark do not count.
is_testbed() { [[ -e $STATE/testbed ]]; }

# check_folder: the default folder is the testbed's by its name, whatever else
# somebody has laid there, since no command touches that.
check_folder() {
	is_testbed || [[ ! -e $STATE ]] && return
	[[ $STATE != "$DEFAULT_STATE" || ! -d $STATE ]] || return 0
	[[ -d $STATE ]] || die "$STATE is not a folder"
	[[ -z $(find "$STATE" -mindepth 1 -maxdepth 1 ! -name lock ! -name cache ! -name subnet ! -name log | head -n 1) ]] ||
		die "$STATE holds other things: name an empty folder in SECRETX_TESTBED_DIR"
}

check_machine() {
	[[ $(uname -s) == Linux ]] || die "needs Linux, this is $(uname -s)"
	case $(uname -m) in
	x86_64) ARCH=amd64 ;;
	aarch64 | arm64) ARCH=arm64 ;;
	*) die "needs an x86_64 or arm64 machine, this is $(uname -m)" ;;
	esac
	find_go || die "Go is missing: install Go 1.26 or newer from https://go.dev/dl/"
	# A unix socket's path has at most 107 characters.
	[[ $PATIENCE =~ ^[1-9][0-9]?$ ]] || die "SECRETX_TESTBED_PATIENCE takes a number from 1 to 99, not '$PATIENCE'"
	((${#STATE} <= 70)) || die "the folder's path is too long for sockets in it: $STATE"
	[[ $STATE != *[[:space:]\'\"\\:,]* && $CACHE != *[[:space:]\'\"\\:,]* ]] ||
		die "the folder's path has characters that do not suit mounts: $STATE"
	check_folder
	check_disk
	cgroup_check
}

# check_disk: the Go build cache takes most of it, and only the first time.
check_disk() {
	local need=1 free folder=$STATE
	engine_cached || need=3
	kubernetes_cached || need=6
	while ! [[ -e $folder ]]; do folder=$(dirname "$folder"); done
	free=$(df -Pk -- "$folder" | awk 'END { print int($4 / 1048576) }')
	((free >= need)) || die "needs $need GB of free disk space at $folder, there are $free GB"
}
