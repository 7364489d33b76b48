#!/usr/bin/env bash
# What `kubectl krew install weir` installs: archives of weirctl as kubectl-weir, and the manifest that names them.
#
#   deploy/krew/package.sh archive WEIRCTL DIR     once on each architecture: DIR/kubectl-weir_VERSION_linux_ARCH.tar.gz
#   deploy/krew/package.sh manifest URL DIR        DIR/weir.yaml, of all archives there; URL: the folder they are served in
#
# An archive holds the libraries the program was linked with, but for glibc's, and their licenses: Debian's packages say
# which. The same program gives the same archive. WEIR_VERSION replaces the version in CMakeLists.txt.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

die() {
  printf 'package.sh: %s\n' "$*" >&2
  exit 1
}
version=${WEIR_VERSION:-$(sed -n 's/^project(weir VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?$ ]] || die "version: found '$version', expected one such as 1.2.3"

# Those that belong to the machine, as its kernel does.
is_of_glibc() { # NAME
  [[ $1 =~ ^(linux-vdso|ld-linux.*|libc|libm|libdl|librt|libpthread|libresolv)\.so ]]
}

archive() { # WEIRCTL DIR
  local weirctl=$1 to=$2 arch name path package
  [[ -x $weirctl ]] || die "$weirctl: found no program; build the preset release first"
  arch=$(dpkg --print-architecture)
  mkdir -p "$to"
  mkdir -p "$stage/lib" "$stage/licenses"
  cp "$root/LICENSE" "$stage/"
  install -m 755 "$weirctl" "$stage/kubectl-weir"
  strip "$stage/kubectl-weir"
  while read -r name path; do
    if is_of_glibc "${name##*/}"; then continue; fi
    [[ -n $path ]] || die "$weirctl: the library $name is not found"
    install -m 644 "$path" "$stage/lib/$name"
    path=$(readlink -f "$path")
    # Packages know some by the folder of before /usr was merged.
    package=$({ dpkg -S "$path" || dpkg -S "${path#/usr}"; } 2>/dev/null | head -n 1 | cut -d : -f 1) || die "$path is of no package: whose license is it?"
    cp "/usr/share/doc/$package/copyright" "$stage/licenses/$package"
  done < <(ldd "$weirctl" | awk '{ print $1, ($2 == "=>" && $3 ~ /^\// ? $3 : "") }')
  tar -C "$stage" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -c LICENSE kubectl-weir lib licenses |
    gzip -n -9 >"$to/kubectl-weir_${version}_linux_$arch.tar.gz"
  printf '%s\n' "$to/kubectl-weir_${version}_linux_$arch.tar.gz"
}

manifest() { # URL DIR
  local url=${1%/} from=$2 file arch platforms=''
  [[ $url == https://* ]] || die "URL: found '$url', expected https://..."
  for file in "$from/kubectl-weir_${version}_linux_"*.tar.gz; do
    [[ -e $file ]] || die "$from: found no archive of version $version; make them with 'archive'"
    arch=${file##*_linux_} arch=${arch%.tar.gz}
    platforms+="  - selector: {matchLabels: {os: linux, arch: $arch}}
    uri: $url/${file##*/}
    sha256: $(sha256sum "$file" | cut -d ' ' -f 1)
    bin: kubectl-weir
"
  done
  awk -v version="v$version" -v platforms="${platforms%$'\n'}" \
    '/^#/ { next } $0 == "@PLATFORMS@" { print platforms; next } { sub(/@VERSION@/, version); print }' "$here/weir.yaml.in" >"$from/weir.yaml"
  printf '%s\n' "$from/weir.yaml"
}

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
case ${1:-} in
  archive | manifest) (($# == 3)) || die "$1 needs two arguments: see the head of this file" ;;
  *) die "found '${1:-nothing}', expected archive or manifest" ;;
esac
"$@"
