# shellcheck shell=bash
# Clients on the nodes, and what the servers' logs say of them. Sourced by quickstart.sh.
# shellcheck disable=SC2034,SC2154,SC2317  # variables are shared with the other files; functions are called by name

declare -A sent  # connections per "node phase"; a phase is a generation

# From inside NODE's cgroup, COUNT connections numbered from FIRST; PHASE is the generation they are meant for.
connect() { # NODE PHASE FIRST COUNT [VIP]
  "$here/client.sh" "$cgroup/$1" "/proc/$holder/ns/net" "${5:-$vip}" "${@:1:4}" >>"$run/failed-$1" </dev/null
}

# Lines of NODE and PHASE in the log of a revision's server.
served() { # REVISION NODE PHASE
  grep -c "^$2 $3 " "$run/$1.log" || true
}

all_served() { # NODE PHASE
  (($(served v1 "$1" "$2") + $(served v2 "$1" "$2") == ${sent["$1 $2"]:-0}))
}

# From the servers' logs: the largest |v2 - n * w| after any single connection n of NODE in PHASE, in hundredths.
worst_deviation() { # NODE PHASE WEIGHT
  awk -v node="$1" -v phase="$2" -v weight="$3" '
    $1 == node && $2 == phase { canary[$3] = FILENAME ~ /v2\.log$/; if ($3 > last) last = $3 }
    END {
      for (n = 1; n <= last; ++n) {
        count += canary[n]
        off = count * 100 - n * weight
        if (off < 0) off = -off
        if (off > worst) worst = off
      }
      print worst + 0
    }' "$run/v1.log" "$run/v2.log"
}
