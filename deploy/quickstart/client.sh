#!/usr/bin/env bash
# A client on a node: so many requests to the VIP, one after the other, each on a connection of its own (the servers
# keep none open). Prints what failed.
#   client.sh CGROUP NETNS VIP NODE PHASE FIRST COUNT
set -eu
cgroup=$1 netns=$2 vip=$3 node=$4 phase=$5 first=$6 count=$7
printf '%s\n' $$ >"$cgroup/cgroup.procs"
exec nsenter --net="$netns" curl -sS --noproxy '*' --max-time 5 -o /dev/null -H 'Connection: close' \
  "http://$vip/?node=$node&phase=$phase&number=[$first-$((first + count - 1))]" 2>&1
