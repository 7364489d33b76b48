# A cluster of one node for a script: a real control plane, scheduler, kubelet, containerd, runc and kube-proxy, in namespaces and a cgroup of
# the script's own. Sourced after ../manifests/api_server.sh:
#
#   require_node_parts        # skips where one is missing
#   run_in_node_cgroup DIR    # outside, at last: runs the script again in namespaces, with DIR as its argument; the cgroup and DIR go when it ends
#   start_cluster DIR         # inside: until the node is Ready. DIR is for everything that is written
#   import_image FILE         # a docker-archive
#
# The node has address 10.0.0.1 and no way out. Its pods' cgroups are in cgroup2 below $cgroup2$WEIR_NODE_CGROUP.

# shellcheck shell=bash disable=SC2034,SC2154  # helm and tools are the script's; kubectl, control_plane, here are others'

node_address=10.0.0.1

# Every hierarchy that is mounted: version 1 beside 2 on a hybrid host, else version 2 alone.
hierarchies() { awk '{ for (i = 7; i < NF; ++i) if ($i == "-" && $(i + 1) ~ /^cgroup2?$/) print $(i + 1), $5 }' /proc/self/mountinfo; }
cgroup2=$(hierarchies | awk '$1 == "cgroup2" {print $2; exit}')

require_node_parts() {
  local tool
  ((EUID == 0)) || skip 'not root'
  [[ -n $cgroup2 ]] || skip 'no cgroup2 is mounted'
  "$here/../control_plane/build.sh" --where >/dev/null || skip 'no control plane: tests/kubernetes/control_plane/build.sh builds it'
  "$here/build.sh" --where >/dev/null || skip 'no kubelet: tests/kubernetes/kubelet/build.sh builds and installs what is missing'
  helm=$("$here/../tools/build.sh" --where)/helm || skip 'no helm: tests/kubernetes/kubelet/build.sh builds and installs what is missing'
  for tool in buildah containerd ctr runc nft conntrack dnsmasq unshare pgrep /usr/lib/cni/ptp; do
    command -v "$tool" >/dev/null || skip "no $tool: tests/kubernetes/kubelet/build.sh builds and installs what is missing"
  done
}

run_in_node_cgroup() { # DIR
  local path inside status=0
  node_cgroup=/weir-kubelet-test-$$
  trap 'remove_node_cgroup; rm -rf --one-file-system "$dir"' EXIT
  while read -r _ path; do mkdir "$path$node_cgroup" 2>/dev/null || skip "no cgroup can be made in $path"; done < <(hierarchies)
  # unshare itself heeds no SIGTERM while it waits.
  trap 'kill -KILL "$inside"' INT TERM
  WEIR_INSIDE=1 WEIR_NODE_CGROUP=$node_cgroup unshare --net --pid --mount --fork --kill-child --mount-proc "$0" "$@" &
  inside=$!
  wait "$inside" || status=$?
  exit $status
}

# What ran in it has ended with the process namespace; the kernel may need a moment to say so.
remove_node_cgroup() {
  local path deadline=$((SECONDS + 30))
  while read -r _ path; do
    until find "$path$node_cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || [[ ! -d $path$node_cgroup ]]; do
      ((SECONDS < deadline)) || { printf 'left behind: %s\n' "$path$node_cgroup" && break; }
      sleep 0.2
    done
  done < <(hierarchies)
}

# Folders whose names are fixed in kubelet, containerd and plugins: of this mount namespace alone, in memory. The kernel's settings are the machine's:
# only those of the network namespace may be changed, and of three the kubelet is shown the value it wants.
make_mounts() {
  local folder setting
  mount --make-rshared /
  for folder in /run /var/log /var/lib/kubelet /var/lib/containerd /var/lib/cni /etc/cni; do
    mkdir -p "$folder"
    mount -t tmpfs tmpfs "$folder"
  done
  mkdir -p /run/lock
  mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf
  mount --bind /proc/sys /proc/sys
  mount -o remount,bind,ro /proc/sys
  mount --bind /proc/sys/net /proc/sys/net
  mount -o remount,bind,rw /proc/sys/net
  for setting in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
    printf '%s\n' "${setting#*=}" >"/run/${setting//\//.}"
    mount --bind "/run/${setting//\//.}" "/proc/sys/${setting%=*}"
  done
}

