#!/bin/bash
# A real Asterisk 22 for tests on a Debian 12 machine, which has no asterisk package of its own:
# unpacks the build of a later Debian suite into a folder and runs it in a chroot, on loopback.
# Refuses to touch any process but the Asterisk it started itself. Needs root.
#
#   lab.sh setup      unpack Asterisk once; where that cannot be done: "skipped: why", exit 77
#   lab.sh start      start and wait until calls are answered (sets up first, if need be)
#   lab.sh stop       end it and wait until it is gone
#   lab.sh kill       SIGKILL it and leave it dead
#   lab.sh restart    SIGKILL it and start afresh, as a crash and a supervisor would
#   lab.sh status     exit 0 when it runs, 1 when not
#   lab.sh cli CMD    one Asterisk command, such as: lab.sh cli core show channels count
#   lab.sh log        the log since the last start
#   lab.sh paths      NAME=value lines: where everything of this instance is
#   lab.sh clean      stop every instance and delete the folder
#
# Environment (all instances share the unpacked Asterisk; give each its own name and ports):
#   DIGLOT_LAB            the folder                            /var/tmp/diglot-lab
#   DIGLOT_LAB_SUITE      the Debian suite                      forky
#   DIGLOT_LAB_INSTANCE   this Asterisk's name                  main
#   DIGLOT_LAB_SIP_PORT   SIP, UDP                              5060
#   DIGLOT_LAB_ARI_PORT   ARI, TCP                              8088
#   DIGLOT_LAB_RTP_FIRST, DIGLOT_LAB_RTP_LAST   RTP, UDP        18000, 18999
# Exit status 0: done. 1: failed. 2: wrong usage. 77: skipped.
set -euo pipefail

HERE=$(cd "$(dirname "$0")" && pwd)
LAB=${DIGLOT_LAB:-/var/tmp/diglot-lab}
SUITE=${DIGLOT_LAB_SUITE:-forky}
INSTANCE=${DIGLOT_LAB_INSTANCE:-main}
SIP_PORT=${DIGLOT_LAB_SIP_PORT:-5060}
ARI_PORT=${DIGLOT_LAB_ARI_PORT:-8088}
RTP_FIRST=${DIGLOT_LAB_RTP_FIRST:-18000}
RTP_LAST=${DIGLOT_LAB_RTP_LAST:-18999}

readonly ADDRESS=127.0.0.1
readonly APP=diglot
readonly ARI_USER=gateway
readonly EXIT_SKIPPED=77
# Measured: calls are answered 0.5 s after the start on an idle machine.
readonly START_WAIT_S=20
readonly STOP_WAIT_S=5

ROOT=$LAB/rootfs
UNPACKED=$LAB/unpacked-$SUITE
HOME_INSIDE=/srv/$INSTANCE # as Asterisk sees it
HOME_HERE=$ROOT$HOME_INSIDE
PID_FILE=$HOME_HERE/pid
PASSWORD_FILE=$HOME_HERE/ari.password
LOG_FILE=$HOME_HERE/log/full.log

say() { echo "lab: $*" >&2; }

fail() {
  say "$*"
  exit 1
}

usage() {
  sed -n '/^#   lab.sh/,/^# Exit/s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

skip() {
  echo "skipped: $*"
  exit "$EXIT_SKIPPED"
}

# --- setup -------------------------------------------------------------------------------------

setup() {
  [ "$(id -u)" = 0 ] || skip "the Asterisk lab needs root (it uses chroot)"
  mkdir -p "$LAB"
  exec {lock}>"$LAB/setup.lock"
  flock "$lock" # two tests may ask at the same time: the second finds the work done
  if [ ! -e "$UNPACKED" ]; then
    local why
    why=$("$HERE/../setup.sh" lab 2>&1 </dev/null) || skip "${why##*setup: }"
    unpack
    add_what_maintainer_scripts_would
    chroot "$ROOT" /usr/sbin/asterisk -V >"$UNPACKED.new" 2>&1 ||
      skip "the unpacked Asterisk does not run: $(tail -n 1 "$UNPACKED.new")"
    mv "$UNPACKED.new" "$UNPACKED"
  fi
  exec {lock}>&-
  say "$(cat "$UNPACKED") is in $ROOT"
}

# The archive this machine's own apt uses for Debian 12.
archive() {
  local format='$(REPO_URI)' codename=bookworm
  apt-get indextargets --format "$format" \
    'Created-By: Packages' 'Origin: Debian' 'Label: Debian' "Codename: $codename" | head -n 1
}

unpack() {
  local from log=$LAB/unpack.log
  from=$(archive)
  if [ -z "$from" ]; then # a machine whose package lists were never fetched, or were deleted
    apt-get update >"$log" 2>&1 </dev/null || skip "apt-get update failed: no network?"
    from=$(archive)
  fi
  [ -n "$from" ] || skip "apt on this machine knows no Debian 12 archive"
  say "unpacking Asterisk from $SUITE: 240 MB, one or two minutes"
  rm -rf "$ROOT" "$LAB"/unpacked-*
  mmdebstrap --mode=root --variant=extract --include=asterisk,asterisk-modules \
    --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
    --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Check-Date "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$SUITE" "$ROOT" "$from" >"$log" 2>&1 </dev/null ||
    skip "mmdebstrap cannot unpack Asterisk from $SUITE here: $(grep -m 1 '^E:' "$log" |
      sed -E "s#[a-z]+://[^ ]*#the archive#g; s#'[^' ]*\.[^' ]*'#the archive#g")"
}

