#!/usr/bin/env bash
# Builds the images weir-controller and weir-agent from this tree.
#
#   deploy/images/build.sh [--registry HOST/PATH] [--tag TAG] [--platform P,P] [--push]
#
#   --registry  put before the names, as in registry.example.com/weir
#   --tag       default: the version in CMakeLists.txt
#   --platform  as docker buildx has it; default: this machine's
#   --push      to the registry, instead of into the local daemon
#
# Needs docker with buildx (or podman under docker's name), and reaches for debian:bookworm-slim and Debian's packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}

registry=''
tag=$(sed -n 's/^project(weir VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
options=(--load)
platform=()
while (($# > 0)); do
  case $1 in
    --registry | --tag | --platform) (($# > 1)) || die "$1 needs a value" ;;&
    --registry) registry=${2%/}/ && shift ;;
    --tag) tag=$2 && shift ;;
    --platform) platform=(--platform "$2") && shift ;;
    --push) options=(--push) ;;
    -h | --help)
      sed -n '2,11s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) die "unknown option $1 (known: --registry --tag --platform --push)" ;;
  esac
  shift
done
[[ -n $tag ]] || die 'CMakeLists.txt tells no version: give --tag'
[[ ${options[0]} != --push || -n $registry ]] || die '--push needs --registry'
command -v docker >/dev/null || die 'docker is not installed'

for image in controller agent; do
  docker buildx build "${platform[@]}" "${options[@]}" --file deploy/images/Dockerfile --target "$image" \
    --tag "${registry}weir-$image:$tag" .
done
printf 'built %sweir-controller:%s and %sweir-agent:%s\n' "$registry" "$tag" "$registry" "$tag"
