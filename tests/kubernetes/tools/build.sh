#!/usr/bin/env bash
# Builds helm, of the version in go.mod, for the tests that render the chart. Some minutes the first time; after that it only
# looks. Needs Go 1.26 and its module proxy.
#
#   build.sh            builds it if it is missing and prints its folder
#   build.sh --where    prints the folder; exit status 1 when helm is missing from it
#
#   WEIR_TEST_TOOLS     the folder (default: a folder of this version under ${XDG_CACHE_HOME:-~/.cache}/weir)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}

versions=$(cat go.mod go.sum | sha256sum | cut -c 1-12)
where=${WEIR_TEST_TOOLS:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/weir/tools-$versions}

case ${1:-} in
  --where)
    printf '%s\n' "$where"
    [[ -x $where/helm ]]
    exit
    ;;
  '') ;;
  *) die "unknown option $1 (known: --where)" ;;
esac

if [[ ! -x $where/helm ]]; then
  command -v go >/dev/null || die 'go is not installed: helm is built by Go 1.26 or later'
  mkdir -p "$where"
  exec 9>"$where/.lock"
  flock 9
  if [[ ! -x $where/helm ]]; then
    printf 'building helm\n' >&2
    version=$(go list -m -f '{{.Version}}' helm.sh/helm/v3)
    CGO_ENABLED=0 GOTOOLCHAIN=local go build -mod=readonly -trimpath -o "$where/.helm" \
      -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$version" helm.sh/helm/v3/cmd/helm
    mv "$where/.helm" "$where/helm"
  fi
fi
printf '%s\n' "$where"
