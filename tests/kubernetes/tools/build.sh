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

die() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}

versions=$(cat go.mod go.sum crds.txt | sha256sum | cut -c 1-12)
where=${WEIR_TEST_TOOLS:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/weir/tools-$versions}

complete() { [[ -x $where/helm && -d $where/crds ]]; }

case ${1:-} in
  --where)
    printf '%s\n' "$where"
    complete
    exit
    ;;
  '') ;;
  *) die "unknown option $1 (known: --where)" ;;
esac

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
  command -v go >/dev/null || die 'go is not installed: helm is built by Go 1.26 or later'
  command -v jq >/dev/null || die 'jq is not installed'
  mkdir -p "$where"
  exec 9>"$where/.lock"
  flock 9
  [[ -x $where/helm ]] || build_helm
  [[ -d $where/crds ]] || copy_crds
fi
printf '%s\n' "$where"
