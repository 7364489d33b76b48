#!/usr/bin/env bash
# Fills Weir's Secrets with certificates by a CA of Weir's own: weir-ca, weir-controller-tls, weir-agent-tls, weir-client-tls.
# Run in a pod (../components/certs), at the start and then each week. What is there and good for 30 days more stays as it
# is. A CA with less than a year left gives way in two runs: the first has everybody trust the next one as well, the
# second has it sign; nobody meets a certificate that he does not know. The one before is trusted until it ends.
# The Secrets must exist; the account needs get and patch of these four and nothing else.
#
#   POD_NAMESPACE   the Secrets' namespace, and part of the controller's names
#   WEIR_CERT_DAYS  how long certificates are good for (825)
#   WEIR_CA_DAYS    how long a CA is (3650)
#   WEIR_API        the API server (default: the pod's own environment says where)
#   WEIR_ACCOUNT    folder with token and ca.crt (default: where the kubelet puts them)
#
# Exit status 1, with the reason, when anything fails; nothing is half written: each Secret changes in one request.
set -euo pipefail
umask 077

namespace=${POD_NAMESPACE:?POD_NAMESPACE is not set: give the namespace of the Secrets}
days=${WEIR_CERT_DAYS:-825}
account=${WEIR_ACCOUNT:-/var/run/secrets/kubernetes.io/serviceaccount}
host=${KUBERNETES_SERVICE_HOST:-}
[[ $host != *:* ]] || host="[$host]"
api=${WEIR_API:-https://$host:${KUBERNETES_SERVICE_PORT:-443}}
ca_days=${WEIR_CA_DAYS:-3650}
readonly renew_seconds=$((30 * 24 * 3600)) ca_renew_seconds=$((365 * 24 * 3600))

die() {
  printf 'certs: %s\n' "$*" >&2
  exit 1
}
[[ -r $account/token ]] || die "no token in $account: run it in a pod with the service account weir-certs"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Prints the answer's body. The token stays off the command line.
call() { # METHOD SECRET [FILE]
  local status
  status=$(curl --silent --show-error --max-time 20 --cacert "$account/ca.crt" --request "$1" --output "$work/answer" \
    --write-out '%{http_code}' --config <(printf 'header = "Authorization: Bearer %s"\n' "$(<"$account/token")") \
    ${3:+--header 'Content-Type: application/merge-patch+json' --data-binary "@$3"} \
    "$api/api/v1/namespaces/$namespace/secrets/$2?pretty=false") || die "$1 secret $2: no answer of $api"
  [[ $status == 200 ]] || die "$1 secret $namespace/$2: HTTP $status: $(head -c 500 "$work/answer")"
  cat "$work/answer"
}

# A key of the Secret whose JSON is in FILE; nothing where it has none.
key_of() { # FILE KEY
  { grep -o "\"${2//./\\.}\": *\"[^\"]*\"" "$1" || true; } | head -n 1 | sed 's/.*"\([^"]*\)"$/\1/' | base64 -d
}

# One request: all keys, and only if nobody else has written meanwhile.
write_secret() { # SECRET DIRECTORY-WITH-FILES
  local version file comma=''
  version=$(grep -o '"resourceVersion": *"[^"]*"' "$work/$1.json" | head -n 1 | sed 's/.*"\([^"]*\)"$/\1/')
  {
    printf '{"metadata":{"resourceVersion":"%s"},"data":{' "$version"
    for file in "$2"/{tls.crt,tls.key,ca.crt}; do
      [[ -e $file ]] || continue
      printf '%s"%s":"%s"' "$comma" "${file##*/}" "$(base64 -w 0 "$file")"
      comma=,
    done
    printf '}}'
  } >"$work/patch.json"
  call PATCH "$1" "$work/patch.json" >"$work/$1.json"
}

read_secret() { # SECRET: to files in work/SECRET
  local key
  call GET "$1" >"$work/$1.json"
  mkdir -p "$work/$1"
  for key in tls.crt tls.key ca.crt; do key_of "$work/$1.json" "$key" >"$work/$1/$key"; done
}

good_for() { # CERTIFICATE SECONDS
  [[ -s $1 ]] && openssl x509 -in "$1" -noout -checkend "$2" >/dev/null 2>&1
}

new_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# weir-ca holds the one that signs and, as ca.crt, all that are trusted: that one first, then the one before it.
make_ca() {
  local to=$work/weir-ca before=$work/before.crt
  if good_for "$to/tls.crt" $ca_renew_seconds && [[ -s $to/tls.key ]]; then
    awk '/BEGIN CERTIFICATE/ { n++ } n == 2' "$to/ca.crt" >"$before"
    good_for "$before" 0 || : >"$before"
    cat "$to/tls.crt" "$before" >"$work/trusted.crt"
    if cmp -s "$work/trusted.crt" "$to/ca.crt"; then
      printf 'weir-ca: kept\n'
      return
    fi
    mv "$work/trusted.crt" "$to/ca.crt"
    write_secret weir-ca "$to"
    printf 'weir-ca: kept, the one before it has ended\n'
    return
  fi
  : >"$before"
  if good_for "$to/tls.crt" 0; then cp "$to/tls.crt" "$before"; fi
  new_key "$to/tls.key"
  # A name of its own: where two are trusted, it tells which of them signed.
  openssl req -x509 -new -key "$to/tls.key" -subj "/CN=weir-ca $(date -u +%Y%m%dT%H%M%SZ)" -days "$ca_days" -out "$to/tls.crt" \
    -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign
  cat "$to/tls.crt" "$before" >"$to/ca.crt"
  write_secret weir-ca "$to"
  printf 'weir-ca: made\n'
}

signed_by() { # CAS CERTIFICATE
  openssl verify -CAfile "$1" "$2" >/dev/null 2>&1
}

# `signers`, a file, is whose certificates are kept: the CA's, but all trusted ones' as long as somebody has not heard of
# them all.
signers=$work/weir-ca/tls.crt trusted=$work/weir-ca/ca.crt
spread_trust() { # SECRET
  local to=$work/$1
  read_secret "$1"
  if ! cmp -s "$to/ca.crt" "$trusted" && signed_by "$trusted" "$to/tls.crt"; then
    cp "$trusted" "$to/ca.crt"
    write_secret "$1" "$to"
    signers=$trusted
    printf '%s: told which CAs are trusted\n' "$1"
  fi
}

# Kept: of such a CA, for these names, good for long enough.
is_kept() { # DIRECTORY NAMES
  good_for "$1/tls.crt" $renew_seconds && [[ -s $1/tls.key ]] && cmp -s "$1/ca.crt" "$trusted" && signed_by "$signers" "$1/tls.crt" &&
    [[ $(openssl x509 -in "$1/tls.crt" -noout -ext subjectAltName | tail -n +2 | tr -d ' ' | sed 's/IPAddress:/IP:/g') == "$2" ]]
}

make_certificate() { # SECRET COMMON-NAME NAMES USAGES
  local to=$work/$1
  if is_kept "$to" "$3"; then
    printf '%s: kept\n' "$1"
    return
  fi
  new_key "$to/tls.key"
  openssl req -new -key "$to/tls.key" -subj "/CN=$2" -out "$work/request"
  printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\nsubjectAltName=%s\n' \
    "$4" "$3" >"$work/extensions"
  openssl x509 -req -in "$work/request" -CA "$work/weir-ca/tls.crt" -CAkey "$work/weir-ca/tls.key" -days "$days" \
    -set_serial "0x$(openssl rand -hex 16)" -sha256 -extfile "$work/extensions" -out "$to/tls.crt" 2>/dev/null ||
    die "$1: the CA of weir-ca does not sign: are its certificate and key a pair?"
  cp "$trusted" "$to/ca.crt"
  write_secret "$1" "$to"
  printf '%s: made\n' "$1"
}

service=weir-controller
read_secret weir-ca
make_ca
for secret in weir-controller-tls weir-agent-tls weir-client-tls; do spread_trust "$secret"; done
make_certificate weir-controller-tls weir-controller \
  "DNS:$service,DNS:$service.$namespace,DNS:$service.$namespace.svc,DNS:$service.$namespace.svc.cluster.local,DNS:localhost,IP:127.0.0.1" \
  serverAuth
make_certificate weir-agent-tls weir-agent DNS:weir-agent serverAuth,clientAuth
make_certificate weir-client-tls weir-client DNS:weir-client clientAuth
