#!/usr/bin/env bash
# deploy/kubernetes on a real API server: every overlay and component is accepted, pods are admitted where they shall be, the accounts may do
# what they need and nothing else, and the Job makes certificates that the programs take.
#   manifests_test.sh WEIR-CONTROLLER WEIRCTL
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
deploy=$root/deploy/kubernetes
# shellcheck source=api_server.sh
source "$here/api_server.sh"
enter_namespaces "$@"
for tool in jq curl; do command -v "$tool" >/dev/null || skip "no $tool"; done

controller=$1 weirctl=$2

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
start_api_server "$dir"

"$kubectl" apply -f "$here/stand_ins.yaml" >/dev/null
wait_for_crds podmonitors.monitoring.coreos.com issuers.cert-manager.io certificates.cert-manager.io

# What is applied as it stands in the README, strictly: a field that the API does not know is an error.
"$kubectl" apply --server-side --validate=strict -k "$deploy" >"$dir/log" 2>&1 || fail "kubectl apply -k deploy/kubernetes: $(cat "$dir/log")"
! grep -i warning "$dir/log" || complain 'warnings, see above'
wait_for_crds rollouts.weir.dev webhooks.weir.dev analysistemplates.weir.dev

# With everything that can be added, dry: once over the Job's certificates, once over cert-manager's.
for certificates in certs cert-manager; do
  mkdir "$dir/$certificates"
  # Kustomize takes relative paths only.
  relative=$(realpath --relative-to="$dir/$certificates" "$deploy")
  cat >"$dir/$certificates/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [$relative/crds, $relative/base]
components: [$relative/components/$certificates, $relative/components/monitoring, $relative/components/network-policy]
END
  "$kubectl" kustomize "$dir/$certificates" >"$dir/$certificates.yaml" 2>"$dir/log" || fail "kustomize with $certificates: $(cat "$dir/log")"
  "$kubectl" apply --server-side --validate=strict --dry-run=server -f "$dir/$certificates.yaml" >"$dir/log" 2>&1 ||
    complain "with $certificates: $(cat "$dir/log")"
done
"$kubectl" kustomize "$deploy/with-cert-manager" >"$dir/with.yaml" || complain 'with-cert-manager cannot be built'
! grep -q 'kind: Job' "$dir/with.yaml" || complain 'with-cert-manager has the Job as well'

# The account that the controller manager makes in each namespace.
"$kubectl" -n weir-system create serviceaccount default >/dev/null
"$kubectl" apply --server-side --validate=strict -k "$deploy/uninstall" >"$dir/log" 2>&1 || complain "uninstall: $(cat "$dir/log")"

# A pod of a template, dry, in NAMESPACE; prints the refusal.
admit() { # KIND NAME NAMESPACE
  "$kubectl" -n weir-system get "$1" "$2" -o json |
    jq '{apiVersion: "v1", kind: "Pod", metadata: {name: "try", labels: .spec.template.metadata.labels}, spec: .spec.template.spec}' |
    "$kubectl" -n "$3" create --dry-run=server -f - 2>&1 >/dev/null
}
for level in restricted baseline; do
  "$kubectl" create namespace "$level" >/dev/null
  "$kubectl" label namespace "$level" "pod-security.kubernetes.io/enforce=$level" >/dev/null
  for account in weir-controller weir-agent weir-certs; do "$kubectl" -n "$level" create serviceaccount "$account" >/dev/null; done
