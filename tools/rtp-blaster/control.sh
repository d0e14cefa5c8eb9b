#!/bin/bash
# Measures the control: the load against the bare echo, at several numbers of legs, as jitter is to
# be measured: both SCHED_FIFO, with a SCHED_IDLE busy loop on each CPU so that none is halted.
# Needs root (or CAP_SYS_NICE). Prints a row per run; ends only what it started.
#   control.sh [SECONDS] [LEGS ...]
set -euo pipefail
blaster=${BLASTER:-$(dirname "$0")/../../target/release/rtp-blaster}
seconds=${1:-20}
shift || true
legs=("${@:-2}")
[ $# -gt 0 ] || legs=(2 100 500 1000)
priority=60
report=$(mktemp)
echo_out=$(mktemp)
started=()
finish() {
  kill "${started[@]}" 2>/dev/null || true
  rm -f "$report" "$echo_out"
}
trap finish EXIT

for cpu in $(seq 0 $(($(nproc) - 1))); do
  taskset -c "$cpu" chrt -i 0 sh -c 'while :; do :; done' &
  started+=($!)
done
printf '%6s %12s %12s %12s %12s %12s %9s %8s %s\n' legs 'cpu µs/frame' 'between p99.9' \
  'grid p99.9' 'own p99.9' 'latency p50' missing steal acceptable
for count in "${legs[@]}"; do
  : >"$echo_out" # or the ports of the echo before would be read
  chrt -f "$priority" "$blaster" echo --listen 127.0.0.1:0 --listen 127.0.0.1:0 >"$echo_out" &
  echo=$!
  started+=("$echo")
  until ports=$(sed -n 's/^listening on //p' "$echo_out") && [ -n "$ports" ]; do
    kill -0 "$echo"
    read -rt 0.05 <> <(:) || true
  done
  read -r first second <<<"$ports"
  chrt -f "$priority" "$blaster" load --to "$first" --to "$second" --legs "$count" --hears self \
    --seconds "$seconds" --cpu-of "$echo" --json "$report" >/dev/null
  python3 - "$report" <<'END'
import json, sys
r = json.load(open(sys.argv[1]))
print("%6d %12.2f %12d %12d %12d %12d %9d %7.2f%% %s" % (
    r["legs"], r["cpu"][0]["us_per_leg_frame"], r["deviation"]["p99_9_us"],
    r["grid_deviation"]["p99_9_us"], r["pacing"]["p99_9_us"], r["markers"]["latency"]["p50_us"],
    r["downlink"]["frames_missing"], r["machine"]["steal_percent"],
    r["acceptable"] or "; ".join(r["not_acceptable_because"])))
END
  kill "$echo"
  wait "$echo" || true
done
