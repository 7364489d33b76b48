# A real API server for a script, in network and process namespaces of the script's own. Sourced:
#
#   source api_server.sh
#   enter_namespaces "$@"     # runs the script again inside of them; from here on only lo is there, and whatever is
#                             # started ends with the script, however it ends
#   start_api_server DIR      # etcd and kube-apiserver; DIR/kubeconfig is an administrator's
#
# Set before it is sourced: api_address (127.0.0.1), where the API server listens. Before start_api_server: api_server_flags=(...), more of its flags.
#
# Skips (exit status 77, with the reason) where a program or a right is missing; with WEIR_REQUIRE_KUBERNETES=1 that is a failure.
# Needs the programs of ../control_plane/build.sh, openssl, iproute2 and root.

# shellcheck shell=bash

api_address=${api_address:-127.0.0.1}
api=https://$api_address:6443
api_server_flags=()

skip() { # REASON
  if [[ ${WEIR_REQUIRE_KUBERNETES:-0} != 0 ]]; then
    printf 'FAILED: skipped, and kubernetes tests are required here: %s\n' "$*"
    exit 1
  fi
  printf 'SKIP: %s\n' "$*"
  exit 77
}

fail() {
  printf 'FAILED: %s\n' "$*"
  exit 1
}

# What is not as expected, and goes on; the script ends by looking at `failures`.
failures=0
complain() {
  printf 'FAILED: %s\n' "$*"
  failures=$((failures + 1))
}

enter_namespaces() { # ARGUMENTS OF THE SCRIPT...
  local folder tool
  folder=$(dirname "${BASH_SOURCE[0]}")/../control_plane
  control_plane=$("$folder/build.sh" --where) || skip 'no control plane: tests/kubernetes/control_plane/build.sh builds it'
  kubectl=$control_plane/kubectl
  for tool in openssl ip unshare; do command -v "$tool" >/dev/null || skip "no $tool"; done
  if [[ ${WEIR_INSIDE:-} != 1 ]]; then
    ((EUID == 0)) || skip 'not root: the API server runs in a network namespace of its own'
    unshare --net --pid --mount --fork true 2>/dev/null || skip 'namespaces cannot be made here'
    WEIR_INSIDE=1 exec unshare --net --pid --fork --kill-child --mount-proc "$0" "$@"
  fi
  ip link set lo up
}

new_key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null || openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# DIR/NAME.crt and .key, by the cluster's CA in DIR.
sign() { # DIR NAME SUBJECT EXTENSIONS
  new_key "$1/$2.key"
  openssl req -new -key "$1/$2.key" -subj "$3" -out "$1/$2.csr"
  printf '%b' "$4" >"$1/$2.ext"
  openssl x509 -req -in "$1/$2.csr" -CA "$1/ca.crt" -CAkey "$1/ca.key" -set_serial "0x$(openssl rand -hex 8)" -days 2 -extfile "$1/$2.ext" -out "$1/$2.crt" 2>/dev/null
}

make_certificates() { # DIR
  new_key "$1/ca.key"
  openssl req -x509 -new -key "$1/ca.key" -subj /CN=test-ca -days 2 -out "$1/ca.crt"
  # 10.96.0.1: the Service "kubernetes", as pods see it.
  sign "$1" server /CN=kube-apiserver "subjectAltName=IP:$api_address,IP:10.96.0.1\nextendedKeyUsage=serverAuth\n"
  sign "$1" admin /O=system:masters/CN=admin 'extendedKeyUsage=clientAuth\n'
  openssl genrsa -out "$1/accounts.key" 2048 2>/dev/null
  openssl rsa -in "$1/accounts.key" -pubout -out "$1/accounts.pub" 2>/dev/null
}

start_api_server() { # DIR
  local dir=$1 deadline pid
  make_certificates "$dir"
  "$control_plane/etcd" --data-dir "$dir/etcd" --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync >"$dir/etcd.log" 2>&1 &
  "$control_plane/kube-apiserver" --etcd-servers http://127.0.0.1:2379 --bind-address "$api_address" --secure-port 6443 \
    --advertise-address "$api_address" --endpoint-reconciler-type none \
    --tls-cert-file "$dir/server.crt" --tls-private-key-file "$dir/server.key" --client-ca-file "$dir/ca.crt" \
    --service-account-issuer https://kubernetes.default.svc.cluster.local --service-account-key-file "$dir/accounts.pub" \
    --service-account-signing-key-file "$dir/accounts.key" --service-cluster-ip-range 10.96.0.0/16 \
    --authorization-mode Node,RBAC --allow-privileged=true "${api_server_flags[@]}" >"$dir/apiserver.log" 2>&1 &
  pid=$!
  export KUBECONFIG=$dir/kubeconfig HOME=$dir
  write_kubeconfig "$dir" "$KUBECONFIG" admin "client-certificate: $dir/admin.crt, client-key: $dir/admin.key"
  deadline=$((SECONDS + 120))
  # Ready, its own roles among it.
  until "$kubectl" get --raw '/readyz' >/dev/null 2>&1 && "$kubectl" get clusterrole view >/dev/null 2>&1; do
    kill -0 "$pid" 2>/dev/null || fail "the API server ended: $(tail -n 5 "$dir/apiserver.log")"
    ((SECONDS < deadline)) || fail "the API server is not ready after two minutes: $(tail -n 5 "$dir/apiserver.log")"
    sleep 0.2
  done
}

write_kubeconfig() { # DIR FILE USER CREDENTIALS
  cat >"$2" <<END
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "$api", certificate-authority: $1/ca.crt}}]
users: [{name: $3, user: {$4}}]
contexts: [{name: test, context: {cluster: test, user: $3}}]
current-context: test
END
}

# Until the API serves these CRDs.
wait_for_crds() { # CRD...
  local deadline=$((SECONDS + 60))
  # kubectl wait gives up at once on an object that has no conditions yet.
  until "$kubectl" wait --for=condition=Established --timeout=30s "${@/#/crd/}" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || fail "CRDs are not served: $*"
    sleep 0.1 # between two questions to another process
  done
}
