# shellcheck shell=bash
# Programs that the testbed needs from the distribution.

# missing_packages prints those whose programs are not there. What another
# package provides (docker-ce, containerd.io) counts.
missing_packages() {
	local pair
	for pair in ip:iproute2 iptables:iptables nsenter:util-linux setpriv:util-linux flock:util-linux \
		curl:curl openssl:openssl tar:tar dockerd:docker.io containerd:containerd ctr:containerd runc:runc \
		ssh:openssh-client sshd:openssh-server \
		tmux:tmux zsh:zsh fish:fish script:bsdutils; do # for the tests: contexts over ssh, terminals, completion
		have "${pair%%:*}" || echo "${pair#*:}"
	done
	if ! have docker; then
		# Split off from docker.io in newer releases.
		if apt-cache show docker-cli >/dev/null 2>&1; then echo docker-cli; else echo docker.io; fi
	fi
	[[ -e /etc/ssl/certs/ca-certificates.crt ]] || echo ca-certificates
	[[ -e /usr/share/bash-completion/bash_completion ]] || echo bash-completion # which docker's own script calls
	find_cni || echo containernetworking-plugins
	engine_cached || engine_build_packages
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

