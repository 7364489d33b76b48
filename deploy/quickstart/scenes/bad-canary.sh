# shellcheck shell=bash
# bad-canary: v2 breaks at 20 %, the rollout aborts by itself and says why; mended, it promotes itself
# shellcheck disable=SC2034,SC2154,SC2317  # variables are shared with the other files; functions are called by name

scene_manifests=(checkout.yaml bad-canary/rollout-v1.yaml)
scene_nginx='bad-canary/nginx.conf'

# Clients of NODE, one connection after the other, until the file stop-LABEL is there.
clients_until() { # NODE LABEL
  local first=1
  until [[ -e $run/stop-$2 ]]; do
    connect "$1" "$2" "$first" 20
    first=$((first + 20))
  done
}

traffic=()  # its processes
start_traffic() { # LABEL
  local node
  traffic=()
  for node in "${nodes[@]}"; do
    clients_until "$node" "$1" &
    traffic+=($!)
  done
}
stop_traffic() { # LABEL
  local pid
  : >"$run/stop-$1"
  for pid in "${traffic[@]}"; do wait "$pid" || die "the clients failed: $(head -n 5 "$run"/failed-*)"; done
  traffic=()
}

break_v2() { : >"$run/bad"; }
mend_v2() { rm -f "$run/bad"; }

# How the newest analysis of the rollout stands, in words.
analysis_message() { weirctl get rollouts checkout -o json | jq -r '.analyses[-1].message // ""'; }
# At least so many responses of v2 have been compared; a message tells "canary 3 errors of 120, ...".
compared() { # COUNT
  local of
  of=$(analysis_message | sed -n 's/^[^:]*: canary [0-9]* .* of \([0-9]*\), stable [0-9]* of [1-9].*/\1/p')
  [[ -n $of ]] && ((of >= $1))
}

is_aborted() { read_rollout && [[ $phase == Degraded ]] && ((weight_v2 == 0)) && acked_by_all; }
is_promoted() { read_rollout && [[ $phase == Healthy && $stable == v2 ]] && acked_by_all; }

# Seconds from v2's first 500 to its last answer of all, and how many it gave: "2.41 83".
bad_seconds() {
  awk '$4 == 500 { ++bad; if (!first) first = $5; last = $5 } END { printf "%.2f %d\n", last - first, bad }' "$run/v2.log"
}

tell_abort() {
  local reason seconds bad
  start_traffic bad
  wait_until 60 compared 20 || die "nothing is compared: $(analysis_message)"
  printf '%-26s %s\n' 'v2 is well' "$(analysis_message)"
  break_v2
  printf '%-26s %s\n' 'v2 breaks' 'each of its answers is a 500'
  wait_until 60 is_aborted || die "expected an abort, found $phase, $weight_v2 % of v2, $acked/$desired nodes: $(analysis_message)"
  stop_traffic bad
  read -r seconds bad < <(bad_seconds)
  printf '%-26s %s\n' 'aborted, by itself' "$seconds s from the first 500 to the last, $bad of them in all; generation $generation, $acked/$desired nodes"
  reason=$(weirctl get rollouts checkout -o json | jq -r .message)
  [[ $reason =~ canary\ ([0-9]+)\ .*\ of\ ([0-9]+),\ stable\ 0\ of\ ([0-9]+):.*E\ =\ ([0-9.e]+) ]] ||
    die "expected the reason in figures, found: $reason"
  ((BASH_REMATCH[1] <= bad)) || die "the reason tells of ${BASH_REMATCH[1]} errors, v2 answered with $bad"
  say "  $reason"
  weirctl get analysis checkout
}

tell_story() {
  verify_phase 'v1 is stable' Healthy 0 '*'
  apply bad-canary/rollout-v2.yaml
  verify_phase 'setWeight 20, pause 30s' Paused 20 '1/*'
  tell_abort
  verify_phase 'v1 has all' Degraded 0 '*'
  mend_v2
  weirctl retry checkout >/dev/null
  verify_phase 'v2 mended, retry' Paused 20 '1/*'
  start_traffic good
  wait_until 120 is_promoted || die "expected v2 to be stable by itself, found $phase, $weight_v2 %: $(analysis_message)"
  stop_traffic good
  verify_phase 'promoted, by itself' Healthy 100 '*'
}

# Below the picture: what the analysis says.
scene_picture() {
  local message color=$green
  message=$(analysis_message)
  [[ -n $message ]] || return 0
  [[ $phase != Degraded ]] || color=$red
  printf '\n\n  %sv2 beside v1%s  %s%s%s' "$dim" "$plain" "$color" "$message" "$plain"
}

tell_interactively() {
  title 'A canary that is compared with stable in the same seconds: nobody is asked'
  apply bad-canary/rollout-v2.yaml
  say
  if live 'v2 is well. Enter breaks it: 500 from now on.' is_settled; then
    break_v2
    live 'v2 is broken.' is_settled || true
    if [[ $phase == Degraded ]] && live 'Aborted, by itself. Enter mends v2 and tries it again.' never; then
      mend_v2
      weirctl retry checkout >/dev/null
      read_rollout
      live 'v2 is well, and is promoted by itself.' is_settled || true
    fi
  fi
  live 'Done; all of it goes on running. Enter ends it and leaves nothing behind.' never || true
  keep_drawing
}
