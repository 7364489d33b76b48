# shellcheck shell=bash
# a canary: 20 %, a pause, 50 %, a pause of 10 s, 100 %; and the way back (the default)
# shellcheck disable=SC2034,SC2154,SC2317  # variables are shared with the other files; functions are called by name

scene_manifests=(checkout.yaml rollout-v1.yaml)

tell_story() {
  verify_phase 'v1 is stable' Healthy 0 '*'
  apply rollout-v2.yaml
  verify_phase 'setWeight 20, pause' Paused 20 '1/*'
  weirctl promote checkout >/dev/null
  verify_phase 'setWeight 50, pause 10s' Paused 50 '3/*'
  verify_phase 'v2 is stable' Healthy 100 '*'
  [[ $stable == v2 ]] || die "v2 should be stable, and is $stable"
  # And back: v1 as the canary of v2, aborted.
  apply rollout-v1.yaml
  verify_phase 'back to v1: setWeight 20' Paused 80 '1/*'
  weirctl abort checkout >/dev/null
  verify_phase 'abort' Degraded 100 '*'
  weirctl retry checkout >/dev/null
  verify_phase 'retry: setWeight 20' Paused 80 '1/*'
  weirctl promote --full checkout >/dev/null
  verify_phase 'promote --full' Healthy 0 '*'
}

is_past_the_pause() { [[ $phase == Healthy || $phase == Degraded ]] || ((weight_v2 != 20 && weight_v2 != 0)); }

tell_interactively() {
  title 'A canary of v2: 20 %, a pause that waits for you, 50 %, a pause of 10 s, 100 %'
  apply rollout-v2.yaml
  say
  if live 'The pause waits for you: Enter promotes.' is_past_the_pause; then
    weirctl promote checkout >/dev/null
    live 'Promoted: 50 %, then all of it after 10 s.' is_settled || true
  fi
  live 'Done; all of it goes on running. Enter ends it and leaves nothing behind.' never || true
  keep_drawing
}
