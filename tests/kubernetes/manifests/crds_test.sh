#!/usr/bin/env bash
# The CRDs on a real API server: what they accept, what they refuse and in which words, what they show.
#   crds_test.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
# shellcheck source=api_server.sh
source "$here/api_server.sh"
enter_namespaces "$@"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
start_api_server "$dir"
"$kubectl" apply --server-side --validate=strict -k "$root/deploy/kubernetes/crds" >"$dir/log" 2>&1 || fail "the CRDs: $(cat "$dir/log")"
wait_for_crds rollouts.weir.dev webhooks.weir.dev analysistemplates.weir.dev
"$kubectl" create namespace shop >/dev/null

# The documents of Weir's kinds in FILE; an AnalysisTemplate of Argo's v1alpha1 as Weir's.
ours() { # FILE
  awk 'BEGIN { RS = "(^|\n)---\n" }
    /(^|\n)kind: *(Rollout|Webhook|AnalysisTemplate) *(\n|$)/ {
      sub(/argoproj\.io\/v1alpha1\nkind: AnalysisTemplate/, "weir.dev/v1alpha1\nkind: AnalysisTemplate")
      printf "%s\n---\n", $0
    }' "$1"
}

# Standard input is what is created, and must be refused in these words, or be accepted where there are none.
expect() { # WHAT WORDS
  local answer
  cat >"$dir/object.yaml"
  if answer=$("$kubectl" create --dry-run=server --validate=strict -f "$dir/object.yaml" 2>&1); then
    [[ -z $2 ]] || complain "$1: accepted, expected: $2"
  elif [[ -z $2 ]]; then
    complain "$1: expected to be accepted: $answer"
  elif [[ $answer != *"$2"* ]]; then
    complain "$1: expected: $2; found: $answer"
  fi
}

