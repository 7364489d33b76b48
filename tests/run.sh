#!/usr/bin/env bash
# Installs what is missing, builds, runs every test that can run here, and says what was skipped and why.
#
#   tests/run.sh [-L LABEL]... [-R REGEX] [--slow] [--preset NAME] [-j N]
#
#   -L LABEL       only tests of this label: unit, kernel, integration, kubernetes, e2e (may be repeated)
#   -R REGEX       only tests whose name matches
#   --slow         also those labelled slow
#   --preset NAME  a configure preset: dev (default), asan, tsan, release; built in build/NAME
#   -j N           builds and tests at once; default: the number of processors
#
# The last line is "N passed, N failed, N skipped", counted in single test cases. Exit status: 0 when nothing failed.
# With WEIR_REQUIRE_KERNEL=1 a kernel test that is skipped counts as failed, with WEIR_REQUIRE_KUBERNETES=1 one labelled
# kubernetes; those need tests/kubernetes/control_plane/build.sh, once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() {
  printf 'run.sh: %s\n' "$*" >&2
  exit 1
}

labels=()
regex=''
slow=false
preset=dev
jobs=$(nproc)
while (($# > 0)); do
  case $1 in
    -L | -R | --preset | -j) (($# > 1)) || die "$1 needs a value" ;;&
    -L) labels+=("$2") && shift ;;
    -R) regex=$2 && shift ;;
    --preset) preset=$2 && shift ;;
    -j) jobs=$2 && shift ;;
    --slow) slow=true ;;
    -h | --help)
      sed -n '2,13s/^# \{0,1\}//p' "$0"
      exit 0
      ;;
    *) die "unknown option $1 (known: -L -R --slow --preset -j)" ;;
  esac
  shift
done

./deploy/install-deps.sh --build --tests

build=build/$preset
mkdir -p "$build"
# Quiet while it works: the log matters only where it does not.
run_logged() { # WHAT COMMAND...
  local what=$1 log
  log=$build/${what}.log
  shift
  if ! "$@" >"$log" 2>&1; then
    tail -n 60 "$log" >&2
    die "$what failed; all of it: $log"
  fi
}

started=$SECONDS
printf 'build %s\n' "$preset"
run_logged configure cmake --preset "$preset"
selection=()
if ((${#labels[@]} > 0)); then
  one_of=$(IFS='|' && printf '%s' "${labels[*]}")
  selection+=(-L "^($one_of)\$")
fi
[[ -z $regex ]] || selection+=(-R "$regex")
$slow && selection+=(-LE '^bench$') || selection+=(-LE '^(slow|bench)$')

# Only what the tests chosen need. A test has the name of its program, but for those that are scripts.
targets=()
if ((${#labels[@]} > 0)) || [[ -n $regex ]]; then
  mapfile -t targets < <(ctest --test-dir "$build" --show-only=json-v1 "${selection[@]}" | jq -r '.tests[]?.name' |
    sed -e 's/^quickstart_.*/weir-controller\nweir-agent\nweirctl/' -e '/^prometheus_deploy_test$/d' -e 's/^deploy_\(programs\|manifests\|agent\)_test$/weir-controller\nweir-agent\nweirctl/' -e '/^deploy_.*_test$/d' -e 's/_slow$//' | sort -u)
else
  targets=(all)
fi
((${#targets[@]} == 0)) || run_logged build cmake --build "$build" --parallel "$jobs" --target "${targets[@]}"
printf 'built in %d s\n' $((SECONDS - started))

kernel_tests=$(ctest --test-dir "$build" --show-only=json-v1 -L '^kernel$' | jq -r '.tests[]?.name')
log=$build/Testing/Temporary/LastTest.log
rm -f "$log"
ctest_status=0
# The whole output of each test goes to the log, which the summary is read from.
ctest --test-dir "$build" --parallel "$jobs" --output-on-failure --no-tests=error \
  --test-output-size-passed 100000000 --test-output-size-failed 100000000 "${selection[@]}" || ctest_status=$?
[[ -e $log ]] || die "ctest wrote no log: see above"

summary=$(KERNEL_TESTS=$kernel_tests REQUIRE_KERNEL=${WEIR_REQUIRE_KERNEL:-0} awk -f tests/summarize.awk "$log")
read -r _ passed failed skipped < <(grep '^T ' <<<"$summary")
# ctest knows of failures the log does not show, such as a program that was not built.
if ((ctest_status != 0 && failed == 0)); then failed=1; fi
if ((skipped > 0)); then
  printf '\nskipped:\n'
  sed -n 's/^S /  /p' <<<"$summary"
fi
if ((failed > 0)); then
  printf '\nfailed:\n'
  sed -n 's/^F /  /p' <<<"$summary"
fi
printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
((failed == 0))
