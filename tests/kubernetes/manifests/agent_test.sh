#!/usr/bin/env bash
# The agent as the DaemonSet runs it: with exactly the capabilities of its manifest, no new privileges, the cgroup hierarchy read-only. On a
# cgroup, a BPF file system and a network of the test's own.
#   agent_test.sh WEIR-AGENT
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
# shellcheck source=api_server.sh
source "$here/api_server.sh"
agent=$1

((EUID == 0)) || skip 'not root'
for tool in setpriv unshare ip curl; do command -v "$tool" >/dev/null || skip "no $tool"; done
hierarchy=$(awk '{ for (i = 7; i < NF; ++i) if ($i == "-" && $(i + 1) == "cgroup2") { print $5; exit } }' /proc/self/mountinfo)
[[ -n $hierarchy ]] || skip 'no cgroup2 is mounted'

# Outside: the cgroup, which is removed however the inside ends. Inside: everything else ends with its namespaces.
if [[ ${WEIR_INSIDE:-} != 1 ]]; then
  unshare --net --pid --mount --fork true 2>/dev/null || skip 'namespaces cannot be made here'
  cgroup=$hierarchy/weir-deploy-test-$$
  mkdir "$cgroup" 2>/dev/null || skip "no cgroup can be made in $hierarchy"
  trap 'rmdir "$cgroup"' EXIT
  status=0
  WEIR_INSIDE=1 WEIR_CGROUP=$cgroup unshare --net --pid --mount --fork --kill-child --mount-proc "$0" "$@" || status=$?
  exit $status
fi

dir=$(mktemp -d)
trap 'rm -rf --one-file-system "$dir"' EXIT
ip link set lo up
mkdir "$dir/cgroup" "$dir/bpf"
mount --bind "$WEIR_CGROUP" "$dir/cgroup" && mount -o remount,bind,ro "$dir/cgroup" || skip 'the cgroup cannot be mounted read-only'
mount -t bpf bpf "$dir/bpf" || skip 'no BPF file system can be mounted'

shipped=$(sed -n 's/^ *add: \[\(.*\)\]$/\1/p' "$root/deploy/kubernetes/base/agent.yaml" | tr -d ' ' | tr '[:upper:]' '[:lower:]')
[[ $shipped == bpf,* ]] || fail "the manifest's capabilities are not found: $shipped"

start() { # CAPABILITIES
  local set=-all,+${1//,/,+} deadline=$((SECONDS + 60))
  : >"$dir/out"
  setpriv --bounding-set="$set" --inh-caps="$set" --no-new-privs -- "$agent" --node-name=node --controller=127.0.0.1:7400 \
    --cgroup="$dir/cgroup" --bpffs="$dir/bpf/weir" --http=127.0.0.1:7402 --log-level=info "${@:2}" >"$dir/out" 2>"$dir/log" &
  pid=$!
  until grep -q '^listening ' "$dir/out"; do
    kill -0 "$pid" 2>/dev/null || fail "with $1: $(tail -n 3 "$dir/log")"
    ((SECONDS < deadline)) || fail "with $1: it does not start: $(tail -n 3 "$dir/log")"
    sleep 0.1
  done
  curl -sf http://127.0.0.1:7402/healthz >/dev/null || fail "with $1: not healthy: $(curl -s http://127.0.0.1:7402/healthz)"
}
stop() {
  kill "$pid"
  wait "$pid" || fail "it ended with an error: $(tail -n 3 "$dir/log")"
}

start "$shipped"
! grep 'out of reach' "$dir/log" || fail 'it lacks what ends connections in other network namespaces, see above'
stop
# The chart's agent.endConnections=false: adopted by an agent with less, which says what it lacks.
start bpf,net_admin,perfmon
grep -q 'may be out of reach.*cap_sys_admin,cap_sys_ptrace' "$dir/log" || fail "it does not say what it lacks: $(cat "$dir/log")"
stop
# One less, and it says which.
if setpriv --bounding-set=-all,+bpf,+net_admin --inh-caps=-all,+bpf,+net_admin --no-new-privs -- "$agent" --node-name=node --cgroup="$dir/cgroup" \
  --bpffs="$dir/bpf/weir" --http=127.0.0.1:7402 >"$dir/log" 2>&1; then
  fail 'it needs no CAP_PERFMON: then it is not to be given'
fi
grep -q CAP_PERFMON "$dir/log" || fail "it does not say what it lacks: $(cat "$dir/log")"
# As the uninstallation does.
setpriv --bounding-set=-all,+bpf,+net_admin,+perfmon --inh-caps=-all,+bpf,+net_admin,+perfmon -- "$agent" --bpffs="$dir/bpf/weir" --detach >"$dir/log" 2>&1 ||
  fail "--detach: $(cat "$dir/log")"
grep -q '^removed ' "$dir/log" || fail "nothing was there to remove: $(cat "$dir/log")"
left=$(find "$dir/bpf/weir" -type f 2>/dev/null || true)
[[ -z $left ]] || fail "left: $left"
umount "$dir/bpf" "$dir/cgroup"
echo "with $shipped, and with three of them: as expected"
