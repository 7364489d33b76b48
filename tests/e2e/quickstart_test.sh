#!/usr/bin/env bash
# The quickstart as a user runs it, without a terminal.
#   quickstart_test.sh check|twins|ended|SCENE BIN_DIR
# Exit status 77: skipped, with the reason.
set -euo pipefail
quickstart=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/deploy/quickstart.sh
mode=$1 binaries=$2
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT

if ((EUID != 0)); then
  echo 'SKIP: not root: the quickstart makes cgroups and namespaces'
  exit 77
fi
if ! grep -q ' - cgroup2 ' /proc/self/mountinfo; then
  echo 'SKIP: no cgroup2 is mounted'
  exit 77
fi

fail() {
  printf 'FAILED: %s\n' "$*"
  exit 1
}

# Nothing of the quickstart with this pid: no process that names its directory, no cgroup, no directory.
expect_nothing_of() { # PID
  local mount
  mount=$(awk '{ for (i = 7; i < NF; ++i) if ($i == "-" && $(i + 1) == "cgroup2") { print $5; exit } }' /proc/self/mountinfo)
  ! pgrep -af "run-$1(/|\$)" || fail 'processes are left'
  [[ ! -e $mount/weir-quickstart-$1 ]] || fail "cgroup $mount/weir-quickstart-$1 is left"
  [[ ! -e ${quickstart%/deploy/*}/build/quickstart/run-$1 ]] || fail 'its directory is left'
}

case $mode in
  check)
    "$quickstart" --check --bin "$binaries"
    ;;
  twins)
    "$quickstart" --check --bin "$binaries" >"$output/1" 2>&1 &
    first=$!
    "$quickstart" --check --bin "$binaries" >"$output/2" 2>&1 &
    second=$!
    wait "$first" || fail "the first one: $(cat "$output/1")"
    wait "$second" || fail "the second one: $(cat "$output/2")"
    expect_nothing_of "$first"
    expect_nothing_of "$second"
    ;;
  ended)
    # In the middle of the canary it is told to end.
    "$quickstart" --check --bin "$binaries" >"$output/log" 2>&1 &
    pid=$!
    until grep -q '^setWeight 20' "$output/log"; do
      kill -0 "$pid" 2>/dev/null || fail "it did not come to its canary: $(cat "$output/log")"
      sleep 0.1
    done
    kill -TERM "$pid"
    status=0
    wait "$pid" || status=$?
    ((status == 130)) || fail "expected exit status 130, found $status: $(cat "$output/log")"
    expect_nothing_of "$pid"
    ;;
  *)
    "$quickstart" --scene "$mode" --check --bin "$binaries"
    ;;
esac
