#!/usr/bin/env bash
# The Helm chart: with its defaults it is what kustomize makes, object by object; values are checked; it installs, upgrades and goes
# on a real API server, and the Rollouts and certificates stay where they shall.
#   chart_test.sh
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
deploy=$root/deploy/kubernetes
chart=$deploy/helm/weir
# shellcheck source=api_server.sh
source "$here/api_server.sh"
tools=$("$here/../tools/build.sh" --where) || skip 'no helm: tests/kubernetes/tools/build.sh builds it'
enter_namespaces "$@"
command -v jq >/dev/null || skip 'no jq'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
start_api_server "$dir"
"$kubectl" apply -f "$here/stand_ins.yaml" >/dev/null
wait_for_crds podmonitors.monitoring.coreos.com issuers.cert-manager.io certificates.cert-manager.io
"$kubectl" apply --server-side -k "$deploy/crds" >/dev/null
wait_for_crds rollouts.weir.dev webhooks.weir.dev analysistemplates.weir.dev

# The chart's folder has a link to the CRDs, of which helm tells each time.
helm() {
  local status=0
  "$tools/helm" "$@" 2>"$dir/helm.err" || status=$?
  grep -v 'found symbolic link in path' "$dir/helm.err" >&2 || true
  return $status
}
render() { helm template weir "$chart" --namespace weir-system --kube-version v1.36.0 "$@"; }

# One object a line, each with its fields in order; what Helm alone has, and the namespace that it makes otherwise, left out.
objects() { # FILE
  "$kubectl" create --dry-run=client --validate=false -o json -f "$1" | jq -cS '(.items // [.])[]
    | select(.kind != "Namespace") | del(.metadata.annotations["helm.sh/resource-policy"])
    | if .metadata.annotations == {} then del(.metadata.annotations) else . end' | LC_ALL=C sort
}
same() { # WHAT KUSTOMIZATION HELM-ARGUMENTS...
  "$kubectl" kustomize "$2" >"$dir/kustomize.yaml" || fail "$1: kustomize"
  render "${@:3}" >"$dir/helm.yaml" || fail "$1: helm template"
  objects "$dir/kustomize.yaml" >"$dir/kustomize.json"
  objects "$dir/helm.yaml" >"$dir/helm.json"
  (($(wc -l <"$dir/helm.json") > 15)) || complain "$1: helm renders next to nothing"
  local object
  while read -r object; do
    complain "$1: differs, kustomize (<) and the chart (>): $object"
    diff <(jq -S "select(\"\(.kind) \(.metadata.name)\" == \"$object\")" "$dir/kustomize.json") \
      <(jq -S "select(\"\(.kind) \(.metadata.name)\" == \"$object\")" "$dir/helm.json") | head -n 20 || true
  done < <(comm -3 "$dir/kustomize.json" "$dir/helm.json" | tr -d '\t' | jq -r '"\(.kind) \(.metadata.name)"' | sort -u)
}
same defaults "$deploy"
same cert-manager "$deploy/with-cert-manager" --set tls.mode=cert-manager
mkdir "$dir/everything"
relative=$(realpath --relative-to="$dir/everything" "$deploy")
cat >"$dir/everything/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [$relative/crds, $relative/base]
components: [$relative/components/certs, $relative/components/monitoring, $relative/components/network-policy]
END
same 'every component' "$dir/everything" --set monitoring.podMonitors=true,networkPolicy.enabled=true

# Each value that values.yaml names is in the schema with its type, and changes something.
helm lint --strict "$chart" >"$dir/log" || complain "helm lint: $(cat "$dir/log")"
refused() { # VALUE
  if render --set "$1" >/dev/null 2>"$dir/log"; then complain "the value $1 is accepted"; fi
}
for value in controller.replicas=0 tls.mode=none agent.maxUnavailable=0 image.registry=no-slash agent.cgroup=relative agent.metricsView=linkerd 'controller.extraArgs={no-flag}' controler.replicas=2; do
  refused "$value"
