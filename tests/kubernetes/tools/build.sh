#!/usr/bin/env bash
# What tests of deploy/kubernetes use besides the control plane: helm, built from the module in go.mod, and the CRDs of Argo Rollouts,
# Flagger and Gateway API, from the modules in crds.txt. Some minutes the first time; after that it only looks. Needs Go 1.26, its
# module proxy and jq.
#
#   build.sh            makes what is missing and prints its folder
#   build.sh --where    prints the folder; exit status 1 when something is missing from it
#
#   WEIR_TEST_TOOLS     the folder (default: a folder of these versions under ${XDG_CACHE_HOME:-~/.cache}/weir)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=../go_programs.sh
source ../go_programs.sh

where=$(folder_of tools "${WEIR_TEST_TOOLS:-}" go.mod go.sum crds.txt)
complete() { [[ -x $where/helm && -d $where/crds ]]; }
take_arguments "$@"

build_helm() {
  local version
  version=$(go list -m -f '{{.Version}}' helm.sh/helm/v3)
  printf 'building helm\n' >&2
  CGO_ENABLED=0 GOTOOLCHAIN=local go build -mod=readonly -trimpath -o "$where/.helm" \
    -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$version" helm.sh/helm/v3/cmd/helm
  mv "$where/.helm" "$where/helm"
}

# Go checks what it downloads against its checksum database.
copy_crds() {
  local name module version path folder answer
  rm -rf "$where/.crds"
  while read -r name module version path; do
    printf 'fetching the CRDs of %s %s\n' "$name" "$version" >&2
    answer=$(cd / && GOTOOLCHAIN=local go mod download -json "$module@$version" || true)
    folder=$(jq -r '.Dir // ""' <<<"$answer")
    [[ -n $folder ]] || die "$module@$version: $(jq -r '.Error // "no answer"' <<<"$answer")"
    mkdir -p "$where/.crds/$name"
    # The modules' cache is read-only; a copy is not.
    find "$folder/$path" -name '*.yaml' ! -name kustomization.yaml -exec install -m 644 -t "$where/.crds/$name" {} +
  done < <(grep -v '^#' crds.txt)
  mv "$where/.crds" "$where/crds"
}

if ! complete; then
  command -v jq >/dev/null || die 'jq is not installed'
  lock_folder
  [[ -x $where/helm ]] || build_helm
  [[ -d $where/crds ]] || copy_crds
fi
printf '%s\n' "$where"
