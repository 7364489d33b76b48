#!/usr/bin/env bash
# Builds the images weir-controller and weir-agent from this tree.
#
#   deploy/images/build.sh [--registry HOST/PATH] [--tag TAG] [--platform P,P] [--push] [--builder docker|buildah]
#
#   --registry  put before the names, as in registry.example.com/weir
#   --tag       default: the version in CMakeLists.txt
#   --platform  as docker buildx has it; default: this machine's. buildah: one
#   --push      to the registry, instead of into the local daemon or storage
#   --builder   docker (with buildx; the default), or buildah, which needs no daemon
#
# Reaches for debian:bookworm-slim and Debian's packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

die() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}

registry=''
tag=$(sed -n 's/^project(weir VERSION \([0-9.]*\).*/\1/p' CMakeLists.txt)
builder=docker
push=false
platform=()
while (($# > 0)); do
  case $1 in
    --registry | --tag | --platform | --builder) (($# > 1)) || die "$1 needs a value" ;;&
    --registry) registry=${2%/}/ && shift ;;
    --tag) tag=$2 && shift ;;
    --platform) platform=(--platform "$2") && shift ;;
    --push) push=true ;;
    --builder) builder=$2 && shift ;;
    -h | --help)
      sed -n '2,12s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) die "unknown option $1 (known: --registry --tag --platform --push --builder)" ;;
  esac
  shift
done
[[ -n $tag ]] || die 'CMakeLists.txt tells no version: give --tag'
[[ $builder == docker || $builder == buildah ]] || die "--builder is docker or buildah, not $builder"
[[ $builder == docker || ${platform[*]} != *,* ]] || die 'buildah builds for one --platform at a time'
[[ $push == false || -n $registry ]] || die '--push needs --registry'
command -v "$builder" >/dev/null || die "$builder is not installed"

build() { # TARGET IMAGE
  local place=--load
  case $builder in
    docker)
      [[ $push == false ]] || place=--push
      docker buildx build "${platform[@]}" "$place" --file deploy/images/Dockerfile --target "$1" --tag "$2" .
      ;;
    buildah)
      # Layers are kept: without them the second image would compile everything again.
      buildah build --layers "${platform[@]}" --file deploy/images/Dockerfile --target "$1" --tag "$2" .
      [[ $push == false ]] || buildah push "$2"
      ;;
  esac
}

for image in controller agent; do build "$image" "${registry}weir-$image:$tag"; done
printf 'built %sweir-controller:%s and %sweir-agent:%s\n' "$registry" "$tag" "$registry" "$tag"
