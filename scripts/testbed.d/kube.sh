# shellcheck shell=bash
# shellcheck disable=SC2153 # NAME and STATE are set in common.sh
# Kubernetes on one node: etcd, the control plane, containerd and the kubelet,
# all in one sandbox.

KUBE_FOLDER=$STATE/kubernetes
KUBE_NODE=kube1
# Inside the sandbox only: nothing outside has a route to these.
POD_SUBNET=10.244.0.0/24
SERVICE_SUBNET=10.96.0.0/16
SERVICE_API=10.96.0.1
KUBECONFIG_FILE=$STATE/kubeconfig

kube_server() { printf 'https://%s:6443' "$(address 2)"; }

# kubectl_admin ARGS…: kubectl with none of the caller's settings.
kubectl_admin() {
	env -u HTTPS_PROXY -u https_proxy -u ALL_PROXY -u all_proxy \
		"$KUBE/kubectl" --kubeconfig "$KUBECONFIG_FILE" --request-timeout 10s "$@" 9>&-
}

# --- identities --------------------------------------------------------------

# kube_pki makes what the cluster proves itself with: an authority, the API
# server's certificate, the one that it shows to the kubelet, the key that
# signs service accounts' tokens, and a token for each who asks it.
kube_pki() {
	local pki=$KUBE_FOLDER/pki part=$KUBE_FOLDER/pki.part
	[[ ! -d $pki ]] || return 0
	rm -rf "$part"
	mkdir -p "$part"
	attempt "$LOGS/pki.log" kube_pki_make "$part"
	((RC == 0)) || fail "the certificates could not be made, see $LOGS/pki.log"
	mv "$part" "$pki"
}

kube_pki_make() {
	local user
	cd "$1" || return
	umask 077
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
		-subj "/CN=$NAME" -keyout ca.key -out ca.crt
	kube_certificate apiserver "/CN=kube-apiserver" \
		"subjectAltName=IP:$(address 2),IP:127.0.0.1,IP:$SERVICE_API,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
	kube_certificate kubelet-client "/O=system:masters/CN=kube-apiserver-kubelet-client" "extendedKeyUsage=clientAuth"
	kube_certificate kubelet "/CN=$KUBE_NODE" "subjectAltName=IP:$(address 2),DNS:$KUBE_NODE"
	openssl ecparam -name prime256v1 -genkey -noout -out service-accounts.key
	openssl ec -in service-accounts.key -pubout -out service-accounts.pub
	for user in admin system:kube-controller-manager system:kube-scheduler "system:node:$KUBE_NODE"; do
		openssl rand -hex 24 >"token-${user//:/-}"
		case $user in
		admin) echo "$(<token-admin),admin,admin,system:masters" ;;
		system:node:*) echo "$(<"token-${user//:/-}"),$user,$user,system:nodes" ;;
		*) echo "$(<"token-${user//:/-}"),$user,$user" ;;
		esac
	done >tokens.csv
}

# kube_certificate NAME SUBJECT EXTENSION
kube_certificate() {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr"
	openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 \
		-extfile <(printf '%s\n' "$3") -out "$1.crt"
	rm "$1.csr"
}

# kubeconfig USER FILE
kubeconfig() {
	(
		umask 077
		cat >"$2.new" <<-EOF
			apiVersion: v1
			kind: Config
			clusters:
			- name: testbed
			  cluster:
			    server: $(kube_server)
			    certificate-authority-data: $(base64 -w0 <"$KUBE_FOLDER/pki/ca.crt")
			users:
			- name: $1
			  user:
			    token: $(<"$KUBE_FOLDER/pki/token-${1//:/-}")
			contexts:
			- name: testbed
			  context:
			    cluster: testbed
			    user: $1
			    namespace: default
			current-context: testbed
		EOF
	)
	mv "$2.new" "$2"
}

# --- the node's settings -----------------------------------------------------

