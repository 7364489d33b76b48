# shellcheck shell=bash
# blue-green: the preview shows v2, a flip of every node in one generation under load, and the way back in one
# shellcheck disable=SC2034,SC2154,SC2317  # variables are shared with the other files; functions are called by name

scene_manifests=(checkout.yaml blue-green/preview.yaml blue-green/rollout-v1.yaml)
preview_vip=127.96.0.2

# Clients of NODE at the active address, one connection after the other, until the file flipped-LABEL is there; the
# last 20 are made after it. How many there were is left in the file clients-LABEL-NODE.
clients_through_flip() { # NODE LABEL
  local first=1 last_ones=false
  until $last_ones; do
    [[ ! -e $run/flipped-$2 ]] || last_ones=true
    connect "$1" "$2" "$first" 20
    first=$((first + 20))
    printf '%d\n' $((first - 1)) >"$run/clients-$2-$1"
  done
}

# From the servers' logs, NODE's connections with LABEL in their order: how often the revision changed, how many went to
# the old one, how many of the last 20 did so.
flips_of() { # NODE LABEL OLD_REVISION
  awk -v node="$1" -v label="$2" -v old="$3" '
    $1 == node && $2 == label { revision[$3] = FILENAME ~ /v1\.log$/ ? "v1" : "v2"; if ($3 > last) last = $3 }
    END {
      for (n = 1; n <= last; ++n) {
        if (n > 1 && revision[n] != revision[n - 1]) ++changes
        if (revision[n] == old) { ++before; if (n > last - 20) ++late }
      }
      print changes + 0, before + 0, late + 0
    }' "$run/v1.log" "$run/v2.log"
}

node_generations() { weirctl get nodes -o json | jq -r '[.items[] | .generationAcked | tostring] | sort | unique | join(" ")'; }

active_everywhere() { # REVISION
  read_rollout && [[ $phase == Healthy && $stable == "$1" ]] && acked_by_all
}

# COMMAND flips OLD to NEW while clients of both nodes connect without a pause.
verify_flip() { # TITLE OLD NEW COMMAND...
  local title=$1 old=$2 new=$3 label=to-$3-$generation before=$generation node pid pids=() began took changes late count
  shift 3
  for node in "${nodes[@]}"; do
    clients_through_flip "$node" "$label" &
    pids+=($!)
  done
  under_way() {
    local of
    for of in "${nodes[@]}"; do (($(served "$old" "$of" "$label") > 20)) || return 1; done
  }
  wait_until 30 under_way || die "$title: the clients do not get through: $(head -n 5 "$run"/failed-*)"
  began=$(date +%s%N)
  "$@" >/dev/null
  wait_until 30 active_everywhere "$new" || die "$title: $new is not active everywhere: ${phase:-?}, $stable, $acked/$desired nodes"
  took=$((($(date +%s%N) - began) / 1000000))
  : >"$run/flipped-$label"
  for pid in "${pids[@]}"; do wait "$pid" || die "$title: the clients failed: $(head -n 5 "$run"/failed-*)"; done
  ((generation == before + 1)) || die "$title: generation $before was followed by $generation: more than one change"
  [[ $(node_generations) == "$generation" ]] || die "$title: the nodes hold generations $(node_generations), not $generation"
  for node in "${nodes[@]}"; do
    sent["$node $label"]=$(<"$run/clients-$label-$node")
    [[ ! -s $run/failed-$node ]] || die "$title: failed connections: $(head -n 5 "$run/failed-$node")"
    wait_until 5 all_served "$node" "$label" || die "$title: not every connection of $node is in a server's log"
    read -r changes count late < <(flips_of "$node" "$label" "$old")
    ((changes == 1)) || die "$title: $node changed its revision $changes times"
    ((late == 0)) || die "$title: $late connections of $node went to $old after all nodes had acknowledged"
    printf '%-26s %-7s generation %-3s %d/%d nodes   %s %3d, then %s %3d, never mixed; acknowledged and seen in %d ms\n' \
      "$title" "$node" "$generation" "$acked" "$desired" "$old" "$count" "$new" $((${sent["$node $label"]} - count)) "$took"
  done
}

# At both addresses: the percentages v2 is to have.
verify_both() { # TITLE PHASE ACTIVE PREVIEW STEP_PATTERN
  verify_phase "$1" "$2" "$3" "$5"
  verify_clients '  its preview' "$generation-preview" "$4" "$preview_vip"
}

expect_previous() { # REVISION: kept for an instant way back; "" is none
  local found
  found=$(weirctl get rollouts checkout -o json | jq -r '.previousRevision // ""')
  [[ $found == "$1" ]] || die "kept for the way back: found '$found', expected '$1'"
}

tell_story() {
  verify_both 'v1 is active' Healthy 0 0 '*'
  apply blue-green/rollout-v2.yaml
  verify_both 'v2 waits for its flip' Paused 0 100 '*'
  verify_flip 'promote: the flip' v1 v2 weirctl promote checkout
  expect_previous v1
  verify_both 'v2 is active' Healthy 100 100 '*'
  verify_flip 'undo: the way back' v2 v1 weirctl undo checkout
  expect_previous ''
  verify_both 'v1 is active again' Healthy 0 0 '*'
}

# Beside the picture of the active address: a few connections to the preview.
scene_picture() {
  local node
  for node in "${nodes[@]}"; do
    connect "$node" "$generation-preview" 1 2 "$preview_vip" || true
    printf '\n  %-10s %spreview %s: v1 %s, v2 %s%s' "$node" "$dim" "$preview_vip" \
      "$(served v1 "$node" "$generation-preview")" "$(served v2 "$node" "$generation-preview")" "$plain"
  done
}

v2_is_active() { [[ $phase == Healthy && $stable == v2 ]]; }
v1_is_active() { [[ $phase == Healthy && $stable == v1 ]]; }

tell_interactively() {
  title 'Blue-green: the preview shows v2, the flip waits for you, and so does the way back'
  apply blue-green/rollout-v2.yaml
  say
  if live 'v2 is at the preview only. Enter flips: one generation on both nodes.' v2_is_active; then
    weirctl promote checkout >/dev/null
    live 'Flipping.' v2_is_active || true
  fi
  if live 'v1 is kept for 300 s. Enter goes back: one generation again.' v1_is_active; then
    weirctl undo checkout >/dev/null
    live 'Going back.' v1_is_active || true
  fi
  live 'Done; all of it goes on running. Enter ends it and leaves nothing behind.' never || true
  keep_drawing
}
