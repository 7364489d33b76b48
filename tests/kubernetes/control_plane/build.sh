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
# shellcheck source=../go_programs.sh
source ../go_programs.sh

where=$(folder_of control-plane "${WEIR_CONTROL_PLANE:-}" go.mod go.sum)
complete() { have_programs etcd kube-apiserver kube-controller-manager kubectl; }
take_arguments "$@"

if ! complete; then
  lock_folder
  build_program etcd go.etcd.io/etcd/server/v3
  for program in kubectl kube-apiserver kube-controller-manager; do build_program "$program" "k8s.io/kubernetes/cmd/$program"; done
fi
printf '%s\n' "$where"
