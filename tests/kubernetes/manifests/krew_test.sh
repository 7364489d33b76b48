#!/usr/bin/env bash
# deploy/krew: the manifest is one that krew takes, its sums are the archives', and what is in them runs by itself under kubectl.
#   krew_test.sh WEIRCTL
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
# shellcheck source=api_server.sh
source "$here/api_server.sh"
enter_namespaces "$@"
for tool in jq strip dpkg; do command -v "$tool" >/dev/null || skip "no $tool"; done

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
package=$root/deploy/krew/package.sh
version=$(sed -n 's/^project(weir VERSION \([0-9.]*\).*/\1/p' "$root/CMakeLists.txt")
arch=$(dpkg --print-architecture)
archive=$dir/dist/kubectl-weir_${version}_linux_$arch.tar.gz

if "$package" manifest https://example.com/weir "$dir" >"$dir/log" 2>&1; then complain 'a manifest without an archive'; fi
[[ $("$package" archive "$1" "$dir/dist") == "$archive" ]] || fail "package.sh archive"
sum=$(sha256sum "$archive" | cut -d ' ' -f 1)
"$package" archive "$1" "$dir/dist" >/dev/null
[[ $(sha256sum "$archive" | cut -d ' ' -f 1) == "$sum" ]] || complain 'the same program makes another archive'
# Another architecture's, from another machine.
cp "$archive" "$dir/dist/kubectl-weir_${version}_linux_riscv64.tar.gz"
"$package" manifest https://example.com/weir/ "$dir/dist" >/dev/null || fail 'package.sh manifest'

# As krew judges it: an API server with krew's schema.
start_api_server "$dir"
"$kubectl" apply -f "$here/krew_plugin.yaml" >/dev/null
wait_for_crds plugins.krew.googlecontainertools.github.com
"$kubectl" create --validate=strict -f "$dir/dist/weir.yaml" >"$dir/log" 2>&1 || complain "the manifest: $(cat "$dir/log")"
for wrong in 's/sha256: .*/sha256: abc/' "s/version: v/version: /" 's/bin: .*//' 's/uri: .*tar.gz/uri: x.exe/' 's/shortDescription/short/'; do
  if sed -e "$wrong" -e 's/name: weir/name: wrong/' "$dir/dist/weir.yaml" | "$kubectl" create --dry-run=server --validate=strict -f - >/dev/null 2>&1; then
    complain "this test does not see $wrong"
  fi
done
"$kubectl" get plugins.krew.googlecontainertools.github.com weir -o json >"$dir/manifest.json"
[[ $(jq -r .spec.version "$dir/manifest.json") == "v$version" ]] || complain 'the manifest names another version'
while read -r uri sha256 bin; do
  file=$dir/dist/${uri##*/}
  [[ $uri == https://example.com/weir/kubectl-weir_* ]] || complain "uri $uri"
  [[ $(sha256sum "$file" | cut -d ' ' -f 1) == "$sha256" ]] || complain "${uri##*/}: sha256 is not the archive's"
  tar -tzf "$file" >"$dir/names"
  for name in "$bin" LICENSE; do grep -qx "$name" "$dir/names" || complain "${uri##*/} has no $name"; done
done < <(jq -r '.spec.platforms[] | "\(.uri) \(.sha256) \(.bin)"' "$dir/manifest.json")
[[ $(jq -c '[.spec.platforms[].selector.matchLabels.arch] | sort' "$dir/manifest.json") == "$(jq -nc --arg arch "$arch" '[$arch, "riscv64"] | sort')" ]] ||
  complain 'other architectures than there are archives'

# As krew installs it: unpacked into its store, and a link on the PATH.
mkdir -p "$dir/store/weir/v$version" "$dir/bin"
tar -C "$dir/store/weir/v$version" -xzf "$archive"
ln -s "../store/weir/v$version/kubectl-weir" "$dir/bin/kubectl-weir"
# By the loader itself: ldd would look beside the link.
foreign=$(LD_TRACE_LOADED_OBJECTS=1 "$dir/bin/kubectl-weir" | awk '$2 == "=>" { print $3 }' | grep -v "^$dir/store/" | grep -vE '/(libc|libm|libdl|librt|libpthread|libresolv)\.so' || true)
[[ -z $foreign ]] || complain "it takes libraries of the machine: $foreign"
(($(find "$dir/store/weir/v$version/licenses" -type f -size +0 | wc -l) >= 5)) || complain 'licenses are missing'
PATH=$dir/bin:$PATH "$kubectl" plugin list >"$dir/log" 2>&1 || true
grep -qx "$dir/bin/kubectl-weir" "$dir/log" || complain 'kubectl knows no such plugin'
PATH=$dir/bin:$PATH "$kubectl" weir --help >"$dir/log" 2>&1 || complain "kubectl weir --help: $(cat "$dir/log")"
grep -q '^kubectl weir drives\|Usage: kubectl weir' "$dir/log" || complain "its name: $(head -n 3 "$dir/log")"
PATH=$dir/bin:$PATH "$kubectl" weir lint -f "$root/tests/testdata/manifests/checkout.yaml" >"$dir/log" 2>&1 || complain "kubectl weir lint: $(cat "$dir/log")"

((failures == 0)) || fail "$failures of what was expected of the plugin"
printf 'manifest, %d platforms, plugin: as expected\n' "$(jq '.spec.platforms | length' "$dir/manifest.json")"
