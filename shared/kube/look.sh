# Looks into a container and tells what it sees in frames: each begins with the boundary, then a line
# that says what it is, then its bytes as they are. It runs in the container itself, or in an ephemeral
# one beside it, and must do with what a small image has: a shell, cat, and stat or ls.
#
#   BOUNDARY     random, so that no value holds it
#   in           it runs in the container; or
#   beside       in another one that shares its processes; or
#   among        in another one, and all containers of the pod or of the node share theirs
#   ID           that of the container, where it runs in another one
#   then any number of: f PATH (a file), d PATH (the files of a directory), e '' (the environment)
b=$1 place=$2 id=$3
shift 3
LC_ALL=C
export LC_ALL
root= p=
frame() { printf '%s%s\n' "$b" "$1"; }

# its PID: is this a process of the container?
its() {
	group=$(cat "/proc/$1/cgroup" 2>/dev/null) || return 1
	if [ $place = among ]; then
		case $group in *"$id"*) return 0 ;; esac
		return 1
	fi
	[ -n "$group" ] && [ "$group" = "$own" ]
}

# began PID: sets when it did.
began() {
	{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return 1
	set -- ${line##*) }
	when=${20}
}

# first sets p to the container's first process. That is process 1, unless the pod or the node shares
# its processes: then the oldest of its cgroup. Beside a runtime that doesn't share them, process 1
# would be ours.
first() {
	p=1
	if [ $place = in ] && [ /proc/1/root -ef / ]; then return; fi
	own=$(cat /proc/self/cgroup 2>/dev/null)
	case $place in
	in) if its 1; then return; fi ;;
	beside)
		if its 1; then p=; fi
		return
		;;
	esac
	p= least=
	for d in /proc/[0-9]*; do
		n=${d#/proc/}
		if its "$n" && began "$n" && { [ -z "$least" ] || [ "$when" -lt "$least" ]; }; then
			least=$when p=$n
		fi
	done
}

# follow PATH sets at to where its symbolic links lead within the container's root: an absolute one
# would lead into ours.
follow() {
	at=$1
	if [ -z "$root" ]; then return 0; fi
	at= rest=$1 links=0
	while [ -n "$rest" ]; do
		name=${rest%%/*}
		case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
		case $name in
		'' | .) ;;
		..) at=${at%/*} ;;
		*)
			if [ -L "$root$at/$name" ]; then
				links=$((links + 1))
				to=$(readlink "$root$at/$name") && [ $links -le 40 ] || return 1
				case $to in /*) at= ;; esac
				rest=$to/$rest
			else
				at=$at/$name
			fi
			;;
		esac
	done
}

# about PATH: what it is.
about() {
	if command -v stat >/dev/null 2>&1; then
		stat -L -c '%a %u %g %F' "$1" 2>&1
	else
		ls -lnLd "$1" 2>&1
	fi
}

file() {
	frame file
	follow "$1" || {
		echo 'Too many levels of symbolic links'
		return
	}
	# A kubelet that changes a volume takes away what a link led to a moment ago.
	[ -e "$root$at" ] || follow "$1"
	about "$root$at" || return
	if [ -f "$root$at" ]; then
		frame bytes
		cat "$root$at" 2>/dev/null
		frame "status $?"
	fi
}

# directory PATH: the files in it and below, but for those in which a kubelet keeps them (..data).
directory() {
	follow "$1"
	for x in "$root$at"/* "$root$at"/.[!.]*; do
		x=$1/${x##*/}
		follow "$x"
		if [ -d "$root$at" ]; then
			(directory "$x")
		elif [ -e "$root$at" ]; then
			frame other
			printf '%s' "$x"
			frame about
			about "$root$at"
		fi
	done
}

environment() {
	frame environment
	if [ -z "$p" ]; then
		frame 'status 1'
		return
	fi
	cat "/proc/$p/environ" 2>/dev/null
	frame "status $?"
}

first
if [ $place != in ]; then
	root=/proc/$p/root
	if [ -z "$p" ] || ! [ -d "$root/" ]; then
		frame closed
		frame end
		exit
	fi
fi
while [ $# -gt 0 ]; do
	case $1 in
	f) file "$2" ;;
	d) directory "$2" ;;
	e) environment ;;
	esac
	shift 2
done
frame end