done
refusal=$(admit deployment weir-controller restricted) || complain "the controller's pod is not restricted: $refusal"
refusal=$(admit job weir-certs restricted) || complain "the Job's pod is not restricted: $refusal"
[[ $("$kubectl" -n weir-system get cronjob weir-certs -o json | jq -S .spec.jobTemplate.spec.template) == "$("$kubectl" -n weir-system get job weir-certs -o json |
  jq -S '.spec.template | .metadata.labels |= with_entries(select(.key | startswith("app.")))')" ]] || complain 'the CronJob makes other pods than the Job'
refusal=$(admit daemonset weir-agent weir-system) || complain "the agent's pod in weir-system: $refusal"
refusal=$(admit daemonset weir-detach weir-system) || complain "what takes the agents' programs away: $refusal"
refusal=$(admit daemonset weir-agent baseline) && complain 'the agent is admitted at the level baseline: then this test sees nothing'
# What an agent asks for, all of it: one thing more is a decision, to be written here and in the README.
asks=$("$kubectl" -n weir-system get daemonset weir-agent -o json | jq -c '.spec.template.spec |
  [.hostPID, .hostNetwork // false, .hostIPC // false, .automountServiceAccountToken, (.containers[0].securityContext | .privileged, .capabilities.add), [.volumes[].hostPath.path | select(.)]]')
expected='[true,false,false,false,false,["BPF","NET_ADMIN","PERFMON","SYS_ADMIN","SYS_PTRACE"],["/sys/fs/cgroup","/sys/fs/bpf"]]'
[[ $asks == "$expected" ]] || complain "an agent asks for $asks, expected $expected"

# The Service leads to nobody until a leader has labelled itself, and the label is the leader's to write.
"$kubectl" -n weir-system get service weir-controller -o json | jq -e '.spec.selector["weir.dev/leader"] == "true"' >/dev/null ||
  complain 'the Service does not ask for the leader'
"$kubectl" -n weir-system get deployment weir-controller -o json | jq -e '.spec.template.metadata.labels | has("weir.dev/leader") | not' >/dev/null ||
  complain 'every controller pod begins as a leader'

"$kubectl" create namespace shop >/dev/null
# Asked of the authorizer itself, which knows no kinds: those of other projects need not be installed.
jq -Rnc '[inputs | select(test("^[a-z]")) | split(" ") as [$account, $answer, $verb, $what, $namespace]
  | ($what | capture("^(?<resource>[a-z]+)(?:[.](?<group>[^/]+))?(?:/(?<rest>.+))?$")) as $parts
  | (["status", "exec", "ephemeralcontainers", "token"] | index($parts.rest)) as $sub
  | {apiVersion: "authorization.k8s.io/v1", kind: "SubjectAccessReview", metadata: {annotations: {}}, spec: {
      user: "system:serviceaccount:weir-system:weir-\($account)", groups: ["system:serviceaccounts", "system:serviceaccounts:weir-system", "system:authenticated"],
      resourceAttributes: ({verb: $verb, resource: $parts.resource, group: ($parts.group // ""), namespace: ($namespace // "")}
        + if $parts.rest == null then {} elif $sub == null then {name: $parts.rest} else {subresource: $parts.rest} end)}}]
  | {apiVersion: "v1", kind: "List", items: .}' "$here/permissions.txt" >"$dir/reviews.json"
"$kubectl" create -f "$dir/reviews.json" -o json | jq -r '(.items // [.])[].status.allowed' >"$dir/answers" || fail 'the authorizer cannot be asked'
checked=0
while read -r allowed account answer rest; do
  [[ $allowed == true ]] && found=yes || found=no
  [[ $found == "$answer" ]] || complain "weir-$account: $rest: expected $answer, found $found"
  checked=$((checked + 1))
done < <(paste -d ' ' "$dir/answers" <(grep '^[a-z]' "$here/permissions.txt"))
((checked > 60)) || complain "only $checked permissions were looked at"
# Not one rule with a star.
"$kubectl" get clusterroles,roles -A -l app.kubernetes.io/name=weir -o json |
  jq -e '[.items[].rules[] | .verbs[], .resources[], .apiGroups[] | select(contains("*"))] == []' >/dev/null || complain 'a rule has a star'

# The Job's script, as the Job's account.
account=$dir/account
mkdir "$account"
"$kubectl" -n weir-system create token weir-certs >"$account/token"
cp "$dir/ca.crt" "$account/ca.crt"
make_them() { # DAYS
  POD_NAMESPACE=weir-system WEIR_API=$api WEIR_ACCOUNT=$account WEIR_CERT_DAYS=$1 "$deploy/certs/certs.sh" >"$dir/certs.log" 2>&1
}
key_of() { "$kubectl" -n weir-system get secret "$1" -o json | jq -r --arg key "$2" '.data[$key] // "" | @base64d'; }
versions() { "$kubectl" -n weir-system get secrets -o json | jq -c '[.items[] | {(.metadata.name): .metadata.resourceVersion}] | add'; }

WEIR_CA_DAYS=300 make_them 200 || complain "certs.sh, an old one's: $(cat "$dir/certs.log")"
old_ca=$(key_of weir-ca tls.crt)
old_leaf=$(key_of weir-agent-tls tls.crt)
# A CA with less than a year left: first the next one is trusted as well, then it signs, and both times nobody is left out.
make_them 825 || complain "certs.sh, the next CA: $(cat "$dir/certs.log")"
[[ $(grep -c ': told' "$dir/certs.log") == 3 && $(grep -c ': kept' "$dir/certs.log") == 3 && $(key_of weir-agent-tls tls.crt) == "$old_leaf" ]] ||
  complain "the next CA is to be trusted, and not to sign yet: $(cat "$dir/certs.log")"
for secret in weir-controller-tls weir-agent-tls weir-client-tls; do
  [[ $(key_of "$secret" ca.crt) == "$(key_of weir-ca tls.crt)"$'\n'"$old_ca" ]] || complain "$secret: trusts others than both CAs"
done
make_them 825 || complain "certs.sh, signed by the next CA: $(cat "$dir/certs.log")"
[[ $(grep -c ': made' "$dir/certs.log") == 3 ]] || complain "the next CA is to sign: $(cat "$dir/certs.log")"
openssl verify -x509_strict -CAfile <(key_of weir-ca tls.crt) <(key_of weir-agent-tls tls.crt) >/dev/null || complain 'the next CA has not signed'
openssl verify -x509_strict -CAfile <(key_of weir-agent-tls ca.crt) <(printf '%s\n' "$old_leaf") >/dev/null || complain 'who has not been renewed yet is left out'
# The one before has ended, yesterday.
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/ended.key" -subj '/CN=weir-ca of old' -out "$dir/ended.csr" 2>/dev/null
openssl x509 -req -in "$dir/ended.csr" -signkey "$dir/ended.key" -days -1 -out "$dir/ended.crt" 2>/dev/null
"$kubectl" -n weir-system get secret weir-ca -o json | jq --rawfile ended "$dir/ended.crt" '.data["ca.crt"] = ((.data["tls.crt"] | @base64d) + $ended | @base64)' |
  "$kubectl" replace -f - >/dev/null
make_them 825 || complain "certs.sh, the CA before has ended: $(cat "$dir/certs.log")"
[[ $(key_of weir-ca ca.crt) == "$(key_of weir-ca tls.crt)" && $(key_of weir-agent-tls ca.crt) == "$(key_of weir-ca tls.crt)" ]] ||
  complain "a CA that has ended is trusted: $(cat "$dir/certs.log")"
for secret in weir-ca weir-controller-tls weir-agent-tls weir-client-tls; do
  "$kubectl" -n weir-system patch secret "$secret" --type=json -p '[{"op": "remove", "path": "/data"}]' >/dev/null
done

make_them 10 || complain "certs.sh: $(cat "$dir/certs.log")"
first=$(versions)
make_them 825 || complain "certs.sh, a second time: $(cat "$dir/certs.log")"
[[ $(grep -c ': made' "$dir/certs.log") == 3 && $(grep -c 'weir-ca: kept' "$dir/certs.log") == 1 ]] ||
  complain "certificates of ten days are to be renewed, the CA kept: $(cat "$dir/certs.log")"
second=$(versions)
[[ $first != "$second" ]] || complain 'nothing was written'
make_them 825 || complain "certs.sh, a third time: $(cat "$dir/certs.log")"
[[ $(grep -c ': kept' "$dir/certs.log") == 4 && $(versions) == "$second" ]] || complain "good certificates are to be kept: $(cat "$dir/certs.log")"

for secret in weir-controller-tls weir-agent-tls weir-client-tls; do
  for key in tls.crt tls.key ca.crt; do key_of "$secret" "$key" >"$dir/$secret.$key"; done
  cmp -s <(openssl pkey -in "$dir/$secret.tls.key" -pubout) <(openssl x509 -in "$dir/$secret.tls.crt" -noout -pubkey) || complain "$secret: key and certificate are no pair"
done
verify() { # SECRET ARGUMENTS...
  openssl verify -x509_strict -CAfile "$dir/weir-controller-tls.ca.crt" "${@:2}" "$dir/$1.tls.crt" >/dev/null 2>&1
}
for name in weir-controller weir-controller.weir-system.svc localhost; do
  verify weir-controller-tls -purpose sslserver -verify_hostname "$name" || complain "the controller's certificate is not good for $name"
done
verify weir-controller-tls -purpose sslserver -verify_ip 127.0.0.1 || complain "the controller's certificate is not good for a forwarded port"
verify weir-agent-tls -purpose sslclient || complain 'an agent has no client certificate'
verify weir-agent-tls -purpose sslserver -verify_hostname weir-agent || complain "an agent's metrics have no server certificate"
verify weir-client-tls -purpose sslclient || complain 'weirctl has no client certificate'
! verify weir-client-tls -purpose sslserver || complain "weirctl's certificate would do for a server"

# The programs take them: whoever has a certificate of this CA is heard, whoever has none is not.
mkdir "$dir/state"
: >"$dir/controller.out"
"$controller" --state "$dir/state" --listen 0.0.0.0:7400 --http 0.0.0.0:7401 --tls-cert "$dir/weir-controller-tls.tls.crt" \
  --tls-key "$dir/weir-controller-tls.tls.key" --tls-ca "$dir/weir-controller-tls.ca.crt" >"$dir/controller.out" 2>"$dir/controller.log" &
pid=$!
deadline=$((SECONDS + 60))
until grep -q '^listening ' "$dir/controller.out"; do
  kill -0 "$pid" 2>/dev/null && ((SECONDS < deadline)) || fail "weir-controller does not start with its certificate: $(tail -n 3 "$dir/controller.log")"
  sleep 0.1
done
for name in weir-client-tls weir-agent-tls; do
  "$weirctl" --server localhost:7400 --tls-ca "$dir/$name.ca.crt" --tls-cert "$dir/$name.tls.crt" --tls-key "$dir/$name.tls.key" get nodes >"$dir/log" 2>&1 ||
    complain "with $name: $(cat "$dir/log")"
done
if "$weirctl" --server localhost:7400 --tls-ca "$dir/weir-client-tls.ca.crt" --request-timeout 3s get nodes >"$dir/log" 2>&1; then
  complain 'the controller hears who has no certificate'
fi
# As the kubelet and Prometheus ask.
curl -sSf --insecure https://127.0.0.1:7401/readyz >/dev/null || complain 'no probe without a certificate'
curl -sSf --cacert "$dir/weir-client-tls.ca.crt" --resolve weir-controller:7401:127.0.0.1 https://weir-controller:7401/metrics >/dev/null || complain 'no metrics'
kill "$pid"
wait "$pid" || complain 'weir-controller ended with an error'

# cert-manager is asked for the same names and uses.
"$kubectl" create --dry-run=client -o json -f "$deploy/components/cert-manager/certificates.yaml" | jq -rs '.[] | .items // [.] | .[] | select(.kind == "Certificate" and .spec.isCA != true)
  | "\(.spec.secretName) \([.spec.dnsNames[], (.spec.ipAddresses // [])[]] | sort | join(","))"' >"$dir/asked"
while read -r secret names; do
  found=$(openssl x509 -in "$dir/$secret.tls.crt" -noout -ext subjectAltName | tail -n +2 | tr -d ' ' | sed 's/DNS://g; s/IPAddress://g' | tr , '\n' | LC_ALL=C sort | paste -sd,)
  [[ $found == "$names" ]] || complain "$secret: the Job makes it for $found, cert-manager for $names"
done <"$dir/asked"
(($(wc -l <"$dir/asked") == 3)) || complain 'cert-manager is not asked for three certificates'

# Applied again, by either way, certificates stay.
"$kubectl" apply --server-side -k "$deploy" >/dev/null
"$kubectl" kustomize "$deploy" | "$kubectl" apply -f - >/dev/null 2>"$dir/log" || complain "client-side: $(cat "$dir/log")"
for secret in weir-ca weir-controller-tls weir-agent-tls weir-client-tls; do
  [[ -n $(key_of "$secret" tls.key) ]] || complain "$secret was emptied by applying the manifests again"
done

# Another Secret than those four, and a Secret that is not there: an error that names it.
"$kubectl" -n weir-system delete secret weir-client-tls >/dev/null
if make_them 825; then complain 'a Secret is missing, and the Job says nothing'; fi
grep -q 'GET secret weir-system/weir-client-tls: HTTP 404' "$dir/certs.log" || complain "a missing Secret: $(cat "$dir/certs.log")"

((failures == 0)) || fail "$failures of what was expected of the manifests"
printf '%d permissions, two overlays with every component, four pods, certificates: as expected\n' "$checked"