make_network() {
  ip addr add "$node_address/32" dev lo
  printf 1 >/proc/sys/net/ipv4/ip_forward
  mkdir -p /etc/cni/net.d
  cat >/etc/cni/net.d/10-ptp.conflist <<END
{"cniVersion": "1.0.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.244.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
END
}

# PROGRAM ARGUMENTS...: in the background, its output in $dir/PROGRAM.log.
launch() { "$@" >"$dir/${1##*/}.log" 2>&1 & }

start_containerd() {
  # Without CAP_SYS_RESOURCE nobody's oom_score_adj can be lowered: restrict_oom_score_adj.
  cat >"$dir/containerd.toml" <<END
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/weir-test-pause:1"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
END
  launch containerd --config "$dir/containerd.toml"
  wait_until 'containerd answers' "$dir/containerd.log" ctr version
}

import_image() { ctr -n k8s.io images import --no-unpack=false "$1" >/dev/null || fail "image $1 cannot be imported"; }

start_kubelet() {
  sign "$dir" node /O=system:nodes/CN=system:node:node 'extendedKeyUsage=clientAuth\n'
  write_kubeconfig "$dir" "$dir/node.kubeconfig" node "client-certificate: $dir/node.crt, client-key: $dir/node.key"
  cat >"$dir/kubelet.yaml" <<END
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {x509: {clientCAFile: $dir/ca.crt}, webhook: {enabled: false}, anonymous: {enabled: false}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: $WEIR_NODE_CGROUP
failCgroupV1: false
failSwapOn: false
clusterDNS: [$node_address]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
resolvConf: ""
maxOpenFiles: 16384
evictionHard: {memory.available: 1Mi}
imageGCHighThresholdPercent: 100
END
  launch "$node_programs/kubelet" --config "$dir/kubelet.yaml" --kubeconfig "$dir/node.kubeconfig" --hostname-override node --node-ip "$node_address"
}

# Names of Services, as a cluster's DNS has them.
start_dns() {
  mkdir "$dir/names"
  launch dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --no-resolv --no-hosts --hostsdir="$dir/names" --local=/cluster.local/ \
    --listen-address="$node_address" --bind-interfaces --pid-file= --log-facility=-
  "$kubectl" get services -A --watch -o 'jsonpath={.spec.clusterIP} {.metadata.name}.{.metadata.namespace}.svc.cluster.local{"\n"}' |
    while read -r address name; do printf '%s %s\n' "$address" "$name" >"$dir/names/$name"; done &
}

wait_until() { # WHAT LOG COMMAND...
  local what=$1 log=$2 deadline=$((SECONDS + 120))
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "not after two minutes: $what: $(tail -n 20 "$log")"
    sleep 0.2
  done
}

start_cluster() { # DIR
  dir=$1
  node_programs=$("$here/build.sh" --where)
  tools=$("$here/../tools/build.sh" --where)
  helm=$tools/helm
  make_mounts
  make_network
  api_server_flags=(--kubelet-client-certificate "$dir/admin.crt" --kubelet-client-key "$dir/admin.key" --kubelet-preferred-address-types InternalIP
    --endpoint-reconciler-type lease)
  start_api_server "$dir"
  launch "$control_plane/kube-controller-manager" --kubeconfig "$KUBECONFIG" --authentication-kubeconfig "$KUBECONFIG" --authorization-kubeconfig "$KUBECONFIG" \
    --service-account-private-key-file "$dir/accounts.key" --root-ca-file "$dir/ca.crt" --use-service-account-credentials --leader-elect=false --secure-port 0
  launch "$node_programs/kube-scheduler" --kubeconfig "$KUBECONFIG" --authentication-kubeconfig "$KUBECONFIG" --authorization-kubeconfig "$KUBECONFIG" --leader-elect=false
  launch "$node_programs/kube-proxy" --kubeconfig "$KUBECONFIG" --proxy-mode nftables --hostname-override node --cluster-cidr 10.244.0.0/24 \
    --conntrack-max-per-core 0 --conntrack-tcp-timeout-established 0 --conntrack-tcp-timeout-close-wait 0
  start_containerd
  start_kubelet
  start_dns
  wait_until 'the node is there' "$dir/kubelet.log" "$kubectl" get node node
  "$kubectl" wait --for=condition=Ready --timeout=120s node/node >/dev/null || fail "the node is not Ready: $(tail -n 20 "$dir/kubelet.log")"
}
