#!/usr/bin/env bash
# What is deployed, by a real kubelet: Weir's images are built from this tree and run in a cluster of one node, from installing it as
# deploy/kubernetes/README.md says to taking it away, and once more by its chart. What is divided is counted by a client in a pod.
#   kubelet_test.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
api_address=10.0.0.1
# shellcheck source=../manifests/api_server.sh
source "$here/../manifests/api_server.sh"
# shellcheck source=node.sh
source "$here/node.sh"

registry=registry.example.com/weir
version=$(sed -n 's/^project(weir VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

# Outside of the namespaces: packages are installed in the images. Layers that are there already are not built again. Isolation by chroot
# asks for the fewest rights, and has the machine's network.
build_images() {
  local image
  BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot} "$root/deploy/images/build.sh" --builder buildah --registry "$registry" >"$dir/images.log" 2>&1 || fail "the images cannot be built: $(tail -n 20 "$dir/images.log")"
  for image in "$registry"/weir-{controller,agent}:"$version" localhost/weir-test-{pause,shop}:1; do
    buildah push -q "$image" "docker-archive:$dir/$(basename "${image%:*}").tar:$image"
  done
}

# The manifests as they are, with the images of a registry, and the cgroup of this node's pods instead of all of the machine's.
install_weir() {
  cp -r "$root/deploy/kubernetes" "$dir/kubernetes"
  mkdir "$dir/node"
  cat >"$dir/node/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../kubernetes]
images:
- {name: weir-controller, newName: $registry/weir-controller}
- {name: weir-agent, newName: $registry/weir-agent}
patches:
- target: {kind: DaemonSet, name: weir-agent}
  patch: |-
    - {op: test, path: /spec/template/spec/volumes/0/name, value: cgroup}
    - {op: replace, path: /spec/template/spec/volumes/0/hostPath/path, value: $cgroup2$WEIR_NODE_CGROUP}
END
  "$kubectl" apply --server-side -k "$dir/node" >/dev/null
  wait_for_weir
}
wait_for_weir() {
  local what
  for what in deployment/weir-controller daemonset/weir-agent; do
    "$kubectl" -n weir-system rollout status --timeout=120s "$what" >"$dir/rollout.log" 2>&1 ||
      fail "$what: $(tail -n 1 "$dir/rollout.log"): $("$kubectl" -n weir-system get pods,events)"
  done
}

check_agent() {
  local status
  status=$(<"/proc/$(pgrep -x weir-agent)/status")
  grep -qE '^Seccomp:\s2$' <<<"$status" || complain 'the agent runs without a seccomp filter'
  grep -qE '^NoNewPrivs:\s1$' <<<"$status" || complain 'the agent may gain privileges'
}

# A field of the Rollout. Until it is so.
wait_for_rollout() { # JSONPATH VALUE
  "$kubectl" -n shop wait --for="jsonpath={$1}=$2" --timeout=120s rollouts.weir.dev/checkout >/dev/null 2>&1 ||
    fail "the Rollout's $1 is not $2: $("$kubectl" -n shop get rollouts.weir.dev checkout -o jsonpath='{.status}')"
}
wait_for_pause() { # WEIGHT
  wait_for_rollout .status.canaryWeight "$1"
  wait_for_rollout .status.phase Paused
}

in_client() { "$kubectl" -n "${in_namespace:-shop}" exec client -- "$@"; }
counts() { sort | uniq -c | awk '{printf "%s%s %s", sep, $2, $1; sep = ", "}'; }
expect_split() { # EXPECTED COUNT
  local seen
  seen=$(in_client perl /client/dial "$2" | counts)
  [[ $seen == "$1" ]] || complain "of $2 connections: $seen; expected: $1"
}

# Each hundred, so that a share that moved for a moment is seen.
steady() { in_client perl /client/dial 0 >"$dir/steady"; }
check_steady() { # EXPECTED
  local line=1 made seen
  made=$(wc -l <"$dir/steady")
  ((made >= 100)) || complain "only $made connections were made meanwhile"
  ! grep FAILED "$dir/steady" || complain 'connections failed, see above'
  for (( ; line <= made; line += 100)); do
    seen=$(tail -n +$line "$dir/steady" | head -n 100 | counts)
    [[ $seen == "$1" ]] || complain "connections $line to $((line + 99)) of $made: $seen; expected: $1"
  done
  say "$made connections meanwhile, every hundred of them: $1"
}

