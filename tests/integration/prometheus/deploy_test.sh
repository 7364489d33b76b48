#!/usr/bin/env bash
# Rules, alerts, configuration and dashboard of deploy/: promtool reads them all, the alerts' unit tests hold, and every
# metric they name is one of deploy/prometheus/metrics.txt, which the programs' own tests compare with what they export.
# Exit status 77: promtool or jq is not installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

for program in promtool jq; do
  command -v "$program" >/dev/null || { printf '%s is not installed: deploy/install-deps.sh --tests\n' "$program" && exit 77; }
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0
fail() {
  printf 'FAILED: %s\n' "$*"
  failures=$((failures + 1))
}
run() { # COMMAND...: its output only where it fails
  "$@" >"$scratch/out" 2>&1 || { cat "$scratch/out" && fail "$*"; }
}

# The metrics that PromQL expressions on stdin name, one a line, histograms by their own name.
metrics_of() {
  sed -E -e 's/"([^"\\]|\\.)*"//g' -e 's/\{[^}]*\}//g' -e 's/\[[^]]*\]//g' \
    -e 's/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)//g' |
    grep -oP '[a-zA-Z_:][a-zA-Z0-9_:]*(?![a-zA-Z0-9_:]|\s*\()' |
    grep -vxE 'and|or|unless|offset|bool|by|without|on|ignoring|group_left|group_right|Inf|NaN' |
    sed -E 's/_(bucket|sum|count)$//' | sort -u
}

# What there is: exported metrics, recorded ones, and those of every target.
{
  awk '!/^#/ && NF { print $1 }' deploy/prometheus/metrics.txt
  sed -nE 's/^ *- record: *//p' deploy/prometheus/rules.yml
  printf 'process_resident_memory_bytes\nup\n'
} | sort -u >"$scratch/known"
unknown_in() { metrics_of | comm -23 - "$scratch/known"; }

# The extraction itself: a check that sees nothing finds nothing.
found=$(printf '%s\n' 'sum by (le) (rate(weir_wrong_bucket{a="weir_b{", c=~"d"}[1m])) / on (e) group_left () up > 2' |
  unknown_in)
[[ $found == weir_wrong ]] || fail "metrics_of is wrong: $found"

run promtool check rules deploy/prometheus/rules.yml deploy/prometheus/alerts.yml
run promtool check config deploy/prometheus/prometheus.yml
run promtool test rules deploy/prometheus/alerts_test.yml

# Each alert has a unit test in which it fires.
for alert in $(sed -nE 's/^ *- alert: *//p' deploy/prometheus/alerts.yml); do
  grep -A1 "alertname: $alert\$" deploy/prometheus/alerts_test.yml | grep -q 'exp_alerts:$' ||
    fail "alerts_test.yml never sees $alert fire"
done

# Dashboard: JSON, ids that are unique, expressions that parse once Grafana's variables stand for something.
dashboard=deploy/grafana/weir.json
run jq -e '.uid and .title and ([.panels[].id] | length == (unique | length)) and ([.panels[].targets[]?.expr] | length > 20)' "$dashboard"
jq -r '.panels[].targets[]?.expr' "$dashboard" |
  sed -e 's/\$__rate_interval/1m/g' -e 's/\$__range/1h/g' -e 's/\$namespace/.*/g' -e 's/\$service/.*/g' >"$scratch/expressions"
if grep -F '$' "$scratch/expressions"; then fail "$dashboard: a variable this test does not know"; fi
# Recording rules have names of their own, so that promtool does not take two for one.
{
  printf 'groups:\n- name: dashboard\n  rules:\n'
  awk '{ gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); printf "  - {record: \"dashboard:%d\", expr: \"%s\"}\n", NR, $0 }' "$scratch/expressions"
} >"$scratch/dashboard.yml"
run promtool check rules "$scratch/dashboard.yml"

# Names.
jq -r '.templating.list[].query | (.query? // empty)' "$dashboard" | sed -nE 's/^label_values\((.*), [a-z_]+\)$/\1/p' >"$scratch/variables"
cat "$scratch/expressions" "$scratch/variables" >"$scratch/of-dashboard"
for file in rules alerts; do
  # One expression a line or a block; what is no expression is no line of these.
  awk '/^ *expr: \|/ { block = 1; next } block && /^ *(- |for:|labels:|annotations:|#)/ { block = 0 }
       block { print; next } /^ *expr: / { sub(/^ *expr: /, ""); print }' "deploy/prometheus/$file.yml" |
    tr '\n' ' ' >"$scratch/of-$file"
done
for source in dashboard rules alerts; do
  [[ -n $(metrics_of <"$scratch/of-$source") ]] || fail "$source: no metric found"
  unknown=$(unknown_in <"$scratch/of-$source")
  [[ -z $unknown ]] || fail "$source names what nobody exports: ${unknown//$'\n'/ }"
done
# The unit tests of the alerts too.
sed -nE "s/^ *- series: '([a-z_]+).*/\1/p" deploy/prometheus/alerts_test.yml >"$scratch/of-tests"
unknown=$(unknown_in <"$scratch/of-tests")
[[ -z $unknown ]] || fail "alerts_test.yml names what nobody exports: ${unknown//$'\n'/ }"

((failures == 0)) || exit 1
printf 'rules, alerts, configuration and dashboard are right: %d expressions, %d alerts\n' \
  "$(wc -l <"$scratch/expressions")" "$(grep -c 'alert: ' deploy/prometheus/alerts.yml)"
