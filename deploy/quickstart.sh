#!/usr/bin/env bash
# A whole canary on this machine: one controller, two agents, two "nodes", nginx in two revisions, curl as client.
#
#   deploy/quickstart.sh [--check] [--bin DIR]
#
#   --check    no terminal and no question: promotes by itself, verifies every figure, exits 0 or 1
#   --bin DIR  use the programs in DIR instead of building them in build/quickstart
#
# As root. Everything runs in a network and a mount namespace of its own, without a way out; the two nodes are two child
# cgroups. Ctrl-C or the end removes all of it: processes, cgroups, pins, programs; files are made in build/ only.
# shellcheck disable=SC2317  # functions are called by name and by traps
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/quickstart/display.sh
source "$repository/deploy/quickstart/display.sh"

check=false
binaries=''
while (($# > 0)); do
  case $1 in
    --check) check=true ;;
    --bin)
      (($# > 1)) || { printf 'quickstart: --bin needs a directory\n' >&2 && exit 1; }
      binaries=$(cd "$2" && pwd)
      shift
      ;;
    -h | --help)
      sed -n '2,10s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) printf 'quickstart: unknown option %s (known: --check --bin)\n' "$1" >&2 && exit 1 ;;
  esac
  shift
done
interactive=false
if ! $check && $on_terminal && [[ -t 0 ]]; then interactive=true; fi

export WEIR_NAMESPACE=shop WEIR_SERVER=127.0.0.1:7400
nodes=(node-a node-b)
vip=127.96.0.1
run=$repository/build/quickstart/run-$$
cgroup=''        # of this quickstart; the nodes are its children
holder=''        # keeps the namespaces
processes=()     # the daemons, in the order they are stopped
program_ids=()   # BPF programs that were attached to the nodes
cleaned=false

die() {
  keep_drawing
  printf '%squickstart: %s%s\n' "$red" "$*" "$plain" >&2
  exit 1
}

# Until COMMAND succeeds, for at most SECONDS; it is asked every 50 ms.
wait_until() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

inside() { nsenter --net="/proc/$holder/ns/net" --mount="/proc/$holder/ns/mnt" --wd="$run" "$@"; }
weirctl() { inside "$binaries/weirctl" "$@"; }

# --- what is left behind: nothing ---

is_gone() { ! kill -0 "$1" 2>/dev/null; }
cgroup_is_empty() { grep -q '^populated 0$' "$cgroup/cgroup.events"; }
program_is_gone() { ! bpftool prog show id "$1" >/dev/null 2>&1; }

cleanup() {
  $cleaned && return
  cleaned=true
  local pid node
  trap '' INT TERM HUP
  if [[ -n $cgroup && -d $cgroup ]]; then
    printf '1\n' >"$cgroup/cgroup.kill"  # the clients
    wait_until 5 cgroup_is_empty || true
  fi
  for pid in "${processes[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${processes[@]}"; do
    wait_until 10 is_gone "$pid" || kill -KILL "$pid" 2>/dev/null || true
  done
  # The pins are on a BPF file system that only this namespace has mounted: it goes with the last process in it.
  [[ -z $holder ]] || kill -KILL "$holder" 2>/dev/null || true
  wait 2>/dev/null || true
  if [[ -n $cgroup && -d $cgroup ]]; then
    for node in "${nodes[@]}"; do [[ ! -d $cgroup/$node ]] || rmdir "$cgroup/$node" || true; done
    rmdir "$cgroup" || true
  fi
}

# Prints what is still there; succeeds when there is something.
leftovers() {
  local pid id found=1
  for pid in "${processes[@]}" ${holder:+"$holder"}; do
    is_gone "$pid" || { printf 'process %s is still there\n' "$pid" && found=0; }
  done
  if [[ -n $cgroup && -d $cgroup ]]; then printf 'cgroup %s is still there\n' "$cgroup" && found=0; fi
  for id in "${program_ids[@]}"; do
    wait_until 5 program_is_gone "$id" || { printf 'BPF program %s is still there\n' "$id" && found=0; }
  done
  return $found
}

finish() {
  local status=$?
  keep_drawing
  cleanup
  if leftovers >&2; then status=1; fi
  if ((status == 0 || status == 130)); then
    rm -rf "$run"
  else
    printf 'logs: %s\n' "$run" >&2
  fi
  exit "$status"
}

# What a quickstart that was killed with SIGKILL could not remove: cgroups and directories of a pid that is gone.
sweep() {
  local path pid
  for path in "$1"/weir-quickstart-* "$repository"/build/quickstart/run-*; do
    pid=${path##*-}
    [[ -d $path && $pid =~ ^[0-9]+$ && ! -d /proc/$pid ]] || continue
    if [[ $path == "$1"/* ]]; then
      rmdir "$path"/* "$path" 2>/dev/null || true
    else
      rm -rf "$path"
    fi
  done
}

# --- start ---

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

start() { # NAME COMMAND...: in the namespaces, output to NAME.out and NAME.log
  local name=$1
  shift
  # The daemons end with this script, however it ends.
  setpriv --pdeathsig TERM nsenter --net="/proc/$holder/ns/net" --mount="/proc/$holder/ns/mnt" --wd="$run" \
    "$@" >"$run/$name.out" 2>"$run/$name.log" </dev/null &
  processes+=($!)
}

listens() { grep -qs '^listening ' "$run/$1.out"; }

await_listening() { # NAME
  local pid=${processes[-1]}
  started_or_ended() { listens "$1" || is_gone "$pid"; }
  wait_until 30 started_or_ended "$1" || true
  if ! listens "$1"; then
    tail -n 20 "$run/$1.log" >&2
    die "$1 did not start"
  fi
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
  start nginx nginx -p "$run/" -e error.log -c "$repository/deploy/quickstart/nginx.conf"
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

# --- clients ---

declare -A sent  # connections per "node phase"; a phase is a generation

# From inside NODE's cgroup, COUNT connections numbered from FIRST; PHASE is the generation they are meant for.
connect() { # NODE PHASE FIRST COUNT
  "$repository/deploy/quickstart/client.sh" "$cgroup/$1" "/proc/$holder/ns/net" "$vip" "$@" >>"$run/failed-$1" </dev/null
}

# Lines of NODE and PHASE in the log of a revision's server.
served() { # REVISION NODE PHASE
  grep -c "^$2 $3 " "$run/$1.log" || true
}

all_served() { # NODE PHASE
  (($(served v1 "$1" "$2") + $(served v2 "$1" "$2") == ${sent["$1 $2"]:-0}))
}

# From the servers' logs: the largest |v2 - n * w| after any single connection n of NODE in PHASE, in hundredths.
worst_deviation() { # NODE PHASE WEIGHT
  awk -v node="$1" -v phase="$2" -v weight="$3" '
    $1 == node && $2 == phase { canary[$3] = FILENAME ~ /v2\.log$/; if ($3 > last) last = $3 }
    END {
      for (n = 1; n <= last; ++n) {
        count += canary[n]
        off = count * 100 - n * weight
        if (off < 0) off = -off
        if (off > worst) worst = off
      }
      print worst + 0
    }' "$run/v1.log" "$run/v2.log"
}

# --- what the controller says ---

read_rollout() {
  local fields
  fields=$(weirctl get rollouts checkout -o json | jq -r '[.phase, .generation, .canaryWeight, .stableRevision,
    (.canaryRevision | if . == "" then "-" else . end), .nodesAcked, .nodesDesired,
    (if .phase == "Healthy" then "\(.steps | length)/\(.steps | length) done"
     else "\(.currentStepIndex)/\(.steps | length) \(.steps[.currentStepIndex].text // "")" end),
    .pauseRemainingMs] | map(tostring) | join("\t")') || return 1
  IFS=$'\t' read -r phase generation canary_weight stable canary acked desired step pause_ms <<<"$fields"
  # The percentage of v2, whatever its role is now.
  if [[ $canary == v2 ]]; then
    weight_v2=$canary_weight
  elif [[ $canary == v1 ]]; then
    weight_v2=$((100 - canary_weight))
  elif [[ $stable == v2 ]]; then
    weight_v2=100
  else
    weight_v2=0
  fi
}

acked_by_all() { ((desired == ${#nodes[@]} && acked == desired)); }

picture() {
  local node v1 v2 total tenths text
  text="$bold  shop/checkout$plain  $vip:80     $(phase_color "$phase")$phase$plain"
  ((pause_ms < 0)) || [[ $phase != Paused ]] || text+=" $(((pause_ms + 999) / 1000)) s"
  text+=$'\n'"  step       $step"
  text+=$'\n'"  generation $generation, held by $acked of $desired nodes"
  text+=$'\n'"  wanted     $(bar $((weight_v2 * 10)))  $(printf '%3d' "$weight_v2") % v2"
  for node in "${nodes[@]}"; do
    v1=$(served v1 "$node" "$generation")
    v2=$(served v2 "$node" "$generation")
    total=$((v1 + v2))
    tenths=0
    if ((total > 0)); then tenths=$(((v2 * 1000 + total / 2) / total)); fi
    text+=$'\n'"  $(printf '%-10s' "$node") $(bar "$tenths")  $(printf '%3d.%d' $((tenths / 10)) $((tenths % 10))) %"
    text+="  ${dim}v1 $v1, v2 $v2, counted by nginx$plain"
  done
  printf '%s' "$text"
}

# --- the story, told without questions ---

connections_per_phase=50

# PHASE of the rollout, weight of v2 and acks of all nodes, or why it is not so yet.
stands_at() { # PHASE WEIGHT STEP_PATTERN
  read_rollout || return 1
  # shellcheck disable=SC2053  # a pattern on purpose
  [[ $phase == $1 && $step == $3 ]] && ((weight_v2 == $2)) && acked_by_all
}

# Waits for a state, drives every node's clients through it, and verifies what the servers counted.
verify_phase() { # TITLE PHASE WEIGHT STEP_PATTERN
  local node worst worst_text v1 v2 before pid pids=()
  wait_until 30 stands_at "$2" "$3" "$4" ||
    die "$1: expected $2, $3 % of v2 and all nodes, found ${phase:-nothing}, ${weight_v2:-?} %, ${acked:-?}/${desired:-?} nodes, step ${step:-?}"
  before=$generation
  for node in "${nodes[@]}"; do
    sent["$node $before"]=$connections_per_phase
    connect "$node" "$before" 1 "$connections_per_phase" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || die "$1: the clients failed: $(head -n 5 "$run"/failed-*)"; done
  read_rollout
  ((generation == before)) || die "$1: the weights changed while $connections_per_phase connections were made: is this machine very busy?"
  for node in "${nodes[@]}"; do
    [[ ! -s $run/failed-$node ]] || die "$1: failed connections: $(head -n 5 "$run/failed-$node")"
    # nginx writes its line just after the client has its answer.
    wait_until 5 all_served "$node" "$before" || die "$1: not every connection of $node is in a server's log"
    v1=$(served v1 "$node" "$before")
    v2=$(served v2 "$node" "$before")
    worst=$(worst_deviation "$node" "$before" "$3")
    worst_text=$((worst / 100)).$(printf '%02d' $((worst % 100)))
    ((worst < 100)) || die "$1: $node is off by $worst_text connections: v1 $v1, v2 $v2, wanted $3 % of v2"
    printf '%-26s %-7s generation %-3s %d/%d nodes   v1 %2d   v2 %2d   wanted %3d %%   off by at most %s\n' \
      "$1" "$node" "$before" "$acked" "$desired" "$v1" "$v2" "$3" "$worst_text"
  done
}

remember_programs() {
  local node
  for node in "${nodes[@]}"; do
    mapfile -t -O "${#program_ids[@]}" program_ids < <(bpftool -j cgroup show "$cgroup/$node" | jq -r '.[].id')
  done
  ((${#program_ids[@]} > 0)) || die "no BPF program is attached to $cgroup/${nodes[0]}"
}

tell_story() {
  verify_phase 'v1 is stable' Healthy 0 '*'
  weirctl apply -f "$repository/deploy/quickstart/rollout-v2.yaml" >/dev/null
  verify_phase 'setWeight 20, pause' Paused 20 '1/*'
  weirctl promote checkout >/dev/null
  verify_phase 'setWeight 50, pause 10s' Paused 50 '3/*'
  verify_phase 'v2 is stable' Healthy 100 '*'
  [[ $stable == v2 ]] || die "v2 should be stable, and is $stable"
  # And back: v1 as the canary of v2, aborted.
  weirctl apply -f "$repository/deploy/quickstart/rollout-v1.yaml" >/dev/null
  verify_phase 'back to v1: setWeight 20' Paused 80 '1/*'
  weirctl abort checkout >/dev/null
  verify_phase 'abort' Degraded 100 '*'
  weirctl retry checkout >/dev/null
  verify_phase 'retry: setWeight 20' Paused 80 '1/*'
  weirctl promote --full checkout >/dev/null
  verify_phase 'promote --full' Healthy 0 '*'
}

# --- the story, with someone at the terminal ---

key_pressed() { # SECONDS: waits that long for Enter
  local line
  read -r -t "$1" line || return 1
  drawn_lines=$((drawn_lines + 1))  # the terminal's echo went to the next line
}

hints() {
  printf '\n\n  %sfrom another terminal:%s  W=%s\n' "$dim" "$plain" "$run/weirctl"
  # shellcheck disable=SC2016  # for the user to type
  printf '    $W get rollouts -w      $W status checkout      $W promote checkout      $W abort checkout'
}

# Redraws with a trickle of connections until Enter is pressed (0) or COMMAND succeeds (1).
live() { # QUESTION COMMAND...
  local question=$1 node first
  shift
  while read_rollout; do
    for node in "${nodes[@]}"; do
      first=$((${sent["$node $generation"]:-0} + 1))
      sent["$node $generation"]=$((first + 4))
      connect "$node" "$generation" "$first" 5 || true
    done
    redraw "$(picture)$(hints)"$'\n\n'"  $yellow$question$plain"
    if "$@"; then return 1; fi
    if key_pressed 0.3; then return 0; fi
  done
  die 'the controller does not answer any more'
}

is_past_the_pause() { [[ $phase == Healthy || $phase == Degraded ]] || ((weight_v2 != 20 && weight_v2 != 0)); }
is_settled() { [[ $phase == Healthy || $phase == Degraded ]]; }
never() { false; }

tell_interactively() {
  title 'A canary of v2: 20 %, a pause that waits for you, 50 %, a pause of 10 s, 100 %'
  weirctl apply -f "$repository/deploy/quickstart/rollout-v2.yaml" >/dev/null
  say
  if live 'The pause waits for you: Enter promotes.' is_past_the_pause; then
    weirctl promote checkout >/dev/null
    live 'Promoted: 50 %, then all of it after 10 s.' is_settled || true
  fi
  live 'Done; all of it goes on running. Enter ends it and leaves nothing behind.' never || true
  keep_drawing
}

# --- main ---

# A function, and an exit after it: bash has read all of it before it begins, so a change of this file in the meantime
# (git pull, an editor) cannot get into the run.
main() {
  local program
  ((EUID == 0)) || die "not root: it makes cgroups and namespaces and loads BPF programs; run: sudo $0"
  trap finish EXIT
  trap 'exit 130' INT TERM HUP
  if [[ -z $binaries ]]; then
    "$repository/deploy/install-deps.sh" --build --tests
    build_programs
  fi
  for program in weir-controller weir-agent weirctl; do
    [[ -x $binaries/$program ]] || die "$binaries/$program: no such program"
  done
  start_nodes
  start_namespaces
  start_daemons
  weirctl apply -f "$repository/deploy/quickstart/checkout.yaml" -f "$repository/deploy/quickstart/rollout-v1.yaml" >/dev/null
  remember_programs
  # Told in a process of its own: a signal then finds this one waiting, where bash 5.2 runs a trap safely, which it does
  # not in the middle of an expansion.
  local story=tell_story status=0
  if $interactive; then story=tell_interactively; fi
  "$story" <&0 &
  processes=("$!" "${processes[@]}")
  wait "$!" || status=$?
  ((status == 0)) || exit "$status"
  if ! $interactive; then
    cleanup
    if leftovers; then die 'something was left behind'; fi
    say 'every figure is right, and nothing is left behind'
  fi
}

main
exit
