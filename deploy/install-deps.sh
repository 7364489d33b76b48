#!/usr/bin/env bash
# Installs from the distribution what Weir is built from and tested with. Debian 12 or later, Ubuntu 24.04 or later.
#
#   deploy/install-deps.sh [--build] [--tests] [--bench] [--kubelet] [--check]
#
#   --build   compilers and libraries
#   --tests   what the tests and the quickstart run: nginx, curl, redis, dig, wrk, tmux, prometheus, formatters ...
#   --bench   what the benchmark is compared with: haproxy, iptables, nftables
#   --kubelet what tests/kubernetes/kubelet makes images and a node of: buildah, containerd, runc ...
#   --check   install nothing; print what is missing; exit 1 if anything is
#
# Without a group: the first three. Nothing is done, and no package index is read, when everything is there.
# Services of the packages (nginx, redis, haproxy, prometheus) are not started.
set -euo pipefail

die() {
  printf 'install-deps: %s\n' "$*" >&2
  exit 1
}

# One package a line; "a|b" is satisfied by either, and the first one the distribution knows is installed.
packages_build='
build-essential
cmake
ninja-build
pkg-config
ccache
clang
llvm
libelf-dev
zlib1g-dev
libbpf-dev
bpftool|linux-tools-generic
libcap-dev
libboost1.81-dev|libboost1.83-dev|libboost-dev
libboost-json1.81-dev|libboost-json1.83-dev|libboost-json-dev
libboost-system1.81-dev|libboost-system1.83-dev|libboost-system-dev
libgrpc++-dev
libgrpc-dev
protobuf-compiler
protobuf-compiler-grpc
libprotobuf-dev
libabsl-dev
libspdlog-dev
libfmt-dev
libyaml-cpp-dev
libsqlite3-dev
libre2-dev
libcli11-dev
prometheus-cpp-dev
libssl-dev
'
packages_tests='
clang-format
clang-tidy
libclang-rt-14-dev|libclang-rt-18-dev|libclang-rt-19-dev|libclang-rt-dev
libgtest-dev
libgmock-dev
liburing-dev
nginx-light|nginx
curl
wrk
prometheus
python3-prometheus-client
redis-server
redis-tools
bind9-dnsutils
iproute2
util-linux
procps
jq
tmux
openssl
'
packages_bench='
haproxy
iptables
nftables
wrk
'
packages_kubelet='
buildah
mmdebstrap
containerd
runc
containernetworking-plugins
conntrack
nftables
dnsmasq-base
jq
procps
'

wanted=''
check_only=false
while (($# > 0)); do
  case $1 in
    --build) wanted+=$packages_build ;;
    --tests) wanted+=$packages_tests ;;
    --bench) wanted+=$packages_bench ;;
    --kubelet) wanted+=$packages_kubelet ;;
    --check) check_only=true ;;
    -h | --help)
      sed -n '2,14s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) die "unknown option $1 (known: --build --tests --bench --kubelet --check)" ;;
  esac
  shift
done
[[ -n $wanted ]] || wanted=$packages_build$packages_tests$packages_bench

command -v dpkg-query >/dev/null ||
  die 'dpkg-query not found: this script knows Debian and Ubuntu only; install what deploy/README.md lists by other means'

# The wanted lines no installed package satisfies.
missing_packages() {
  local installed line
  # shellcheck disable=SC2086  # one word per package
  installed=" $(dpkg-query -W -f '${Package} ${db:Status-Status}\n' ${wanted//|/ } 2>/dev/null |
    awk '$2 == "installed" {printf "%s ", $1}' || true)"
  # shellcheck disable=SC2086  # one word per package
  for line in $(printf '%s\n' $wanted | sort -u); do
    local found=false name
    for name in ${line//|/ }; do
      [[ $installed == *" $name "* ]] && found=true && break
    done
    $found || printf '%s\n' "$line"
  done
}

missing=$(missing_packages)
if [[ -z $missing ]]; then
  exit 0
fi
if $check_only; then
  printf '%s\n' "$missing"
  exit 1
fi
# shellcheck disable=SC2086
((EUID == 0)) || die "not root, and these packages are missing:
$(printf '  %s\n' $missing)
run: sudo $0"

# One installation at a time; the lock is on this script, so that it leaves no file.
exec 9<"${BASH_SOURCE[0]}"
flock 9
missing=$(missing_packages)
[[ -n $missing ]] || exit 0

# Packages ask policy-rc.d before they start their service; 101 says no. One that exists is left alone.
policy=/usr/sbin/policy-rc.d
policy_is_ours=false
remove_policy() {
  if $policy_is_ours; then rm -f "$policy"; fi
}
trap remove_policy EXIT
trap 'exit 130' INT TERM
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\n# placed by install-deps.sh of Weir while it runs\nexit 101\n' >"$policy"
  policy_is_ours=true
  chmod 755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l RUNLEVEL=1
apt() {
  apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 "$@" 9<&-
}

# Prints, for each missing line, the first of its names that has a candidate; 1 if one has none.
choose_packages() {
  local line name status=0
  for line in $missing; do
    local chosen=''
    for name in ${line//|/ }; do
      # Read whole: with pipefail a reader that leaves early would make the answer "no".
      if [[ $(apt-cache policy "$name" 2>/dev/null) == *'Candidate: '[0-9]* ]]; then
        chosen=$name
        break
      fi
    done
    if [[ -z $chosen ]]; then
      printf 'install-deps: no package %s in the package index\n' "${line//|/ or }" >&2
      status=1
    else
      printf '%s\n' "$chosen"
    fi
  done
  return $status
}

printf 'install-deps: %d packages to install\n' "$(wc -l <<<"$missing")" >&2
updated=false
if ! chosen=$(choose_packages 2>/dev/null); then
  apt update >&2 || die 'apt-get update failed: see above; is the network (or the proxy in /etc/apt) in reach?'
  updated=true
  chosen=$(choose_packages) || die 'this release lacks packages; Debian 12 or Ubuntu 24.04 and later have them all'
fi
for attempt in 1 2 3; do
  # shellcheck disable=SC2086  # one word per package
  if apt install -y --no-install-recommends $chosen >&2; then
    break
  fi
  ((attempt < 3)) || die 'apt-get install failed three times: see above'
  # An old index names versions that the mirror no longer has.
  if ! $updated; then
    apt update >&2 && updated=true
  fi
done
missing=$(missing_packages)
[[ -z $missing ]] || die "still missing after the installation: ${missing//$'\n'/ }"
