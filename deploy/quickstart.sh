#!/usr/bin/env bash
# A rollout on this machine: one controller, two agents, two "nodes", nginx in two revisions, curl as client.
#
#   deploy/quickstart.sh [--scene NAME] [--check] [--bin DIR]
#
#   --scene NAME  what is told, one of deploy/quickstart/scenes:
#   --check       no terminal and no question: promotes by itself, verifies every figure, exits 0 or 1
#   --bin DIR     use the programs in DIR instead of building them in build/quickstart
#
# As root. Everything runs in a network and a mount namespace of its own, without a way out; the two nodes are two child
# cgroups. Ctrl-C or the end removes all of it: processes, cgroups, pins, programs; files are made in build/ only.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
here=$repository/deploy/quickstart
# shellcheck source=deploy/quickstart/display.sh
source "$here/display.sh"

usage() { # the comment above, and after --scene what there is
  local line file
  sed -n '2,/^set -/s/^# \{0,1\}//p' "$repository/deploy/quickstart.sh" | while IFS= read -r line; do
    printf '%s\n' "$line"
    [[ $line == *'--scene NAME '* ]] || continue
    for file in "$here"/scenes/*.sh; do
      printf '                  %-12s %s\n' "$(basename "$file" .sh)" "$(sed -n '2s/^# //p' "$file")"
    done
  done
}

scene=canary
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
    --scene)
      scene=${2:-}
      if [[ ! $scene =~ ^[a-z-]+$ || ! -e $here/scenes/$scene.sh ]]; then
        known=("$here"/scenes/*.sh)
        known=("${known[@]##*/}")
        printf 'quickstart: no scene "%s" (known: %s)\n' "$scene" "${known[*]%.sh}" >&2 && exit 1
      fi
      shift
      ;;
    -h | --help) usage && exit 0 ;;
    *) printf 'quickstart: unknown option %s (known: --scene --check --bin)\n' "$1" >&2 && exit 1 ;;
  esac
  shift
done
interactive=false
if ! $check && $on_terminal && [[ -t 0 ]]; then interactive=true; fi

export WEIR_NAMESPACE=shop WEIR_SERVER=127.0.0.1:7400
nodes=(node-a node-b) vip=127.96.0.1 run=$repository/build/quickstart/run-$$
cgroup=''       # of this quickstart; the nodes are its children
holder=''       # keeps the namespaces
processes=()    # the daemons, in the order they are stopped
program_ids=()  # BPF programs that were attached to the nodes
cleaned=false

# shellcheck source=deploy/quickstart/processes.sh
source "$here/processes.sh"
# shellcheck source=deploy/quickstart/nodes.sh
source "$here/nodes.sh"
# shellcheck source=deploy/quickstart/clients.sh
source "$here/clients.sh"
# shellcheck source=deploy/quickstart/rollout.sh
source "$here/rollout.sh"
# shellcheck source=deploy/quickstart/scenes/canary.sh
source "$here/scenes/$scene.sh"

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
  apply "${scene_manifests[@]}"
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
