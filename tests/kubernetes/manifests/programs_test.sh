#!/usr/bin/env bash
# The programs of this build beside what is deployed: each flag of the manifests is one of theirs, each library they name is in a package
# of their image, and what the Dockerfile copies is there.
#   programs_test.sh WEIR-CONTROLLER WEIR-AGENT WEIRCTL
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
images=$root/deploy/images
# shellcheck source=api_server.sh
source "$here/api_server.sh"
controller=$1 agent=$2 weirctl=$3
failures=0
complain() {
  printf 'FAILED: %s\n' "$*"
  failures=$((failures + 1))
}

# Manifests are written one way: a line "- --flag" or "- --flag=value" per argument.
flags_of() { # FILE...
  grep -hoE '^ +- --[a-z-]+' "$@" | sed 's/.*- //' | sort -u
}
check_flags() { # PROGRAM FILE...
  local flag help
  help=$("$1" --help)
  while read -r flag; do
    grep -qE -- "(^|[ ,])$flag([ ,=]|\$)" <<<"$help" || complain "${1##*/} has no flag $flag, which ${*:2} gives"
  done < <(flags_of "${@:2}")
}
(($(flags_of "$root/deploy/kubernetes/base/agent.yaml" | wc -l) > 8)) || complain 'the flags of the manifests are not found'
check_flags "$agent" "$root/deploy/kubernetes/base/agent.yaml" "$root/deploy/kubernetes/helm/weir/templates/agent.yaml" "$root/deploy/kubernetes/uninstall/detach.yaml"
check_flags "$controller" "$root/deploy/kubernetes/base/controller.yaml" "$root/deploy/kubernetes/helm/weir/templates/controller.yaml"

# The images' Debian is 12: elsewhere packages have other names. A sanitizer's libraries are in no image.
check_libraries() { # PACKAGES PROGRAM...
  local program library path package
  for program in "${@:2}"; do
    while read -r library; do
      path=$(ldd "$program" | awk -v library="$library" '$1 == library {print $3}')
      [[ -n $path ]] || continue # the loader
      package=$({ dpkg -S "$(realpath "$path")" || dpkg -S "$path"; } 2>/dev/null | head -n 1 | cut -d : -f 1)
      case $package in
        libc6 | libgcc-s1 | libstdc++6) ;; # apt's own
        *) grep -qx "$package" "$images/$1" || complain "${program##*/} needs $library of ${package:-no package}, which $1 lacks" ;;
      esac
    done < <(readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
  done
}
if grep -q '^VERSION_CODENAME=bookworm' /etc/os-release && [[ ! $(ldd "$controller") =~ lib[at]san ]]; then
  check_libraries controller.packages "$controller" "$weirctl"
  check_libraries agent.packages "$agent"
  for list in controller agent; do
    while read -r package; do
      [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed || $(apt-cache policy "$package") == *Candidate:* ]] ||
        complain "$list.packages: Debian 12 has no package $package"
    done < <(grep -v '^#' "$images/$list.packages")
  done
else
  echo 'not Debian 12, or a build with a sanitizer: packages are not compared'
fi

# From the build stage come the programs and files of this tree; the preset and targets are those there are.
while read -r source; do
  case $source in
    /src/build/release/bin/*) [[ -x $(dirname "$controller")/${source##*/} ]] || complain "the Dockerfile copies $source, which is no program of this build" ;;
    /src/*) [[ -e $root/${source#/src/} ]] || complain "the Dockerfile copies $source, which is not there" ;;
  esac
done < <(grep -E '^COPY --from=build' "$images/Dockerfile" | tr ' ' '\n' | grep '^/src/')
# The build stage's commands, on what .dockerignore leaves: configured, and the targets looked for.
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
tar -C "$root" --exclude-from="$root/.dockerignore" -c . | tar -x -C "$stage"
commands=$(sed -n '/^ *cmake --preset/,/^ && strip/{s/ *\\$//; /strip/d; p}' "$images/Dockerfile" | tr '\n' ' ')
[[ $commands == *'--target weir-controller weir-agent weirctl'* ]] || complain "the Dockerfile builds something else: $commands"
(cd "$stage" && eval "${commands/cmake --build --preset release --target/ninja -C build\/release -t query}") >"$stage/log" 2>&1 || complain "the build stage: $(tail -n 5 "$stage/log")"
for script in "$images/build.sh" "$root/deploy/kubernetes/certs/certs.sh"; do
  [[ -x $script ]] || complain "$script cannot be executed"
done
# Everything the manifests run exists in an image under that name.
grep -q '^COPY .*/certs.sh /usr/lib/weir/$' "$images/Dockerfile" && grep -q 'command: \[/usr/lib/weir/certs.sh\]' "$root/deploy/kubernetes/components/certs/job.yaml" ||
  complain "the Job's command is not where the image has it"
version=$(sed -n 's/^project(weir VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
for file in base/kustomization.yaml components/certs/kustomization.yaml uninstall/kustomization.yaml; do
  ! grep 'newTag' "$root/deploy/kubernetes/$file" | grep -qv "newTag: $version}" || complain "$file names another version than $version"
done
grep -qx "appVersion: $version" "$root/deploy/kubernetes/helm/weir/Chart.yaml" || complain "the chart names another version than $version"

((failures == 0)) || fail "$failures of what was expected of the programs"
echo 'flags, libraries and files of the images: as expected'
