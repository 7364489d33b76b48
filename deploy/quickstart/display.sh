# shellcheck shell=bash
# What the quickstart shows: a picture redrawn in place on a terminal, plain lines elsewhere. Sourced by quickstart.sh.

on_terminal=false
[[ -t 1 && ${TERM:-dumb} != dumb ]] && on_terminal=true
if $on_terminal && [[ -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' yellow=$'\e[33m' red=$'\e[31m' blue=$'\e[36m' plain=$'\e[0m'
else
  bold='' dim='' green='' yellow='' red='' blue='' plain=''
fi
drawn_lines=0

say() { printf '%s\n' "$*"; }
title() { printf '%s%s%s\n' "$bold" "$*" "$plain"; }

# A bar of 40 cells, PERCENT (with one decimal, without its point: 205 is 20.5 %) of them full.
bar() { # TENTHS
  local full=$((($1 * 40 + 500) / 1000)) cells='' rest='' i
  for ((i = 0; i < 40; ++i)); do
    if ((i < full)); then cells+='█'; else rest+='·'; fi
  done
  printf '%s%s%s%s%s%s' "$green" "$cells" "$plain" "$dim" "$rest" "$plain"
}

phase_color() { # PHASE
  case $1 in
    Healthy) printf '%s' "$green" ;;
    Paused) printf '%s' "$yellow" ;;
    Progressing) printf '%s' "$blue" ;;
    *) printf '%s' "$red" ;;
  esac
}

# Draws over what was drawn last.
redraw() { # TEXT
  if ((drawn_lines > 0)); then printf '\e[%dF\e[J' "$drawn_lines"; fi
  printf '%s\n' "$1"
  drawn_lines=$(($(wc -l <<<"$1")))
}

# Leaves the picture on the screen and goes on below it.
keep_drawing() { drawn_lines=0; }