# Every manifest of the tests, and those that are shipped.
shopt -s nullglob
files=0
for file in "$root"/tests/testdata/manifests/{,bad/}*.yaml "$root"/deploy/{webhooks,quickstart,quickstart/*}/*.yaml "$root"/deploy/kubernetes/recipes/deployment.yaml; do
  ours "$file" >"$dir/ours.yaml"
  [[ -s $dir/ours.yaml ]] || continue
  files=$((files + 1))
  words=''
  if [[ $file == */bad/* ]]; then
    name=$(basename "$file" .yaml)
    line=$(grep -E "^$name(:| =) " "$here/refusals.txt") || {
      complain "$name: refusals.txt has no line for it"
      continue
    }
    [[ $line == "$name = "* ]] || words=${line#"$name: "}
  fi
  expect "${file#"$root/"}" "$words" <"$dir/ours.yaml"
done
((files > 100)) || complain "only $files manifests were found"

rollout() { # SPEC AS ONE LINE OF YAML
  printf 'apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {name: r, namespace: shop}\nspec: %s\n' "$1"
}
workload='workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}'

# What only Kubernetes has.
expect 'a Deployment' '' < <(rollout "{service: web, $workload, strategy: {canary: {steps: [{setCanaryScale: {replicas: 1}}, {setWeight: 20}, {pause: {}}]}}}")
expect 'a Deployment and a revision' 'exactly one of revision and workloadRef' < <(rollout "{service: web, revision: v1, $workload, strategy: {canary: {}}}")
expect 'a StatefulSet' 'supported values: "Deployment"' < <(rollout '{service: web, workloadRef: {apiVersion: apps/v1, kind: StatefulSet, name: web}, strategy: {canary: {}}}')
expect 'a scale without a Deployment' 'setCanaryScale needs workloadRef' < <(rollout '{service: web, revision: v1, strategy: {canary: {steps: [{setCanaryScale: {replicas: 1}}]}}}')
expect 'two scales' 'exactly one of replicas, weight, matchTrafficWeight' < <(rollout "{service: web, $workload, strategy: {canary: {steps: [{setCanaryScale: {replicas: 1, weight: 5}}]}}}")
expect 'no pods' 'should be greater than or equal to 1' < <(rollout "{service: web, $workload, strategy: {canary: {steps: [{setCanaryScale: {replicas: 0}}]}}}")
expect 'matchTrafficWeight: false' 'to set a scale of its own write replicas or weight' < <(rollout "{service: web, $workload, strategy: {canary: {steps: [{setCanaryScale: {matchTrafficWeight: false}}]}}}")
expect 'a delay' '' < <(rollout "{service: web, $workload, strategy: {canary: {scaleDownDelaySeconds: 60}}}")
expect 'a delay without a Deployment' 'scaleDownDelaySeconds of canary needs workloadRef' < <(rollout '{service: web, revision: v1, strategy: {canary: {scaleDownDelaySeconds: 60}}}')
expect 'a Deployment of another namespace' 'are in the same namespace' < <(rollout '{service: web, workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web, namespace: other}, strategy: {canary: {}}}')
expect 'no Service' 'no Service: name the one whose connections are divided' < <(rollout '{revision: v1, strategy: {canary: {}}}')
expect 'no strategy at all' 'exactly one of canary and blueGreen' < <(rollout '{service: web, revision: v1, strategy: {}}')
expect '257 steps' 'must have at most 256 items' < <(rollout "{service: web, revision: v1, strategy: {canary: {steps: [$(printf '{setWeight: 1}, %.0s' {1..256}) {setWeight: 1}]}}}")
expect '256 steps' '' < <(rollout "{service: web, revision: v1, strategy: {canary: {steps: [$(printf '{setWeight: 1}, %.0s' {1..255}) {setWeight: 1}]}}}")

# Every duration there is a form of.
for duration in 10 '"10"' 10s 5m 1h30m 250ms 1h0m0s; do
  expect "duration $duration" '' < <(rollout "{service: web, revision: v1, failSafeAfter: $duration, ackTimeout: $duration, onAbort: {drain: {deadline: $duration}}, passiveHealth: {baseTime: $duration, maxTime: 23h}, strategy: {canary: {steps: [{pause: {duration: $duration}}]}}}")
done

# Each field of Argo's that is refused, beside or in strategy, under its own name with its reason.
refused=$("$kubectl" get crd rollouts.weir.dev -o json | jq -r '
  def refused: to_entries[] | select(.value["x-kubernetes-validations"]? // [] | any(.rule == "false"))
    | "\(.key) \(.value.type // "string")";
  .spec.versions[0].schema.openAPIV3Schema.properties.spec.properties as $spec
  | ($spec | refused | "{service: web, revision: v1, strategy: {canary: {}}, FIELD} \(.)"),
    ($spec.strategy.properties.canary.properties | refused | "{service: web, revision: v1, strategy: {canary: {FIELD}}} \(.)"),
    ($spec.strategy.properties.canary.properties.trafficRouting.properties | refused | "{service: web, revision: v1, strategy: {canary: {trafficRouting: {FIELD}}}} \(.)"),
    ($spec.strategy.properties.canary.properties.steps.items.properties | refused | "{service: web, revision: v1, strategy: {canary: {steps: [{FIELD}]}}} \(.)"),
    ($spec.strategy.properties.blueGreen.properties | refused | "{service: web, revision: v1, strategy: {blueGreen: {FIELD}}} \(.)")')
fields=0
while read -r line; do
  type=${line##* } line=${line% *}
  name=${line##* } spec=${line% *}
  case $type in
    object) value='{}' ;;
    array) value='[]' ;;
    integer) value=1 ;;
    boolean) value=true ;;
    *) value=a ;;
  esac
  fields=$((fields + 1))
  expect "the field $name" "$name: Invalid value" < <(rollout "${spec/FIELD/$name: $value}")
done <<<"$refused"
((fields > 40)) || complain "only $fields fields of Argo's are refused"

# workloadRef stays as it is; the rest may change.
"$kubectl" create -f - >/dev/null < <(rollout "{service: web, $workload, strategy: {canary: {steps: [{setWeight: 20}, {pause: {}}]}}}")
patch() { # WHAT WORDS PATCH
  local answer
  if answer=$("$kubectl" -n shop patch rollouts.weir.dev r --type=merge -p "$3" 2>&1); then
    [[ -z $2 ]] || complain "$1: accepted, expected: $2"
  elif [[ -z $2 || $answer != *"$2"* ]]; then
    complain "$1: expected: ${2:-to be accepted}; found: $answer"
  fi
}
patch 'another Deployment' 'workloadRef cannot be changed' '{"spec": {"workloadRef": {"name": "other"}}}'
patch 'a revision instead of the Deployment' 'workloadRef can be neither added nor removed' '{"spec": {"workloadRef": null, "revision": "v1"}}'
patch 'other steps' '' '{"spec": {"strategy": {"canary": {"steps": [{"setWeight": 50}, {"pause": {}}]}}}}'
patch 'a status on the wrong way' '' '{"status": {"phase": "Healthy"}}'
phase=$("$kubectl" -n shop get rollouts.weir.dev r -o jsonpath='{.status.phase}')
[[ -z $phase ]] || complain "status was written without its subresource: $phase"

# The status, and what is shown of it.
cat >"$dir/status.json" <<'END'
{"status": {"phase": "Paused", "message": "waits to be promoted", "currentStepIndex": 1, "currentStep": "1/2 pause", "stableRevision": "5d7f",
  "canaryRevision": "84bc", "canaryWeight": 50, "maxWeight": 100, "generation": 7, "observedGeneration": 2,
  "nodes": {"desired": 3, "acked": 2, "behind": ["node-c"], "refusing": [], "takenOut": []},
  "workload": {"replicas": 4, "readyReplicas": 4, "canaryReplicas": 2, "canaryReadyReplicas": 2, "stableReplicaSet": "web-5d7f", "canaryReplicaSet": "web-84bc"},
  "conditions": [{"type": "Progressing", "status": "True", "observedGeneration": 2, "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Paused", "message": "step 1"}],
  "state": "{\"opaque\": true}"}}
END
"$kubectl" -n shop patch rollouts.weir.dev r --subresource=status --type=merge --patch-file "$dir/status.json" >/dev/null || complain 'the status is refused'
"$kubectl" -n shop get rollouts.weir.dev r -o json | jq -e --slurpfile status "$dir/status.json" '.status == $status[0].status' >/dev/null ||
  complain "fields of the status are lost: $("$kubectl" -n shop get rollouts.weir.dev r -o json | jq -c .status)"
shown=$("$kubectl" -n shop get rollouts.weir.dev | sed 's/ \{2,\}/|/g; s/|[0-9]*s$/|AGE/')
expected='NAME|PHASE|STEP|WEIGHT|ACKED|NODES|STABLE|CANARY|AGE
r|Paused|1/2 pause|50|2|3|5d7f|84bc|AGE'
[[ $shown == "$expected" ]] || complain "columns: $shown"
for way in 'wro -o wide' 'weir -o wide'; do
  # shellcheck disable=SC2086  # two words
  [[ $("$kubectl" -n shop get $way) == *MESSAGE*'waits to be promoted'* ]] || complain "kubectl get $way shows no message"
done
[[ $("$kubectl" explain rollouts.spec.workloadRef --api-version=weir.dev/v1alpha1) == *'given back'* ]] || complain 'kubectl explain has no description'

((failures == 0)) || fail "$failures of what was expected of the CRDs"
printf '%d manifests, %d refused fields of Argo'"'"'s: as expected\n' "$files" "$fields"
