#!/usr/bin/env bash
# A client on a node: so many connections to the VIP, one curl each. Prints the ones that failed.
#   client.sh CGROUP NETNS VIP NODE PHASE FIRST COUNT
set -eu
cgroup=$1 netns=$2 vip=$3 node=$4 phase=$5 first=$6 count=$7
if [[ -n $netns ]]; then
  printf '%s\n' $$ >"$cgroup/cgroup.procs"
  exec nsenter --net="$netns" "$0" "$cgroup" '' "$vip" "$node" "$phase" "$first" "$count"
fi
for ((i = first; i < first + count; ++i)); do
  curl -sS --noproxy '*' --max-time 5 -o /dev/null "http://$vip/?node=$node&phase=$phase&number=$i" 2>&1 ||
    printf '%s %s %s\n' "$node" "$phase" "$i"
done
