#!/usr/bin/env bash
# Installs what is missing, builds for release, measures, prints Markdown tables; the same goes to build/bench/results.md.
#
#   tests/bench/run.sh [--quick] [SECTION...]
#
#   --quick    fewer sizes and rounds: below four minutes, where the whole takes up to twenty
#   SECTION    only these: connect deviation change sync throughput l7 figures end agent streams flip telemetry end-to-end scrape
#
# As root. Exit status: 0 when everything could be measured; what takes longer than its target is for the reader to see.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() {
  printf 'run.sh: %s\n' "$*" >&2
  exit 1
}

quick=()
datapath=()
control=()
scrape=false
while (($# > 0)); do
  case $1 in
    --quick) quick=(--quick) ;;
    connect | deviation | change | sync | throughput | l7 | figures | end) datapath+=("$1") ;;
    agent | streams | flip | telemetry | end-to-end) control+=("$1") ;;
    scrape) scrape=true ;;
    -h | --help)
      sed -n '2,9s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) die "unknown argument $1 (known: --quick connect deviation change sync throughput l7 figures end agent streams flip telemetry end-to-end scrape)" ;;
  esac
  shift
done
if ((${#datapath[@]} + ${#control[@]} == 0)) && ! $scrape; then
  datapath=(connect deviation change sync throughput l7 figures end)
  control=(agent streams flip telemetry end-to-end)
  scrape=true
fi
((EUID == 0)) || die 'found no root privilege; network namespaces, cgroups and BPF need it: run it with sudo'

for program in cmake ninja clang bpftool iptables-legacy-restore nft haproxy nginx wrk; do
  if ! command -v "$program" >/dev/null; then
    deploy/install-deps.sh
    break
  fi
done

build=build/bench
mkdir -p "$build"
{
  cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DWEIR_BUILD_BENCH=ON -DWEIR_BUILD_TESTS=OFF
  cmake --build "$build" --target bench_datapath bench_control bench_scrape weir-agent weir-controller
} >"$build/build.log" 2>&1 || { tail -n 40 "$build/build.log" >&2 && die "the build failed: $build/build.log"; }

measure() {
  printf '## Measured on\n\nLinux %s, %s, %s cores, load average %s at the start, %s.\n\n' "$(uname -r)" \
    "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(cut -d ' ' -f 1-3 /proc/loadavg)" \
    "$(date -u +%Y-%m-%d)"
  if ((${#datapath[@]} > 0)); then "$build/bin/bench_datapath" "${quick[@]}" "${datapath[@]}" || return 1; fi
  if ((${#control[@]} > 0)); then "$build/bin/bench_control" "${quick[@]}" "${control[@]}" || return 1; fi
  if $scrape; then "$build/bin/bench_scrape" || return 1; fi
  printf 'Load average at the end %s; the run took %d min %d s.\n' "$(cut -d ' ' -f 1-3 /proc/loadavg)" \
    $((SECONDS / 60)) $((SECONDS % 60))
}

SECONDS=0
measure | tee "$build/results.md"
