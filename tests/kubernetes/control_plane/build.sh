#!/usr/bin/env bash
# Builds the control plane that tests labelled kubernetes run against: etcd, kube-apiserver, kube-controller-manager
# and kubectl, of the versions in go.mod. About 16 minutes on two cores the first time, 3 GB of Go's build cache;
# after that it only looks. Needs Go 1.26 and its module proxy. It is for the tests alone: Weir is C++.
#
#   build.sh            builds what is missing and prints the folder of the programs
#   build.sh --where    prints the folder; exit status 1 when a program is missing from it
#
#   WEIR_CONTROL_PLANE  the folder (default: a folder of these versions under ${XDG_CACHE_HOME:-~/.cache}/weir)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}

programs=(etcd kube-apiserver kube-controller-manager kubectl)
versions=$(cat go.mod go.sum | sha256sum | cut -c 1-12)
where=${WEIR_CONTROL_PLANE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/weir/control-plane-$versions}

complete() {
  local program
  for program in "${programs[@]}"; do [[ -x $where/$program ]] || return 1; done
}

case ${1:-} in
  --where)
    printf '%s\n' "$where"
    complete
    exit
    ;;
  '') ;;
  *) die "unknown option $1 (known: --where)" ;;
esac

if ! complete; then
  command -v go >/dev/null || die 'go is not installed: the control plane is built by Go 1.26 or later'
  mkdir -p "$where"
  exec 9>"$where/.lock"
  flock 9
  kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
  minor=${kubernetes#v1.}
  version=k8s.io/component-base/version
  build() { # PROGRAM PACKAGE: in place whole or not at all
    [[ -x $where/$1 ]] && return
    printf 'building %s\n' "$1" >&2
    CGO_ENABLED=0 GOTOOLCHAIN=local go build -mod=readonly -trimpath -o "$where/.$1" \
      -ldflags "-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}" "$2"
    mv "$where/.$1" "$where/$1"
  }
  build etcd go.etcd.io/etcd/server/v3
  build kubectl k8s.io/kubernetes/cmd/kubectl
  build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
  build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager
fi
printf '%s\n' "$where"