# The `extract` variant runs no maintainer scripts. A chrooted Asterisk needs this much of them.
add_what_maintainer_scripts_would() {
  local folder device name major minor
  for folder in bin sbin lib lib64; do
    mkdir -p "$ROOT/usr/$folder"
    [ -e "$ROOT/$folder" ] || ln -s "usr/$folder" "$ROOT/$folder"
  done
  mkdir -p "$ROOT"/{dev,etc,tmp,srv}
  for device in null:1:3 zero:1:5 random:1:8 urandom:1:9; do
    IFS=: read -r name major minor <<<"$device"
    [ -c "$ROOT/dev/$name" ] || mknod -m 666 "$ROOT/dev/$name" c "$major" "$minor"
  done
  echo 'root:x:0:0:root:/root:/bin/sh' >"$ROOT/etc/passwd"
  echo 'root:x:0:' >"$ROOT/etc/group"
  printf '%s localhost %s\n' "$ADDRESS" "$(hostname)" >"$ROOT/etc/hosts"
  echo 'hosts: files' >"$ROOT/etc/nsswitch.conf"
}

# --- one instance ------------------------------------------------------------------------------

# The pid of this instance's Asterisk if it lives; the command line tells it from a recycled pid.
running_pid() {
  local pid
  pid=$(cat "$PID_FILE" 2>/dev/null) || return 1
  grep -qzFx -- "$HOME_INSIDE/etc/asterisk.conf" "/proc/$pid/cmdline" 2>/dev/null || return 1
  echo "$pid"
}

asterisk_here() { chroot "$ROOT" /usr/sbin/asterisk -C "$HOME_INSIDE/etc/asterisk.conf" "$@"; }

