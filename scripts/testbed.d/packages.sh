# shellcheck shell=bash
# Programs that the testbed needs from the distribution, and the Kubernetes
# binaries, which are downloaded or built.

KUBE_MODULE=$LIB/kubernetes
KUBE_VERSION=$(awk '$1 == "k8s.io/kubernetes" { print $2; exit }' "$KUBE_MODULE/go.mod")
ETCD_VERSION=$(awk '$1 == "go.etcd.io/etcd/server/v3" && $2 { print $2; exit }' "$KUBE_MODULE/go.mod")
KUBE_PROGRAMS=(kube-apiserver kube-controller-manager kube-scheduler kubelet kubectl)

# Where the published binaries lie; for a mirror, or a test.
KUBE_URL=${SECRETX_TESTBED_KUBE_URL:-https://dl.k8s.io/release}
ETCD_URL=${SECRETX_TESTBED_ETCD_URL:-https://github.com/etcd-io/etcd/releases/download}

# missing_packages prints those whose programs are not there. What another
# package provides (docker-ce, containerd.io) counts.
missing_packages() {
	local pair
	for pair in ip:iproute2 iptables:iptables nsenter:util-linux setpriv:util-linux flock:util-linux \
		curl:curl openssl:openssl tar:tar dockerd:docker.io containerd:containerd ctr:containerd runc:runc \
		ssh:openssh-client sshd:openssh-server; do # ssh: for the tests of Docker contexts over it
		have "${pair%%:*}" || echo "${pair#*:}"
	done
	if ! have docker; then
		# Split off from docker.io in newer releases.
		if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; else echo docker.io; fi
	fi
	[[ -e /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates
	find_cni || echo containernetworking-plugins
}

# find_cni: the folder with the network plugins.
find_cni() {
	for CNI in /usr/lib/cni /opt/cni/bin /usr/libexec/cni; do
		[[ -x $CNI/bridge && -x $CNI/host-local && -x $CNI/loopback ]] && return
	done
	CNI=
	return 1
}

install_packages() {
	local missing=()
	PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
	readarray -t missing < <(missing_packages | sort -u)
	if ((${#missing[@]} == 0)); then
		find_cni
		return
	fi
	have apt-get || die "missing here: ${missing[*]} (there is no apt-get to install them: install these Debian packages' counterparts)"
	# Only the refreshed package lists may tell that there is a docker-cli: hence
	# a second try.
	for _ in 1 2; do
		long "installing ${missing[*]}" "$LOGS/apt.log" apt_install "${missing[@]}"
		((RC == 0)) || fail "this did not work: apt-get update && apt-get install --no-install-recommends ${missing[*]}"
		hash -r
		readarray -t missing < <(missing_packages | sort -u)
		((${#missing[@]})) || break
	done
	((${#missing[@]} == 0)) || fail "still missing after the installation: ${missing[*]}"
	find_cni
}

# apt_install: without starting the engines and the SSH server that come in the
# packages, now or with the machine; they would be the machine's own.
apt_install() {
	local policy=/usr/sbin/policy-rc.d mark="from the secretx testbed" pair
	if [[ ! -e $policy ]] || grep -q "$mark" "$policy"; then
		# shellcheck disable=SC2064 # the path of now
		trap "rm -f $policy" EXIT
		printf '#!/bin/sh\n# Temporary, %s: install, start nothing.\nexit 101\n' "$mark" >"$policy"
		chmod 755 "$policy"
	fi
	export DEBIAN_FRONTEND=noninteractive
	apt-get -o DPkg::Lock::Timeout=120 update || true
	apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"
	have systemctl || return 0
	for pair in docker.io:docker.socket docker.io:docker.service containerd:containerd.service \
		openssh-server:ssh.socket openssh-server:ssh.service; do
		[[ " $* " != *" ${pair%%:*} "* ]] || systemctl disable "${pair#*:}" || true
	done
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
