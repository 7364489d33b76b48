# shellcheck shell=bash
# What the controller says of the rollout, and how it is shown and verified. Sourced by quickstart.sh.
# shellcheck disable=SC2034,SC2154,SC2317  # variables are shared with the other files; functions are called by name

read_rollout() {
  local fields
  fields=$(weirctl get rollouts checkout -o json | jq -r '[.phase, .generation, .canaryWeight, .stableRevision,
    (.canaryRevision | if . == "" then "-" else . end), .nodesAcked, .nodesDesired,
    (if .phase == "Healthy" then "\(.steps | length)/\(.steps | length) done"
     else "\(.currentStepIndex)/\(.steps | length) \(.steps[.currentStepIndex].text // "")" end),
    .pauseRemainingMs] | map(tostring) | join("\t")') || return 1
  IFS=$'\t' read -r phase generation canary_weight stable canary acked desired step pause_ms <<<"$fields"
  # The percentage of v2, whatever its role is now.
  if [[ $canary == v2 ]]; then
    weight_v2=$canary_weight
  elif [[ $canary == v1 ]]; then
    weight_v2=$((100 - canary_weight))
  elif [[ $stable == v2 ]]; then
    weight_v2=100
  else
    weight_v2=0
  fi
}

acked_by_all() { ((desired == ${#nodes[@]} && acked == desired)); }

picture() {
  local node v1 v2 total tenths text
  text="$bold  shop/checkout$plain  $vip:80     $(phase_color "$phase")$phase$plain"
  ((pause_ms < 0)) || [[ $phase != Paused ]] || text+=" $(((pause_ms + 999) / 1000)) s"
  text+=$'\n'"  step       $step"
  text+=$'\n'"  generation $generation, held by $acked of $desired nodes"
  text+=$'\n'"  wanted     $(bar $((weight_v2 * 10)))  $(printf '%3d' "$weight_v2") % v2"
  for node in "${nodes[@]}"; do
    v1=$(served v1 "$node" "$generation")
    v2=$(served v2 "$node" "$generation")
    total=$((v1 + v2))
    tenths=0
    if ((total > 0)); then tenths=$(((v2 * 1000 + total / 2) / total)); fi
    text+=$'\n'"  $(printf '%-10s' "$node") $(bar "$tenths")  $(printf '%3d.%d' $((tenths / 10)) $((tenths % 10))) %"
    text+="  ${dim}v1 $v1, v2 $v2, counted by nginx$plain"
  done
  printf '%s' "$text"
}

# --- a story told without questions ---

connections_per_phase=50

apply() { # FILE...: manifests, relative to deploy/quickstart
  local file files=()
  for file in "$@"; do files+=(-f "$here/$file"); done
  weirctl apply "${files[@]}" >/dev/null
}

# PHASE of the rollout, weight of v2 and acks of all nodes, or why it is not so yet.
stands_at() { # PHASE WEIGHT STEP_PATTERN
  read_rollout || return 1
  # shellcheck disable=SC2053  # a pattern on purpose
  [[ $phase == $1 && $step == $3 ]] && ((weight_v2 == $2)) && acked_by_all
}

# Drives every node's clients, and verifies what the servers counted of them.
verify_clients() { # TITLE LABEL WEIGHT [VIP]: LABEL is what their requests carry, WEIGHT the percentage v2 is to have
  local node worst worst_text v1 v2 pid pids=()
  for node in "${nodes[@]}"; do
    sent["$node $2"]=$connections_per_phase
    connect "$node" "$2" 1 "$connections_per_phase" "${4:-$vip}" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid" || die "$1: the clients failed: $(head -n 5 "$run"/failed-*)"; done
  for node in "${nodes[@]}"; do
    [[ ! -s $run/failed-$node ]] || die "$1: failed connections: $(head -n 5 "$run/failed-$node")"
    # nginx writes its line just after the client has its answer.
    wait_until 5 all_served "$node" "$2" || die "$1: not every connection of $node is in a server's log"
    v1=$(served v1 "$node" "$2")
    v2=$(served v2 "$node" "$2")
    worst=$(worst_deviation "$node" "$2" "$3")
    worst_text=$((worst / 100)).$(printf '%02d' $((worst % 100)))
    ((worst < 100)) || die "$1: $node is off by $worst_text connections: v1 $v1, v2 $v2, wanted $3 % of v2"
    printf '%-26s %-7s generation %-3s %d/%d nodes   v1 %2d   v2 %2d   wanted %3d %%   off by at most %s\n' \
      "$1" "$node" "$generation" "$acked" "$desired" "$v1" "$v2" "$3" "$worst_text"
  done
}

# Waits for a state, drives every node's clients through it, and verifies what the servers counted.
verify_phase() { # TITLE PHASE WEIGHT STEP_PATTERN
  local before
  wait_until 30 stands_at "$2" "$3" "$4" ||
    die "$1: expected $2, $3 % of v2 and all nodes, found ${phase:-nothing}, ${weight_v2:-?} %, ${acked:-?}/${desired:-?} nodes, step ${step:-?}"
  before=$generation
  verify_clients "$1" "$before" "$3"
  read_rollout
  ((generation == before)) || die "$1: the weights changed while $connections_per_phase connections were made: is this machine very busy?"
}

# --- a story with someone at the terminal ---

# What a scene has to add to the picture.
scene_picture() { :; }

key_pressed() { # SECONDS: waits that long for Enter
  local line
  read -r -t "$1" line || return 1
  drawn_lines=$((drawn_lines + 1))  # the terminal's echo went to the next line
}

hints() {
  printf '\n\n  %sfrom another terminal:%s  W=%s\n' "$dim" "$plain" "$run/weirctl"
  # shellcheck disable=SC2016  # for the user to type
  printf '    $W get rollouts -w      $W status checkout      $W promote checkout      $W abort checkout'
}

# Redraws with a trickle of connections until Enter is pressed (0) or COMMAND succeeds (1).
live() { # QUESTION COMMAND...
  local question=$1 node first
  shift
  while read_rollout; do
    for node in "${nodes[@]}"; do
      first=$((${sent["$node $generation"]:-0} + 1))
      sent["$node $generation"]=$((first + 4))
      connect "$node" "$generation" "$first" 5 || true
    done
    redraw "$(picture)$(scene_picture)$(hints)"$'\n\n'"  $yellow$question$plain"
    if "$@"; then return 1; fi
    if key_pressed 0.3; then return 0; fi
  done
  die 'the controller does not answer any more'
}

is_settled() { [[ $phase == Healthy || $phase == Degraded ]]; }
never() { false; }