configure() {
  local modules file
  modules=/$(cd "$ROOT" && echo usr/lib/*/asterisk/modules)
  rm -rf "$HOME_HERE"/{etc,run}
  mkdir -p "$HOME_HERE"/{etc,run,log,lib,spool}
  # An absent file is logged as an error, an empty one means the defaults.
  touch "$HOME_HERE"/etc/{acl,ccss,features,pjproject,udptl,websocket_client}.conf
  [ -s "$PASSWORD_FILE" ] ||
    (umask 077 && od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$PASSWORD_FILE")
  for file in "$HERE"/config/*.conf; do
    sed -e "s#@HOME@#$HOME_INSIDE#; s#@MODULES@#$modules#; s#@ADDRESS@#$ADDRESS#" \
      -e "s#@SIP_PORT@#$SIP_PORT#; s#@ARI_PORT@#$ARI_PORT#" \
      -e "s#@RTP_FIRST@#$RTP_FIRST#; s#@RTP_LAST@#$RTP_LAST#" \
      -e "s#@APP@#$APP#; s#@ARI_USER@#$ARI_USER#; s#@ARI_PASSWORD@#$(cat "$PASSWORD_FILE")#" \
      "$file" >"$HOME_HERE/etc/$(basename "$file")"
  done
}

# Whether any socket of the table (udp, or tcp in state listen) is bound to the port.
port_taken() { # table port
  local states='0A'
  [ "$1" = tcp ] || states='07'
  awk -v port=":$(printf %04X "$2")" -v states="$states" \
    'index($2, port) && $4 == states { taken = 1 } END { exit !taken }' "/proc/net/$1"
}

ari_answers() {
  local ari status
  { exec {ari}<>"/dev/tcp/$ADDRESS/$ARI_PORT"; } 2>/dev/null || return 1
  printf 'GET /ari/asterisk/ping HTTP/1.0\r\nAuthorization: Basic %s\r\n\r\n' \
    "$(printf '%s:%s' "$ARI_USER" "$(cat "$PASSWORD_FILE")" | base64 -w0)" >&"$ari"
  read -r -t 2 status <&"$ari" || true
  exec {ari}>&-
  [[ $status == *' 200 '* ]]
}

start() {
  local pid deadline
  if pid=$(running_pid); then
    say "already running, pid $pid"
    return 0
  fi
  [ -e "$UNPACKED" ] || setup
  [ "$(id -u)" = 0 ] || skip "the Asterisk lab needs root (it uses chroot)"
  ! port_taken udp "$SIP_PORT" || fail "UDP port $SIP_PORT is taken; set DIGLOT_LAB_SIP_PORT"
  ! port_taken tcp "$ARI_PORT" || fail "TCP port $ARI_PORT is taken; set DIGLOT_LAB_ARI_PORT"
  configure
  rm -f "$LOG_FILE"
  setsid chroot "$ROOT" /usr/sbin/asterisk -f -C "$HOME_INSIDE/etc/asterisk.conf" \
    >"$HOME_HERE/log/output" 2>&1 </dev/null &
  echo $! >"$PID_FILE"
  deadline=$((SECONDS + START_WAIT_S))
  until [ -S "$HOME_HERE/run/asterisk.ctl" ] &&
    asterisk_here -rx 'core waitfullybooted' 2>/dev/null | grep -q 'fully booted' && ari_answers; do
    kill -0 "$(cat "$PID_FILE")" 2>/dev/null && [ $SECONDS -lt $deadline ] || report_failed_start
    sleep 0.02
  done
  say "Asterisk is up: pid $(cat "$PID_FILE"), SIP $ADDRESS:$SIP_PORT, ARI $ADDRESS:$ARI_PORT"
}

report_failed_start() {
  tail -n 20 "$HOME_HERE/log/output" "$LOG_FILE" >&2 2>/dev/null || true
  kill_instance
  fail "Asterisk did not come up; its last words are above"
}

# Whether a process has given back its ports: an ended one has, a dying one may not have yet.
# Gone, or a zombie whose last other thread is gone: only then are its ports free again.
has_ended() { # pid
  local tasks
  [ -e "/proc/$1" ] || return 0
  grep -qs '^State:[[:space:]]*Z' "/proc/$1/status" || return 1
  tasks=("/proc/$1/task/"*)
  [ ${#tasks[@]} -le 1 ]
}

wait_until_ended() { # pid, seconds
  local deadline=$((SECONDS + $2))
  until has_ended "$1"; do
    [ $SECONDS -lt $deadline ] || return 1
    sleep 0.02
  done
}

kill_instance() {
  local pid
  pid=$(running_pid) || return 0
  kill -KILL "$pid"
  wait_until_ended "$pid" "$STOP_WAIT_S" || fail "pid $pid does not end"
  rm -f "$PID_FILE"
}

stop() {
  local pid
  pid=$(running_pid) || return 0
  asterisk_here -rx 'core stop now' >/dev/null 2>&1 || true
  wait_until_ended "$pid" "$STOP_WAIT_S" || kill_instance
  rm -f "$PID_FILE"
}

restart() {
  kill_instance
  start
}

status() {
  local pid
  pid=$(running_pid) || { echo stopped; exit 1; }
  echo "running, pid $pid"
}

cli() {
  running_pid >/dev/null || fail "Asterisk is not running; lab.sh start"
  asterisk_here -rx "$*"
}

paths() {
  cat <<-END
	SIP=$ADDRESS:$SIP_PORT
	ARI_URL=http://$ADDRESS:$ARI_PORT
	ARI_USER=$ARI_USER
	ARI_PASSWORD_FILE=$PASSWORD_FILE
	ARI_APP=$APP
	LOG=$LOG_FILE
	PID_FILE=$PID_FILE
	CONFIG=$HOME_HERE/etc
	ROOT=$ROOT
	END
}

clean() {
  [ -e "$LAB/setup.lock" ] || fail "$LAB is not a lab folder; nothing deleted"
  local home
  for home in "$ROOT"/srv/*/; do
    [ ! -d "$home" ] || DIGLOT_LAB_INSTANCE=$(basename "$home") "$0" stop
  done
  rm -rf "$LAB"
}

[[ $INSTANCE =~ ^[a-z0-9-]+$ ]] || fail "DIGLOT_LAB_INSTANCE may have a-z, 0-9 and - only"
command=${1:-}
shift || true
case "$command" in
  setup | start | stop | restart | status | paths | clean) "$command" ;;
  kill) kill_instance ;;
  cli) cli "$@" ;;
  log) cat "$LOG_FILE" ;;
  *) usage ;;
esac
