# Sourced by the build.sh of control_plane, kubelet and tools, from their folders: what they have in common. They define complete(), which says
# whether all is there in $where.
# shellcheck shell=bash disable=SC2154  # where is theirs

die() {
  printf 'build.sh: %s\n' "$*" >&2
  exit 1
}

# Where the versions in FILE... belong; OVERRIDE unless it is empty.
folder_of() { # NAME OVERRIDE FILE...
  local name=$1 override=$2
  shift 2
  printf '%s\n' "${override:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/weir/$name-$(cat "$@" | sha256sum | cut -c 1-12)}"
}

take_arguments() { # [--where]
  case ${1:-} in
    --where)
      printf '%s\n' "$where"
      complete
      exit
      ;;
    '') ;;
    *) die "unknown option $1 (known: --where)" ;;
  esac
}

# Until the script ends no other of its kind builds into the folder.
lock_folder() {
  command -v go >/dev/null || die 'go is not installed: what is missing is built by Go 1.26 or later'
  mkdir -p "$where"
  exec 9>"$where/.lock"
  flock 9
}

# With the version of Kubernetes in go.mod; in place whole or not at all.
build_program() { # PROGRAM PACKAGE
  local kubernetes minor version=k8s.io/component-base/version
  [[ ! -x $where/$1 ]] || return 0
  kubernetes=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
  minor=${kubernetes#v1.}
  printf 'building %s\n' "$1" >&2
  CGO_ENABLED=0 GOTOOLCHAIN=local go build -mod=readonly -trimpath -o "$where/.$1" \
    -ldflags "-s -w -X $version.gitVersion=$kubernetes -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}" "$2"
  mv "$where/.$1" "$where/$1"
}

have_programs() { # PROGRAM...
  local program
  for program in "$@"; do [[ -x $where/$program ]] || return 1; done
}
