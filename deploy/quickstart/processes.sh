# shellcheck shell=bash
# Processes in the quickstart's namespaces, and that nothing of them is left behind. Sourced by quickstart.sh.
# shellcheck disable=SC2034,SC2154,SC2317  # variables are shared with the other files; functions are called by name

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
