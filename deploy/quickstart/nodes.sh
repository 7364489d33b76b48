# shellcheck shell=bash
# The namespaces, the nodes and the daemons on them. Sourced by quickstart.sh.
# shellcheck disable=SC2034,SC2154,SC2317  # variables are shared with the other files; functions are called by name

build_programs() {
  local build=$repository/build/quickstart log=$repository/build/quickstart-build.log pid line
  mkdir -p "$build"
  cmake -S "$repository" --preset quickstart >"$log" 2>&1 || { tail -n 30 "$log" >&2 && die "cmake failed: $log"; }
  cmake --build "$build" --target weir-controller weir-agent weirctl >>"$log" 2>&1 &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if $on_terminal; then
      line=$(grep -aoE '^\[[0-9]+/[0-9]+\]' "$log" | tail -n 1 || true)
      redraw "build      ${line:-...}"
    fi
    sleep 0.2
  done
  wait "$pid" || { tail -n 60 "$log" >&2 && die "the build failed: $log"; }
  if $on_terminal; then redraw "build      done" && keep_drawing; fi
  binaries=$build/bin
}

start_namespaces() {
  mkdir -p "$run/bpffs" "$run/state"
  # shellcheck disable=SC2016  # expanded by the inner shell
  setpriv --pdeathsig KILL unshare --net --mount --propagation private sh -c '
    mount -t bpf bpf "$1/bpffs" && ip link set lo up && : >"$1/namespaces" && exec sleep infinity' \
    sh "$run" 2>"$run/namespaces.log" </dev/null &
  holder=$!
  namespaces_ready() { [[ -e $run/namespaces ]] || is_gone "$holder"; }
  wait_until 10 namespaces_ready || true
  [[ -e $run/namespaces ]] || die "no namespaces: $(cat "$run/namespaces.log")"
}

start_nodes() {
  local mount node
  mount=$(awk '{ for (i = 7; i < NF; ++i) if ($i == "-" && $(i + 1) == "cgroup2") { print $5; exit } }' /proc/self/mountinfo)
  [[ -n $mount ]] || die 'no cgroup2 in /proc/self/mountinfo; mount it: mount -t cgroup2 none /sys/fs/cgroup'
  sweep "$mount"
  cgroup=$mount/weir-quickstart-$$
  for node in "${nodes[@]}"; do
    mkdir -p "$cgroup/$node" || die "no child cgroup under $mount: is it mounted read-only?"
  done
}

nginx_answers() { [[ $(inside curl -s --noproxy '*' "http://127.0.1.1:8081/" 2>/dev/null) == 'checkout v1' ]]; }
nodes_connected() {
  [[ $(weirctl get nodes -o json 2>/dev/null | jq '[.items[] | select(.connected)] | length') == "${#nodes[@]}" ]]
}

start_daemons() {
  local i
  start nginx nginx -p "$run/" -e error.log -c "$here/${scene_nginx:-nginx.conf}"
  wait_until 10 nginx_answers || die "nginx does not answer: $(cat "$run/error.log" "$run/nginx.log" 2>/dev/null | tail -n 5)"
  start controller "$binaries/weir-controller" --listen 127.0.0.1:7400 --http 127.0.0.1:7401 --state "$run/state"
  await_listening controller
  for i in "${!nodes[@]}"; do
    start "${nodes[i]}" "$binaries/weir-agent" --node-name "${nodes[i]}" --cgroup "$cgroup/${nodes[i]}" \
      --bpffs "$run/bpffs/${nodes[i]}" --controller 127.0.0.1:7400 --http "127.0.0.1:$((7402 + i))"
    await_listening "${nodes[i]}"
  done
  wait_until 30 nodes_connected || die "the agents did not connect: $(tail -n 3 "$run/${nodes[0]}.log")"
  # A command the user can type, from anywhere on this machine.
  cat >"$run/weirctl" <<EOF
#!/bin/sh
exec nsenter --net=/proc/$holder/ns/net env WEIR_NAMESPACE=$WEIR_NAMESPACE WEIR_SERVER=$WEIR_SERVER \\
  $binaries/weirctl "\$@"
EOF
  # And any other, where the daemons are: curl, a Prometheus.
  cat >"$run/inside" <<EOF
#!/bin/sh
exec nsenter --net=/proc/$holder/ns/net -- "\$@"
EOF
  chmod +x "$run/weirctl" "$run/inside"
}

remember_programs() {
  local node
  for node in "${nodes[@]}"; do
    mapfile -t -O "${#program_ids[@]}" program_ids < <(bpftool -j cgroup show "$cgroup/$node" | jq -r '.[].id')
  done
  ((${#program_ids[@]} > 0)) || die "no BPF program is attached to $cgroup/${nodes[0]}"
}