kube_settings() {
	local dir=$KUBE_FOLDER/settings user
	mkdir -p "$dir/cni"
	for user in kube-controller-manager kube-scheduler "node:$KUBE_NODE"; do
		kubeconfig "system:$user" "$dir/${user%%:*}.kubeconfig"
	done
	# Whoever uses the testbed may change the context in it: it is written once.
	if [[ ! -s $KUBECONFIG_FILE ]]; then
		kubeconfig admin "$KUBECONFIG_FILE"
	fi
	chown "$(owner)" "$KUBECONFIG_FILE"

	# What runs has read its settings, and containerd watches them for changes.
	if component_alive kube containerd && component_alive kube kubelet; then return; fi
	cat >"$dir/containerd.toml" <<-EOF
		version = 2
		root = "$KUBE_FOLDER/containerd"
		state = "/run/containerd"
		disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
		[grpc]
		  address = "$RUN/kube/containerd.sock"
		[plugins."io.containerd.internal.v1.opt"]
		  path = "/run/containerd-opt"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "docker.io/secretx-test/pause:1"
		  # Containers' protection from the out-of-memory killer can't be raised
		  # where CAP_SYS_RESOURCE is missing; they would not start.
		  restrict_oom_score_adj = true
		  [plugins."io.containerd.grpc.v1.cri".cni]
		    bin_dir = "$CNI"
		    conf_dir = "$dir/cni"
	EOF
	cat >"$dir/cni/10-testbed.conflist" <<-EOF
		{
		  "cniVersion": "0.4.0",
		  "name": "testbed",
		  "plugins": [{
		    "type": "bridge",
		    "bridge": "pods",
		    "isGateway": true,
		    "ipam": {
		      "type": "host-local",
		      "dataDir": "/run/cni",
		      "ranges": [[{ "subnet": "$POD_SUBNET" }]],
		      "routes": [{ "dst": "0.0.0.0/0" }]
		    }
		  }]
		}
	EOF
	echo 'nameserver 127.0.0.1' >"$dir/resolv.conf"
	cat >"$dir/kubelet.yaml" <<-EOF
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		address: $(address 2)
		authentication:
		  anonymous: { enabled: false }
		  webhook: { enabled: true }
		  x509: { clientCAFile: $KUBE_FOLDER/pki/ca.crt }
		authorization: { mode: Webhook }
		tlsCertFile: $KUBE_FOLDER/pki/kubelet.crt
		tlsPrivateKeyFile: $KUBE_FOLDER/pki/kubelet.key
		containerRuntimeEndpoint: unix://$RUN/kube/containerd.sock
		cgroupDriver: cgroupfs
		cgroupRoot: /$NAME/kube
		enforceNodeAllocatable: []
		failCgroupV1: false
		failSwapOn: false
		# What pods see of a changed secret, they see soon.
		configMapAndSecretChangeDetectionStrategy: Watch
		syncFrequency: 10s
		# The images can't be pulled again, so none is ever cleared away, and a
		# full disk evicts nothing.
		imageGCHighThresholdPercent: 100
		evictionHard:
		  memory.available: "0%"
		  nodefs.available: "0%"
		  nodefs.inodesFree: "0%"
		  imagefs.available: "0%"
		  imagefs.inodesFree: "0%"
		maxPods: 200
		registryPullQPS: 0
		podLogsDir: $KUBE_FOLDER/pod-logs
		volumePluginDir: /run/volume-plugins
		resolvConf: $dir/resolv.conf
		# There is no name server: a look-up fails at once.
		clusterDNS: [127.0.0.1]
		clusterDomain: cluster.local
		shutdownGracePeriod: 0s
	EOF
}

# --- processes ---------------------------------------------------------------

# kube_component NAME COMMAND…: unless it runs already.
kube_component() {
	component_alive kube "$1" || component_start kube "$@"
}

kube_start_etcd() {
	mkdir -p "$KUBE_FOLDER/etcd"
	chmod 700 "$KUBE_FOLDER/etcd"
	# Without fsync: a testbed's data may get lost with the machine.
	kube_component etcd "$KUBE/etcd" --name testbed --data-dir "$KUBE_FOLDER/etcd" \
		--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --initial-advertise-peer-urls http://127.0.0.1:2380 \
		--initial-cluster testbed=http://127.0.0.1:2380 \
		--quota-backend-bytes 4294967296 --unsafe-no-fsync --log-level warn
}

kube_start_apiserver() {
	local pki=$KUBE_FOLDER/pki
	kube_component kube-apiserver "$KUBE/kube-apiserver" \
		--etcd-servers http://127.0.0.1:2379 \
		--bind-address "$(address 2)" --secure-port 6443 --advertise-address "$(address 2)" \
		--tls-cert-file "$pki/apiserver.crt" --tls-private-key-file "$pki/apiserver.key" \
		--client-ca-file "$pki/ca.crt" --token-auth-file "$pki/tokens.csv" \
		--kubelet-client-certificate "$pki/kubelet-client.crt" --kubelet-client-key "$pki/kubelet-client.key" \
		--kubelet-certificate-authority "$pki/ca.crt" --kubelet-preferred-address-types InternalIP \
		--authorization-mode Node,RBAC --enable-admission-plugins NodeRestriction \
		--service-account-issuer https://kubernetes.default.svc \
		--service-account-key-file "$pki/service-accounts.pub" \
		--service-account-signing-key-file "$pki/service-accounts.key" \
		--service-cluster-ip-range "$SERVICE_SUBNET" --allow-privileged \
		--max-requests-inflight 2000 --max-mutating-requests-inflight 1000
}

kube_start_containerd() {
	mkdir -p "$KUBE_FOLDER/containerd"
	# The kubelet would take its time to connect again.
	component_alive kube containerd || component_stop kube kubelet 10
	kube_component containerd containerd --config "$KUBE_FOLDER/settings/containerd.toml"
}