done
render >"$dir/defaults.yaml"
for value in image.registry=r.example.com/w/ image.controller=c image.agent=a image.tag=v9 image.pullPolicy=Always 'image.pullSecrets[0].name=s' 'listenAddress=[::]' crds.install=false crds.keep=false \
  tls.mode=existing tls.days=90 controller.replicas=3 controller.logLevel=debug 'controller.extraArgs={--heartbeat-ms=500}' controller.resources.requests.cpu=1 controller.priorityClassName= \
  controller.nodeSelector.a=b 'controller.tolerations[0].operator=Exists' controller.podAnnotations.a=b agent.logLevel=debug agent.metricsView=both agent.cgroup=/sys/fs/cgroup/unified agent.bpffs=/mnt/bpf \
  agent.endConnections=false agent.maxUnavailable=3 agent.appArmorProfile=RuntimeDefault agent.seccompProfile=Unconfined agent.seLinuxOptions.type=spc_t 'agent.extraArgs={--max-services=20000}' \
  agent.resources.limits.memory=1Gi agent.priorityClassName= agent.nodeSelector.a=b 'agent.tolerations[0].key=a' agent.podAnnotations.a=b userRoles=false \
  monitoring.podMonitors=true networkPolicy.enabled=true; do
  render --set "$value" >"$dir/changed.yaml" || complain "the value $value is refused"
  ! cmp -s "$dir/defaults.yaml" "$dir/changed.yaml" || complain "the value $value changes nothing"
  "$kubectl" apply --server-side --validate=strict --dry-run=server -f <(grep -v 'namespace: weir-system$' "$dir/changed.yaml") >"$dir/log" 2>&1 || complain "with $value: $(cat "$dir/log")"
done
render --set agent.endConnections=false | grep -v '#' | grep -E 'hostPID: true|, SYS_' && complain 'agent.endConnections=false leaves something of it'
[[ $(render --set monitoring.podMonitors=true,monitoring.labels.team=x,monitoring.interval=5s) == *'team: "x"'* ]] || complain 'monitoring.labels are not there'

# Installed, upgraded, removed.
"$kubectl" delete -k "$deploy/crds" >/dev/null
"$kubectl" wait --for=delete crd/rollouts.weir.dev --timeout=60s >/dev/null 2>&1 || true
helm install weir "$chart" --namespace weir-system --create-namespace >"$dir/notes" || fail "helm install: $(cat "$dir/notes")"
grep -q 'kubectl get rollouts.weir.dev -A' "$dir/notes" || complain 'the notes do not tell how to begin'
wait_for_crds rollouts.weir.dev
"$kubectl" -n weir-system patch secret weir-ca --type=merge -p '{"stringData": {"tls.key": "kept"}}' >/dev/null
sed -n '/^  apiVersion: weir.dev/,/^  END/p' "$dir/notes" | sed '$d; s/^  //' | "$kubectl" apply --validate=strict -f - >"$dir/log" 2>&1 || complain "the notes' Rollout: $(cat "$dir/log")"
helm upgrade weir "$chart" --namespace weir-system --set controller.replicas=3 >/dev/null || complain 'helm upgrade'
[[ $("$kubectl" -n weir-system get deployment weir-controller -o jsonpath='{.spec.replicas}') == 3 ]] || complain 'an upgrade changed nothing'
[[ $("$kubectl" -n weir-system get secret weir-ca -o jsonpath='{.data.tls\.key}' | base64 -d) == kept ]] || complain 'an upgrade emptied weir-ca'
helm uninstall weir --namespace weir-system >/dev/null || complain 'helm uninstall'
[[ $("$kubectl" get rollouts.weir.dev -A -o name) == rollout.weir.dev/web ]] || complain 'the Rollouts went with the release'
left=$("$kubectl" -n weir-system get deployments,daemonsets,roles,rolebindings,secrets -o name)
[[ -z $left ]] || complain "left in the namespace: $left"

((failures == 0)) || fail "$failures of what was expected of the chart"
echo 'the chart is what kustomize makes; its values, an installation, an upgrade and a removal: as expected'