# A route of another namespace: its pods are told from others by the cgroups that this kubelet makes.
install_gateway_api() {
  local kind
  for kind in httproutes referencegrants; do "$kubectl" apply --server-side -f "$tools/crds/gateway-api/gateway.networking.k8s.io_$kind.yaml" >/dev/null; done
  wait_for_crds {httproutes,referencegrants}.gateway.networking.k8s.io
}
divide_for_lab() {
  local address hash
  address=$("$kubectl" -n shop get service checkout -o jsonpath='{.spec.clusterIP}')
  hash=$("$kubectl" -n shop get rollouts.weir.dev checkout -o jsonpath='{.status.canaryRevision}')
  "$kubectl" create namespace lab >/dev/null
  "$kubectl" -n shop get configmap client -o json | jq '{apiVersion, kind, metadata: {name: "client"}, data}' | "$kubectl" -n lab apply -f - >/dev/null
  sed "s/@ADDRESS@/$address/; s/@HASH@/$hash/" "$here/lab.yaml" | "$kubectl" apply -f - >/dev/null
  "$kubectl" -n lab wait --for=condition=Ready --timeout=60s pod/client >/dev/null || fail "$("$kubectl" -n lab get pods,events)"
  "$kubectl" -n lab wait --for='jsonpath={.status.parents[0].conditions[?(@.type=="Accepted")].status}=True' --timeout=60s httproute/checkout >/dev/null ||
    fail "the route is not accepted: $("$kubectl" -n lab get httproute checkout -o jsonpath='{.status}')"
}

agent_field() { "$kubectl" -n weir-system get pods -l app.kubernetes.io/component=agent -o "jsonpath={.items[0].status.containerStatuses[0].$1}"; }
agent_is_back() { [[ $(agent_field restartCount) == 1 && $(agent_field ready) == true ]]; }

# The agent is killed, then it and the controllers are replaced, while a client goes on.
replace_all() {
  local before after client
  before=$("$kubectl" -n weir-system get pods -o name)
  steady &
  client=$!
  kill -KILL "$(pgrep -x weir-agent)"
  wait_until 'the kubelet has started the agent again' "$dir/kubelet.log" agent_is_back
  "$kubectl" -n weir-system rollout restart daemonset/weir-agent deployment/weir-controller >/dev/null
  wait_for_weir
  wait_for_rollout .status.nodes.acked 1
  in_client touch /tmp/stop
  wait "$client" || complain 'the client that dialled meanwhile ended with an error'
  in_client rm /tmp/stop
  after=$("$kubectl" -n weir-system get pods --field-selector status.phase=Running -o name)
  [[ -z $(comm -12 <(sort <<<"$before") <(sort <<<"$after")) ]] || complain "not replaced: $before"
  check_steady 'v1 80, v2 20'
}

# As deploy/kubernetes/README.md says: through a port-forward, with the client's certificate. The plugin is the image's own.
get_plugin() {
  local key
  mkdir "$dir/client"
  for key in tls.crt tls.key ca.crt; do
    "$kubectl" -n weir-system get secret weir-client-tls -o jsonpath="{.data.${key/./\\.}}" | base64 -d >"$dir/client/$key"
  done
  "$kubectl" -n weir-system exec deployment/weir-controller -- cat /usr/bin/kubectl-weir >"$dir/client/kubectl-weir"
  chmod +x "$dir/client/kubectl-weir"
}
weir() { # ARGUMENTS...
  local forward status=0
  : >"$dir/forward.log" # before it is looked at
  "$kubectl" -n weir-system port-forward service/weir-controller 7400 >>"$dir/forward.log" 2>&1 &
  forward=$!
  wait_until 'port-forward listens' "$dir/forward.log" grep -q '^Forwarding' "$dir/forward.log"
  PATH=$dir/client:$PATH "$kubectl" weir --server localhost:7400 --tls-ca "$dir/client/ca.crt" --tls-cert "$dir/client/tls.crt" --tls-key "$dir/client/tls.key" "$@" \
    >"$dir/weirctl.log" 2>&1 || status=$?
  kill "$forward"
  wait "$forward" || true
  ((status == 0)) || complain "kubectl weir $*: $(cat "$dir/weirctl.log" "$dir/forward.log")"
}

# A connection to the canary is ended in the client's pod: the agent enters that pod's network namespace.
abort_canary() {
  local holder
  : >"$dir/held"
  in_client perl /client/hold v3 >>"$dir/held" &
  holder=$!
  wait_until 'a connection to v3 is held' "$dir/held" grep -q held "$dir/held"
  weir abort checkout -n shop
  wait_until 'the connection to the aborted canary has ended' "$dir/held" grep -q ended "$dir/held"
  wait "$holder" || complain 'the client that held a connection ended with an error'
  grep -q 'ended: Software caused connection abort' "$dir/held" || complain "the connection to the aborted canary: $(cat "$dir/held")"
  wait_for_rollout .status.phase Degraded
}

