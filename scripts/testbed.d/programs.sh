# shellcheck shell=bash
# shellcheck disable=SC2034 # the other parts use what is set here
# Programs that the distribution does not have, or not in the wanted version:
# Kubernetes, downloaded or built, and the newest engine, built. Each version's
# modules are in a folder of its own, and so are its programs in the cache.

KUBE_PROGRAMS=(kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl)

# Where the published binaries lie; for a mirror, or a test.
KUBE_URL=${SECRETX_TESTBED_KUBE_URL:-https://dl.k8s.io/release}
ETCD_URL=${SECRETX_TESTBED_ETCD_URL:-https://github.com/etcd-io/etcd/releases/download}

# module_version FOLDER MODULE: the version that its go.mod asks for.
module_version() { awk -v module="$2" '$1 == module && $2 { print $2; exit }' "$1/go.mod" 2>/dev/null || true; }

# versions ENGINE KUBERNETES: those that this testbed has. The engine is
# "packaged", the distribution's, or a folder of engine/.
versions() {
	ENGINE=$1 KUBE_MINOR=$2
	KUBE_MODULE=$LIB/kubernetes/$KUBE_MINOR
	KUBE_VERSION=$(module_version "$KUBE_MODULE" k8s.io/kubernetes)
	ETCD_VERSION=$(module_version "$KUBE_MODULE" go.etcd.io/etcd/server/v3)
	ENGINE_PROGRAMS=
	if [[ $ENGINE != packaged ]]; then
		ENGINE_MODULE=$LIB/engine/$ENGINE
		ENGINE_VERSION=$(module_version "$ENGINE_MODULE" github.com/moby/moby/v2)
		RUNC_VERSION=$(module_version "$ENGINE_MODULE" github.com/opencontainers/runc)
		ENGINE_PROGRAMS=$CACHE/engine-$ENGINE_VERSION-runc-$RUNC_VERSION
	fi
}

# versions_recorded: those that it was made with, or the default ones.
versions_recorded() {
	local engine=packaged kubernetes=1.37
	if [[ -s $STATE/versions ]]; then read -r engine kubernetes <"$STATE/versions"; fi
	versions "$engine" "$kubernetes"
}

# versions_choose ENGINE KUBERNETES: what `up` was asked for, empty where it does
# not matter. A testbed keeps what it was made with: neither side's data can
# go back to an older version.
versions_choose() {
	local engine=$1 kubernetes=$2 found
	[[ $engine == @(|20.10|29) ]] || die "--engine takes 20.10 or 29, not '$engine'"
	[[ $kubernetes == @(|1.35|1.37) ]] || die "--kubernetes takes 1.35 or 1.37, not '$kubernetes'"
	if [[ $engine == 20.10 ]]; then
		if have dockerd; then
			found=$(dockerd --version)
			[[ $found == *" 20.10."* ]] || die "--engine 20.10 is the distribution's, and this one has: $found (leave the option out)"
		fi
		engine=packaged
	fi
	if [[ -d $RUN ]]; then
		[[ ${engine:-$ENGINE} == "$ENGINE" && ${kubernetes:-$KUBE_MINOR} == "$KUBE_MINOR" ]] ||
			die "the testbed has engine ${ENGINE/packaged/20.10} and Kubernetes $KUBE_MINOR: 'down' first, for others"
		return
	fi
	versions "${engine:-packaged}" "${kubernetes:-1.37}"
}

# --- Kubernetes --------------------------------------------------------------

# kubernetes_folder: apart by version, and by how the binaries came to be.
kubernetes_folder() { printf '%s/kubernetes-%s-%s' "$CACHE" "$KUBE_VERSION" "$1"; }

# kubernetes_cached sets KUBE to the folder of the binaries, if there is one.
kubernetes_cached() {
	KUBE=$(kubernetes_folder built)
	[[ ! -d $KUBE ]] || return 0
	[[ ${SECRETX_TESTBED_BUILD:-} != 1 ]] || return 1
	KUBE=$(kubernetes_folder downloaded)
	[[ -d $KUBE ]]
}

kubernetes_binaries() {
	kubernetes_cached && return
	cache_lock
	kubernetes_cached || kubernetes_fill
	cache_unlock
}

kubernetes_fill() {
	local part=$CACHE/kubernetes.part
	rm -rf "$part"
	mkdir -p "$part"
	if [[ ${SECRETX_TESTBED_BUILD:-} != 1 ]]; then
		KUBE=$(kubernetes_folder downloaded)
		if kubernetes_reachable; then
			long "downloading Kubernetes $KUBE_VERSION and etcd $ETCD_VERSION" "$LOGS/download.log" kubernetes_download "$part"
			if ((RC == 0)); then
				mv "$part" "$KUBE"
				return
			fi
			say "the download failed, so they are built"
		else
			say "$KUBE_URL can't be reached, so Kubernetes is built"
		fi
		rm -rf "$part"
		mkdir -p "$part"
	fi
	KUBE=$(kubernetes_folder built)
	chown "$(owner)" "$part"
	long "building Kubernetes $KUBE_VERSION and etcd $ETCD_VERSION from Go modules (once; 7 to 15 minutes on 2 cores)" \
		"$LOGS/build.log" kubernetes_build "$part"
	((RC == 0)) || fail "the build failed, see $LOGS/build.log"
	chown -R 0:0 "$part"
	mv "$part" "$KUBE"
}

fetch() { curl -fsSL --connect-timeout 5 --retry 2 --speed-limit 1000 --speed-time 30 "$@"; }

kubernetes_reachable() {
	fetch --retry 0 --max-time 10 -o /dev/null "$KUBE_URL/$KUBE_VERSION/bin/linux/$ARCH/kubectl.sha256" 2>/dev/null
}

kubernetes_download() {
	local tarball program sum
	cd "$1" || return
	tarball=etcd-$ETCD_VERSION-linux-$ARCH.tar.gz
	for program in "${KUBE_PROGRAMS[@]}"; do
		fetch -o "$program" "$KUBE_URL/$KUBE_VERSION/bin/linux/$ARCH/$program"
		sum=$(fetch "$KUBE_URL/$KUBE_VERSION/bin/linux/$ARCH/$program.sha256")
		echo "${sum%% *}  $program" | sha256sum --check --strict -
	done
	fetch -o "$tarball" "$ETCD_URL/$ETCD_VERSION/$tarball"
	fetch "$ETCD_URL/$ETCD_VERSION/SHA256SUMS" | grep -F "$tarball" | sha256sum --check --strict -
	tar -xzf "$tarball" --no-same-owner --strip-components=1 "${tarball%.tar.gz}/etcd"
	rm "$tarball"
	chmod 755 ./*
}

kubernetes_build() {
	local version=k8s.io/component-base/version minor=${KUBE_VERSION#v*.} program
	local programs=(go.etcd.io/etcd/server/v3) flags="-s -w -X $version.gitVersion=$KUBE_VERSION"
	# Clients parse these two; without them they take the server for v0.0.
	flags+=" -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}"
	for program in "${KUBE_PROGRAMS[@]}"; do programs+=("k8s.io/kubernetes/cmd/$program"); done
	cd "$KUBE_MODULE" || return
	as_owner env CGO_ENABLED=0 GOWORK=off GOFLAGS= go build -trimpath -buildvcs=false -ldflags "$flags" -o "$1/" "${programs[@]}"
	mv "$1/server" "$1/etcd"
}

# --- the engine --------------------------------------------------------------

engine_cached() { [[ -z $ENGINE_PROGRAMS || -d $ENGINE_PROGRAMS ]]; }

# engine_build_packages prints what building it takes, and is not there.
engine_build_packages() {
	have gcc || printf '%s\n' gcc libc6-dev
	have pkg-config || echo pkg-config
	pkg-config --exists libseccomp 2>/dev/null || echo libseccomp-dev
}

engine_binaries() {
	engine_cached && return
	cache_lock
	engine_cached || engine_fill
	cache_unlock
}

engine_fill() {
	local part=$CACHE/engine.part
	rm -rf "$part"
	mkdir -p "$part"
	chown "$(owner)" "$part"
	long "building the engine $ENGINE_VERSION and runc $RUNC_VERSION from Go modules (once; 3 to 5 minutes on 2 cores)" \
		"$LOGS/engine-build.log" engine_build "$part"
	((RC == 0)) || fail "the build failed, see $LOGS/engine-build.log"
	chown -R 0:0 "$part"
	mv "$part" "$ENGINE_PROGRAMS"
}

# engine_build: runc calls C code before Go's runtime starts, and libseccomp.
engine_build() {
	local flags="-s -w -X github.com/moby/moby/v2/dockerversion.Version=${ENGINE_VERSION#v}"
	cd "$ENGINE_MODULE" || return
	as_owner env CGO_ENABLED=0 GOWORK=off GOFLAGS= go build -trimpath -buildvcs=false -ldflags "$flags" \
		-tags 'exclude_graphdriver_btrfs no_btrfs' -o "$1/" \
		github.com/moby/moby/v2/cmd/dockerd github.com/moby/moby/v2/cmd/docker-proxy
	flags="-s -w -X main.version=${RUNC_VERSION#v}"
	as_owner env CGO_ENABLED=1 GOWORK=off GOFLAGS= go build -trimpath -buildvcs=false -ldflags "$flags" \
		-tags seccomp -o "$1/" github.com/opencontainers/runc
}
