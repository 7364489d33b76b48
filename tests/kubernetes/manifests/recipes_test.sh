#!/usr/bin/env bash
# deploy/kubernetes/recipes on a real API server with the CRDs of Argo Rollouts, Flagger and Gateway API: every file is accepted, strictly;
# and the two of Weir's CRDs that have a namesake of Argo's stand beside it.
#   recipes_test.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
# shellcheck source=api_server.sh
source "$here/api_server.sh"
tools=$("$here/../tools/build.sh" --where) || skip "no CRDs of other projects: tests/kubernetes/tools/build.sh fetches them"
enter_namespaces "$@"

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
start_api_server "$dir"

"$kubectl" apply --server-side -f "$tools/crds/argo-rollouts" -f "$tools/crds/flagger" -f "$tools/crds/gateway-api" >"$dir/log" 2>&1 || fail "CRDs of other projects: $(cat "$dir/log")"
"$kubectl" apply --server-side -k "$root/deploy/kubernetes/crds" >/dev/null
wait_for_crds rollouts.weir.dev analysistemplates.weir.dev rollouts.argoproj.io analysistemplates.argoproj.io canaries.flagger.app metrictemplates.flagger.app httproutes.gateway.networking.k8s.io
for namespace in shop argo-rollouts; do "$kubectl" create namespace "$namespace" >/dev/null; done

count=0
for recipe in "$root"/deploy/kubernetes/recipes/*.yaml; do
  "$kubectl" apply --server-side --validate=strict --dry-run=server -f "$recipe" >"$dir/log" 2>&1 || complain "${recipe##*/}: $(cat "$dir/log")"
  ! grep -i '^warning' "$dir/log" || complain "${recipe##*/}: warns, see above"
  grep -q "^| \`${recipe##*/}\`" "$root/deploy/kubernetes/recipes/README.md" || complain "${recipe##*/}: the README does not have it"
  count=$((count + 1))
done
((count >= 5)) || complain "only $count recipes"

# The same names, each in its own group.
"$kubectl" apply -n shop -f "$root/deploy/kubernetes/recipes/deployment.yaml" >/dev/null
"$kubectl" apply -n shop -f "$root/deploy/kubernetes/recipes/argo-rollouts-smi.yaml" >/dev/null
[[ $("$kubectl" -n shop get rollouts.weir.dev -o name) == rollout.weir.dev/checkout ]] || complain "Weir's Rollout"
[[ $("$kubectl" -n shop get rollouts.argoproj.io -o name) == rollout.argoproj.io/checkout ]] || complain "Argo's Rollout"
[[ $("$kubectl" -n shop get wro -o name) == rollout.weir.dev/checkout ]] || complain "Weir's short name"
[[ $("$kubectl" -n shop get ro -o name) == rollout.argoproj.io/checkout ]] || complain "Argo's short name is taken"

((failures == 0)) || fail "$failures of what was expected of the recipes"
echo "$count recipes: as expected"