kube_start_node() {
	local settings=$KUBE_FOLDER/settings pki=$KUBE_FOLDER/pki
	kube_component kube-controller-manager "$KUBE/kube-controller-manager" \
		--kubeconfig "$settings/kube-controller-manager.kubeconfig" --bind-address 127.0.0.1 --leader-elect=false \
		--use-service-account-credentials --service-account-private-key-file "$pki/service-accounts.key" \
		--flex-volume-plugin-dir /run/volume-plugins \
		--root-ca-file "$pki/ca.crt" --cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key"
	kube_component kube-scheduler "$KUBE/kube-scheduler" \
		--kubeconfig "$settings/kube-scheduler.kubeconfig" --bind-address 127.0.0.1 --leader-elect=false
	mkdir -p "$KUBE_FOLDER/kubelet"
	chmod 700 "$KUBE_FOLDER/kubelet"
	if ! component_alive kube kubelet; then date -u +%FT%TZ >"$RUN/kube/kubelet.since"; fi
	kube_component kubelet "$KUBE/kubelet" --config "$settings/kubelet.yaml" \
		--kubeconfig "$settings/node.kubeconfig" --root-dir "$KUBE_FOLDER/kubelet" \
		--hostname-override "$KUBE_NODE" --node-ip "$(address 2)"
}

kube_ctr() { ctr -a "$RUN/kube/containerd.sock" -n k8s.io "$@" 9>&-; }

kube_images() {
	local mark=$KUBE_FOLDER/containerd/images-of-the-testbed
	if [[ $(cat "$mark" 2>/dev/null) == "$IMAGES" ]] &&
		(($(kube_ctr images ls -q | grep -c '^docker.io/secretx-test/') >= 4)); then
		return
	fi
	kube_ctr images import "$IMAGES" >/dev/null ||
		fail "the images could not be given to Kubernetes"
	echo "$IMAGES" >"$mark"
}

# kube_service_address: pods reach the API server by its service's address.
# There is no kube-proxy; this one rule, in the sandbox, takes its place.
kube_service_address() {
	local chain rule
	for chain in PREROUTING OUTPUT; do
		rule=("$chain" -d "$SERVICE_API" -p tcp --dport 443 -j DNAT --to-destination "$(address 2):6443")
		sandbox_run kube iptables -t nat -C "${rule[@]}" 2>/dev/null ||
			sandbox_run kube iptables -t nat -A "${rule[@]}" || fail "the rule for the API server's service could not be made"
	done
}

# kube_launch starts what others wait for; kube_up does the rest.
kube_launch() {
	sandbox_alive kube >/dev/null || say "starting Kubernetes $KUBE_VERSION"
	mkdir -p "$KUBE_FOLDER"
	chmod 700 "$KUBE_FOLDER"
	cgroup_make "$NAME/kube"
	# Another version, or other binaries: all of it starts anew.
	if [[ $(cat "$KUBE_FOLDER/programs" 2>/dev/null) != "$KUBE" ]]; then
		end_process "$RUN/kube.sandbox" KILL 10
		echo "$KUBE" >"$KUBE_FOLDER/programs"
	fi
	sandbox_create kube "$(address 2)"
	kube_pki
	kube_settings
	kube_start_etcd
	kube_start_apiserver
	kube_start_containerd
}

kube_ready() { [[ $(kubectl_admin get --raw /readyz) == ok ]]; }

# shellcheck disable=SC2120 # the time may be left out
# kube_node_ready [TIME]: and has said so since then. The API server remembers
# for a while what a kubelet said before it died.
kube_node_ready() {
	local status
	status=$(kubectl_admin get node "$KUBE_NODE" \
		-o jsonpath='{range .status.conditions[?(@.type=="Ready")]}{.status} {.lastHeartbeatTime}{end}') || return 1
	[[ $status == True* && ! ${status#True } < ${1:-} ]] || return 1
	# Its own word, by the way that exec and logs take.
	[[ $(kubectl_admin get --raw "/api/v1/nodes/$KUBE_NODE/proxy/healthz") == ok ]]
}


kube_up() {
	local component
	await kube containerd 30 kube_ctr version
	kube_images
	kube_service_address
	await kube kube-apiserver 120 kube_ready
	kube_start_node
	await kube kubelet 120 kube_node_ready "$(cat "$RUN/kube/kubelet.since" 2>/dev/null)"
	# Pods can't be made before their account exists.
	await kube kube-controller-manager 60 kubectl_admin get serviceaccount default
	for component in etcd kube-scheduler; do
		await kube "$component" 10 component_alive kube "$component"
	done
}

kube_status() {
	local component
	for component in etcd kube-apiserver kube-controller-manager kube-scheduler containerd kubelet; do
		if ! component_alive kube "$component"; then
			status_line bad "$component" "does not run"
			continue
		fi
		case $component in
		kube-apiserver)
			if kube_ready 2>/dev/null; then
				status_line ok "$component" "$(kube_server), $(kubectl_admin version -o json | awk -F'"' '/"serverVersion"/ { s = 1 } s && $2 == "gitVersion" { print $4 }')"
			else
				status_line bad "$component" "is not ready"
			fi
			;;
		kubelet)
			# shellcheck disable=SC2119 # at any time
			if kube_node_ready 2>/dev/null; then
				status_line ok "$component" "node $KUBE_NODE is ready"
			else
				status_line bad "$component" "node $KUBE_NODE is not ready"
			fi
			;;
		*) status_line ok "$component" "runs" ;;
		esac
	done
}