# Applying it again makes the Job look at the certificates again, and restarts nothing.
upgrade_weir() {
  local before
  before=$("$kubectl" -n weir-system get pods -l '!job-name' -o name)
  "$kubectl" -n weir-system delete job weir-certs --ignore-not-found >/dev/null # it goes by itself after a minute
  "$kubectl" apply --server-side -k "$dir/node" >/dev/null
  "$kubectl" -n weir-system wait --for=condition=Complete --timeout=60s job/weir-certs >/dev/null || fail 'the Job does not end'
  (($("$kubectl" -n weir-system logs job/weir-certs | grep -c ': kept$') == 4)) || complain "certificates were not kept: $("$kubectl" -n weir-system logs job/weir-certs)"
  wait_for_weir
  [[ $("$kubectl" -n weir-system get pods -l '!job-name' -o name) == "$before" ]] || complain 'pods were replaced'
}

install_chart() {
  "$helm" install weir "$root/deploy/kubernetes/helm/weir" --namespace weir-system --create-namespace --set image.registry="$registry/" \
    --set agent.cgroup="$cgroup2$WEIR_NODE_CGROUP" >"$dir/helm.log" 2>&1 || fail "the chart cannot be installed: $(tail -n 5 "$dir/helm.log")"
  wait_for_weir
  "$helm" uninstall weir --namespace weir-system --wait >/dev/null || complain 'the release does not go'
}

# As the README's table has it.
uninstall_weir() {
  "$kubectl" delete rollouts.weir.dev --all -A --timeout=60s >/dev/null || fail 'the Rollout does not go'
  [[ -z $("$kubectl" -n shop get deployment checkout -o jsonpath='{.spec.paused}') ]] || complain 'the Deployment is still held'
  "$kubectl" delete --timeout=120s -k "$dir/kubernetes/base" >/dev/null || fail 'the base does not go'
  [[ -n $(find /sys/fs/bpf/weir -type f) ]] || complain 'nothing was pinned that could go on dividing'
  "$kubectl" create namespace weir-system >/dev/null
  sed -i "s|^images:.*|&|; s|name: weir-agent, |&newName: $registry/weir-agent, |" "$dir/kubernetes/uninstall/kustomization.yaml"
  "$kubectl" apply -k "$dir/kubernetes/uninstall" >/dev/null
  "$kubectl" -n weir-system rollout status --timeout=120s daemonset/weir-detach >/dev/null || fail "weir-detach: $("$kubectl" -n weir-system get pods,events)"
  [[ -z $(find /sys/fs/bpf/weir -type f 2>/dev/null) ]] || complain "still pinned: $(find /sys/fs/bpf/weir)"
  "$kubectl" delete --timeout=60s -k "$dir/kubernetes/uninstall" >/dev/null && "$kubectl" delete --timeout=120s namespace weir-system >/dev/null || complain 'what detached does not go'
  "$kubectl" delete --timeout=60s -k "$dir/kubernetes/crds" >/dev/null || complain 'CRDs do not go'
}

if [[ ${WEIR_INSIDE:-} != 1 ]]; then
  require_node_parts
  dir=$(mktemp -d)
  trap 'rm -rf --one-file-system "$dir"' EXIT
  build_images
  run_in_node_cgroup "$dir"
fi

dir=$1
enter_namespaces
start_cluster "$dir"
for image in weir-controller weir-agent weir-test-pause weir-test-shop; do import_image "$dir/$image.tar"; done
say 'the node is Ready'

install_gateway_api
install_weir
say 'applied: controllers and agent are Ready'
check_agent
upgrade_weir
say 'applied again'
"$kubectl" apply -f "$here/shop.yaml" >/dev/null
"$kubectl" -n shop wait --for=condition=Ready --timeout=60s pod --all >/dev/null || fail "$("$kubectl" -n shop get pods,events)"
wait_for_rollout .status.phase Healthy
expect_split 'v1 20' 20

"$kubectl" -n shop set env deployment/checkout VERSION=v2 >/dev/null
wait_for_pause 20
expect_split 'v1 80, v2 20' 100
divide_for_lab
in_namespace=lab expect_split 'v2 50' 50
expect_split 'v1 80, v2 20' 100
say 'namespace lab has a split of its own'
replace_all
in_namespace=lab expect_split 'v2 50' 50
"$kubectl" delete namespace lab --timeout=60s >/dev/null || fail 'namespace lab does not go'
get_plugin
weir promote checkout -n shop
wait_for_pause 50
expect_split 'v1 50, v2 50' 100
weir promote checkout -n shop
wait_for_rollout .status.phase Healthy
expect_split 'v2 20' 20
say 'promoted by kubectl weir'

"$kubectl" -n shop set env deployment/checkout VERSION=v3 >/dev/null
wait_for_pause 20
abort_canary
expect_split 'v2 20' 20
say 'aborted, and an open connection to the canary ended'

uninstall_weir
expect_split 'v2 20' 20
say 'uninstalled'
install_chart
say 'installed by the chart, and taken away'

((failures == 0)) || fail "$failures of what was expected"
echo 'images, manifests and the uninstallation under a real kubelet: as expected'
