# shellcheck shell=bash
# shellcheck disable=SC2153 # NAME and STATE are set in common.sh
# Swarms: every engine in a sandbox of its own.

DOCKER_FOLDER=$STATE/docker

# docker_address ENGINE: node1 … node9 and swarm2 have fixed places.
docker_address() {
	case $1 in
	node*) address "$((10 + ${1#node}))" ;;
	swarm*) address "$((20 + ${1#swarm}))" ;;
	esac
}

docker_socket() { printf '%s/%s.sock' "$STATE" "$1"; }

# engine ENGINE ARGS…: the docker CLI, with none of the caller's settings.
engine() {
	local name=$1
	shift
	env -u DOCKER_CONTEXT -u DOCKER_TLS_VERIFY -u DOCKER_API_VERSION -u DOCKER_DEFAULT_PLATFORM \
		DOCKER_CONFIG="$STATE/config" docker -H "unix://$(docker_socket "$name")" "$@" 9>&-
}

# engines prints those that this testbed has.
engines() {
	local folder
	for folder in "$DOCKER_FOLDER"/*/; do
		[[ ! -d $folder ]] || basename "$folder"
	done
}

swarm_state() { engine "$1" info --format '{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}' 2>/dev/null; }

# engine_start ENGINE: does not wait.
engine_start() {
	local name=$1 socket
	socket=$(docker_socket "$name")
	component_alive "$name" dockerd && return
	sandbox_create "$name" "$(docker_address "$name")"
	mkdir -p "$DOCKER_FOLDER/$name"
	chmod 700 "$DOCKER_FOLDER/$name"
	rm -f "$socket"
	sandbox_run "$name" rm -f /run/docker.pid
	# An empty configuration file keeps the machine's /etc/docker/daemon.json out.
	echo '{}' >"$RUN/$name/daemon.json"
	PROGRAMS=$ENGINE_PROGRAMS component_start "$name" dockerd dockerd \
		--config-file "$RUN/$name/daemon.json" \
		--host "unix://$socket" --group 0 \
		--pidfile /run/docker.pid --exec-root /run/docker \
		--data-root "$DOCKER_FOLDER/$name" \
		--exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$NAME/$name" \
		--shutdown-timeout 5
}

engine_await() {
	await "$1" dockerd 60 engine "$1" version
	chown "$(owner)" "$(docker_socket "$1")"
}

engine_images() {
	local mark
	mark=$DOCKER_FOLDER/$1/images-of-the-testbed
	if [[ $(cat "$mark" 2>/dev/null) != "$IMAGES" ]] || ! engine "$1" image inspect secretx-test/{busybox:1,distroless:1,secrets-demo:1.0} >/dev/null 2>&1; then
		engine "$1" load --quiet --input "$IMAGES" >/dev/null || fail "$1: the images could not be loaded"
		echo "$IMAGES" >"$mark"
	fi
}

# engine_probe ENGINE: the helper that comes with the plugin, if that has been
# built: it looks into containers on nodes that secretx does not talk to.
engine_probe() {
	local plugin=$REPOSITORY/bin/docker-secretx mark=$DOCKER_FOLDER/$1/probe-of-the-testbed stamp
	[[ -x $plugin ]] || return 0
	stamp=$(stat -c '%Y %s' "$plugin")
	[[ $(cat "$mark" 2>/dev/null) != "$stamp" ]] || return 0
	"$plugin" secretx probe-image 2>/dev/null | engine "$1" load --quiet >/dev/null 2>&1 || return 0 # it is of an older version
	echo "$stamp" >"$mark"
}

# engine_swarm ENGINE [MANAGER]: a swarm of its own, or a node of MANAGER's.
engine_swarm() {
	local ip token
	[[ $(swarm_state "$1") == inactive* ]] || return 0
	ip=$(docker_address "$1")
	if [[ $# == 1 ]]; then
		engine "$1" swarm init --advertise-addr "$ip" --listen-addr "$ip:2377" >/dev/null || fail "$1: swarm init failed"
	else
		token=$(engine "$2" swarm join-token --quiet worker)
		engine "$1" swarm join --token "$token" --advertise-addr "$ip" --listen-addr "$ip:2377" "$(docker_address "$2"):2377" >/dev/null ||
			fail "$1: swarm join failed"
	fi
}

# docker_up NODES SWARMS: at least that many; none that is there is taken away.
docker_up() {
	local name names=() wanted n
	wanted=$({
		engines
		for ((n = 1; n <= $1; n++)); do echo "node$n"; done
		for ((n = 2; n <= $2; n++)); do echo "swarm$n"; done
	} | sort -u)
	readarray -t names <<<"$wanted"
	for name in "${names[@]}"; do
		component_alive "$name" dockerd || say "starting the engine $name"
		sandbox_create "$name" "$(docker_address "$name")"
		engine_start "$name"
	done
	for name in "${names[@]}"; do
		engine_await "$name"
		engine_images "$name"
		engine_probe "$name"
		case $name in
		node1 | swarm*) engine_swarm "$name" ;;
		node*) engine_swarm "$name" node1 ;;
		esac
	done
	for name in "${names[@]}"; do
		await "$name" dockerd 60 engine_active "$name"
	done
	n=$(grep -c '^node' <<<"$wanted")
	await node1 dockerd 60 nodes_ready "$n"
}

# engine_active ENGINE: a manager answers only once it has a leader.
engine_active() {
	local state
	state=$(swarm_state "$1")
	case $state in
	'active true') engine "$1" node ls >/dev/null 2>&1 ;;
	'active false') ;;
	*) return 1 ;;
	esac
}

nodes_ready() {
	local ready
	ready=$(engine node1 node ls --format '{{.Status}}' | grep -c Ready)
	((ready >= $1))
}

# docker_config: a folder for DOCKER_CONFIG, with the plugin and a context for
# every engine. The second swarm's is called "other".
docker_config() {
	local name context
	mkdir -p "$STATE/config/cli-plugins"
	ln -sfn "$REPOSITORY/bin/docker-secretx" "$STATE/config/cli-plugins/docker-secretx"
	for name in $(engines); do
		context=$name
		[[ $name != swarm2 ]] || context=other
		engine "$name" context inspect "$context" >/dev/null 2>&1 ||
			engine "$name" context create "$context" --docker "host=unix://$(docker_socket "$name")" >/dev/null 2>&1 ||
			fail "the docker context $context could not be made"
	done
	chown -hR "$(owner)" "$STATE/config"
}

docker_status() {
	local name state
	for name in $(engines); do
		if ! component_alive "$name" dockerd; then
			status_line bad "$name" "the engine does not run"
		elif ! state=$(swarm_state "$name"); then
			status_line bad "$name" "the engine does not answer"
		elif ! engine_active "$name"; then
			status_line bad "$name" "swarm: $state"
		elif [[ $state == 'active true' ]]; then
			status_line ok "$name" "engine $(engine "$name" version --format '{{.Server.Version}}'), manager of $(engine "$name" node ls --quiet | wc -l) node(s)"
		else
			status_line ok "$name" "engine $(engine "$name" version --format '{{.Server.Version}}'), worker"
		fi
	done
	[[ -n $(engines) ]] || status_line bad swarm "there is no engine"
}
