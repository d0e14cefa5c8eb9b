# What demo.sh is written with: words on the terminal, ports, lines with a deadline, processes ended
# by pid. Sourced by it alone.
# shellcheck shell=bash

# Colours only for people: on a terminal, unless they want none.
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' CYAN=$'\e[36m' YELLOW=$'\e[33m'
  PLAIN=$'\e[0m'
else
  BOLD='' DIM='' RED='' GREEN='' CYAN='' YELLOW='' PLAIN=''
fi

fail() {
  echo "demo: $*" >&2
  exit 1
}

say_step() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }

say_quietly() { printf '%s%s%s\n' "$DIM" "$*" "$PLAIN"; }

say_as() { # extension, verb, words
  local colour=$CYAN
  [ "$1" = 7777 ] || colour=$YELLOW
  printf '%s%s %-5s %s%s\n' "$colour" "$1" "$2" "$3" "$PLAIN"
}

mark_of() { # heard or MISSED
  local colour=$GREEN
  [ "$1" = heard ] || colour=$RED
  printf '%s%-6s%s' "$colour" "$1" "$PLAIN"
}

# Ends with one sentence, and the culprit's name where it can be known, if a port is not free.
check_port() { # udp or tcp, port
  local inode holder states='0A' table
  [ "$1" = tcp ] || states='07'
  for table in "/proc/net/$1" "/proc/net/${1}6"; do
    inode=$(awk -v port=":$(printf %04X "$2")" -v states="$states" \
      'index($2, port) && $4 == states { print $10; exit }' "$table" 2>/dev/null || true)
    [ -z "$inode" ] || break
  done
  [ -n "$inode" ] || return 0
  holder=$(find /proc/[0-9]*/fd -lname "socket:\[$inode\]" 2>/dev/null | head -n 1 || true)
  if [[ $holder =~ ^/proc/([0-9]+)/ ]]; then
    holder=" by $(cat "/proc/${BASH_REMATCH[1]}/comm") (pid ${BASH_REMATCH[1]})"
  fi
  echo "demo: ${1^^} port $2 is taken$holder: end what uses it, then run make demo again" >&2
  exit 2
}

# Reads lines into a log until one fits.
wait_for_line() { # descriptor, pattern, who, log
  local line deadline=$((SECONDS + READY_WAIT_S))
  : >"$4"
  while [ $SECONDS -lt $deadline ] &&
    IFS= read -r -t $((deadline - SECONDS)) line <&"$1"; do
    echo "$line" >>"$4"
    [[ ! $line =~ $2 ]] || return 0
  done
  tail -n 5 "$4" >&2
  fail "$3 did not start within $READY_WAIT_S s; all that it said is in $4"
}

is_alive() { kill -0 "$1" 2>/dev/null; }

end_all() {
  local pid
  for pid in "${phone_pid[@]:-}" "${diglot_pid:-}" "${vendors_pid:-}"; do
    [ -z "$pid" ] || kill -TERM "$pid" 2>/dev/null || true
  done
}

# The lines of stdin after the first that is this one.
lines_after() { # line
  awk -v wanted="$1" 'found { print } !found && $0 == wanted { found = 1 }'
}

# A number of a phone's report; the first of that name, or the last.
field() { # name, file, [last]
  local which=head
  [ "${3:-}" != last ] || which=tail
  sed -n "s/.*\"$1\": \([0-9.]*\).*/\1/p" "$2" | "$which" -n 1
}
