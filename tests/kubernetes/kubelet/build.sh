#!/usr/bin/env bash
# Builds and installs what makes a node of Kubernetes for the kubelet test, as root: packages of Debian's (deploy/install-deps.sh --kubelet); the control
# plane, helm; kubelet, kube-proxy and kube-scheduler of the versions in go.mod; the base image debian:bookworm-slim, where there is none and no registry
# is in reach made from Debian's packages; and two images of it for the test. Some minutes; after that it only looks. Needs Go 1.26 and its module proxy.
#
#   build.sh            makes what is missing and prints the folder of the programs
#   build.sh --where    prints the folder; exit status 1 when a program is missing from it
#
#   WEIR_NODE_PROGRAMS  the folder (default: a folder of these versions under ${XDG_CACHE_HOME:-~/.cache}/weir)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=../go_programs.sh
source ../go_programs.sh

programs=(kubelet kube-proxy kube-scheduler)
where=$(folder_of node "${WEIR_NODE_PROGRAMS:-}" go.mod go.sum)
complete() { have_programs "${programs[@]}"; }
take_arguments "$@"

../../../deploy/install-deps.sh --kubelet
../control_plane/build.sh >/dev/null
../tools/build.sh >/dev/null
if ! complete; then
  lock_folder
  for program in "${programs[@]}"; do build_program "$program" "k8s.io/kubernetes/cmd/$program"; done
fi

has_image() { buildah inspect --type image "$1" >/dev/null 2>&1; }

# As the registry's: the smallest Debian, without manuals, and a PATH.
make_base() {
  local container
  work=$(mktemp -d) # not local: the trap outlives the function
  trap 'rm -rf "$work"' EXIT
  printf 'making %s\n' "$base" >&2
  mmdebstrap --quiet --variant=minbase --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' bookworm "$work/base.tar"
  container=$(buildah from scratch)
  buildah add -q "$container" "$work/base.tar" / >/dev/null
  buildah config --cmd bash --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
  buildah commit -q --rm "$container" "$base" >/dev/null
}

# weir-test-pause holds a pod's namespaces, weir-test-shop is what the test's own pods run.
make_test_images() {
  local container
  container=$(buildah from "$base")
  buildah commit -q "$container" localhost/weir-test-shop:1 >/dev/null
  buildah config --entrypoint '["sleep", "infinity"]' --cmd '' "$container" 2>/dev/null
  buildah commit -q --rm "$container" localhost/weir-test-pause:1 >/dev/null
}

base=docker.io/library/debian:bookworm-slim
has_image "$base" || buildah pull -q "$base" >/dev/null 2>&1 || make_base
has_image localhost/weir-test-pause:1 || make_test_images
printf '%s\n' "$where"
