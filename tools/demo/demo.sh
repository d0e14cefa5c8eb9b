#!/bin/bash
# `make demo`: two phones, the whole product and stand-ins for its vendors talk for a minute; then a
# table says which phrases were really heard. No account, no Asterisk; all on loopback.
#
# Needs Debian 12, the Rust toolchain and root or sudo (for packages only). Leaves recordings, phone
# reports and logs in artefacts/demo. Ends every process it started, also on Ctrl-C.
# Exit status 0: every phrase was heard. 1: one was lost, or a part failed. 2: it cannot begin.
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tools/demo/lib.sh
. tools/demo/lib.sh

readonly OUT=artefacts/demo
readonly BIN=target/release
readonly VENDORS=127.0.0.1:4010
# What the stand-ins are told to accept, as a vendor accepts an account's key.
readonly KEY=key-for-the-demo
readonly TRANSLATOR_PORT=3002
declare -rA RTP_PORT=([7777]=5000 [8888]=5001)
declare -rA LANGUAGE=([7777]=en [8888]=fr)
declare -rA PARTNER=([7777]=8888 [8888]=7777)
# The uplink's sample rate (slin16).
readonly SPEECH_RATE_HZ=16000
# How long a part may take to be ready. Grammars are made in less than a second.
readonly READY_WAIT_S=30
readonly END_WAIT_S=10
# The first word, after both lines are connected; the pause before an answer; what interpreting
# may add to a turn; how long everybody listens after the last word.
readonly FIRST_WORD_MS=1500
readonly ANSWER_PAUSE_MS=400
readonly INTERPRETING_MS=1500
readonly LISTEN_MS=4000

main() {
  tools/setup.sh demo || exit 2
  say_step "building (the first time takes minutes)"
  cargo build --release --quiet --bins -p diglot -p offline-vendors -p rtp-blaster ||
    fail "the build failed; its messages are above"
  check_ports
  rm -rf "$OUT"
  mkdir -p "$OUT/said"
  trap end_all EXIT
  trap 'exit 130' INT TERM
  read_conversation tools/demo/conversation.txt
  say_step "recording what the callers will say"
  record_callers
  start_vendors
  start_diglot
  say_step "the call, ${call_s} s; 7777 speaks English, 8888 French"
  start_phones
  follow_call
  stop_diglot
  say_step "what each caller heard, by a recogniser that listens to the recordings"
  judge
}

check_ports() {
  check_port udp "${RTP_PORT[7777]}"
  check_port udp "${RTP_PORT[8888]}"
  check_port tcp "$TRANSLATOR_PORT"
  check_port tcp "${VENDORS##*:}"
}

# The turns of the conversation; index i of each array is turn i.
turn_speaker=() turn_text=() turn_translation=() turn_latency=()

read_conversation() { # file
  local speaker text
  while IFS=: read -r speaker text; do
    [[ $speaker =~ ^(7777|8888)$ ]] || continue
    turn_speaker+=("$speaker")
    turn_text+=("${text# }")
  done <"$1"
  [ ${#turn_speaker[@]} -gt 0 ] || fail "$1 holds no turns"
}

# Records each turn, and says when it begins: each speaker waits until the other one's words have
# been interpreted and heard.
record_callers() {
  local i speaker language other at_ms=$FIRST_WORD_MS file
  declare -gA plays=([7777]="" [8888]="")
  for i in "${!turn_text[@]}"; do
    speaker=${turn_speaker[i]}
    language=${LANGUAGE[$speaker]}
    other=${LANGUAGE[${PARTNER[$speaker]}]}
    turn_translation[i]=$("$BIN/offline-vendors" translate --from "$language" --to "$other" \
      "${turn_text[i]}") || fail "not in the phrase book: ${turn_text[i]}"
    file=$OUT/said/$(printf '%02d' $((i + 1)))-$speaker.wav
    speak "$language" "${turn_text[i]}" "$file"
    speak "$other" "${turn_translation[i]}" "$OUT/said/translation.wav"
    plays[$speaker]+="$((at_ms / 1000)).$(printf '%03d' $((at_ms % 1000))):$file"$'\n'
    at_ms=$((at_ms + $(length_ms "$file") + INTERPRETING_MS +
      $(length_ms "$OUT/said/translation.wav") + ANSWER_PAUSE_MS))
  done
  rm "$OUT/said/translation.wav"
  call_s=$(((at_ms + LISTEN_MS) / 1000))
}

speak() { # language, text, file
  "$BIN/offline-vendors" speak --language "$1" --rate-hz "$SPEECH_RATE_HZ" --out "$3" "$2" ||
    fail "cannot speak: $2"
}

length_ms() { # file
  soxi -D "$1" | awk '{ printf "%d", $1 * 1000 }'
}

start_vendors() {
  exec {vendors_out}< <(exec "$BIN/offline-vendors" serve --listen "$VENDORS" --deepgram-key "$KEY" \
    --deepl-key "$KEY" --elevenlabs-key "$KEY" 2>&1)
  vendors_pid=$!
  wait_for_line "$vendors_out" 'listening on' offline-vendors "$OUT/offline-vendors.log"
  # Nobody reads on: its further lines go to a file.
  cat <&"$vendors_out" >>"$OUT/offline-vendors.log" &
}

start_diglot() {
  exec {diglot_out}< <(
    export DEEPGRAM_API_KEY=$KEY DEEPL_API_KEY=$KEY ELEVENLABS_API_KEY=$KEY
    exec "$BIN/diglot" run --config tools/demo/demo.toml 2>&1
  )
  diglot_pid=$!
  wait_for_line "$diglot_out" 'extension 8888 .* RTP on' diglot "$OUT/diglot.log"
}

start_phones() {
  local number play options
  declare -gA phone_pid
  for number in 7777 8888; do
    options=()
    while IFS= read -r play; do
      [ -z "$play" ] || options+=(--play "$play")
    done <<<"${plays[$number]}"
    "$BIN/rtp-blaster" phone --to "127.0.0.1:${RTP_PORT[$number]}" --codec slin16 \
      "${options[@]}" --seconds "$call_s" --record "$OUT/$number-heard.wav" \
      --report "$OUT/$number-report.json" 2>"$OUT/$number-phone.log" &
    phone_pid[$number]=$!
  done
}

# Shows what diglot tells until both phones have hung up.
follow_call() {
  local line number
  while is_alive "${phone_pid[7777]}" || is_alive "${phone_pid[8888]}"; do
    if IFS= read -r -t 0.25 line <&"$diglot_out"; then
      show "$line"
    elif ! is_alive "$diglot_pid"; then
      fail "diglot ended in mid-call; its log is $OUT/diglot.log"
    fi
  done
  for number in 7777 8888; do
    wait "${phone_pid[$number]}" || fail "phone $number: $(tail -n 1 "$OUT/$number-phone.log")"
  done
}

# What diglot's log lines about the conversation look like.
readonly SAID='([0-9]{4}) \[[^]]*\] said \([a-z]+\): (.*)'
readonly INTERPRETED='([0-9]{4}) \[[^]]*\] is interpreted as \([a-z]+\): (.*)'
readonly HEARD='([0-9]{4}) \[[^]]*\] hears it ([0-9]+) ms .*\((.*)\)'

# One line of diglot's log, as people would follow the conversation.
show() { # line
  local line=$1 i
  echo "$line" >>"$OUT/diglot.log"
  if [[ $line =~ $SAID ]]; then
    say_as "${BASH_REMATCH[1]}" "says" "${BASH_REMATCH[2]}"
  elif [[ $line =~ $INTERPRETED ]]; then
    say_as "${BASH_REMATCH[1]}" "  in ${LANGUAGE[${PARTNER[${BASH_REMATCH[1]}]}]}" \
      "${BASH_REMATCH[2]}"
    last_translation=${BASH_REMATCH[2]}
  elif [[ $line =~ $HEARD ]]; then
    say_quietly "       ${BASH_REMATCH[1]} hears it ${BASH_REMATCH[2]} ms after the end of" \
      "speech: ${BASH_REMATCH[3]}"
    for i in "${!turn_text[@]}"; do # the first such turn that has no time yet
      if [ "${turn_translation[i]}" = "${last_translation:-}" ] && [ -z "${turn_latency[i]:-}" ]
      then
        turn_latency[i]=${BASH_REMATCH[2]}
        break
      fi
    done
  elif [[ $line =~ (WARN|ERROR) ]]; then
    say_quietly "       ${line#*] }"
  fi
}

stop_diglot() {
  local line
  kill -TERM "$diglot_pid"
  while IFS= read -r -t "$END_WAIT_S" line <&"$diglot_out"; do
    echo "$line" >>"$OUT/diglot.log"
  done
}

# Compares what is in the recordings with what should be there, in order.
judge() {
  local number i lost=0 mark found
  declare -A heard
  for number in 7777 8888; do
    heard[$number]=$(listen "$number" | cut -f 3)
  done
  for i in "${!turn_text[@]}"; do
    number=${PARTNER[${turn_speaker[i]}]}
    if grep -qxF -- "${turn_translation[i]}" <<<"${heard[$number]}"; then
      mark=heard found=${turn_translation[i]}
      heard[$number]=$(lines_after "${turn_translation[i]}" <<<"${heard[$number]}")
    else
      mark=MISSED found="(not in $number-heard.wav)" lost=$((lost + 1))
    fi
    show_judgement "$i" "$mark" "$found" "${turn_latency[i]:-?}"
  done
  show_reports
  echo
  if [ "$lost" != 0 ]; then
    echo "$lost of ${#turn_text[@]} phrases were LOST; $OUT has recordings and logs"
    exit 1
  fi
  echo "all ${#turn_text[@]} phrases were heard; listen: $OUT/7777-heard.wav, $OUT/8888-heard.wav"
}

# Lines of begin, end and text, each a phrase of the book or "null".
listen() { # extension
  local file=$OUT/$1-heard.wav status=0
  "$BIN/offline-vendors" recognize --language "${LANGUAGE[$1]}" "$file" || status=$?
  # 1: something was not understood. That is judged here, phrase by phrase.
  [ "$status" -le 1 ] || fail "cannot listen to $file"
}

show_judgement() { # turn, mark, found, latency
  local speaker=${turn_speaker[$1]}
  printf '%2d  %s said   %s\n' $(($1 + 1)) "$speaker" "${turn_text[$1]}"
  printf '    expected    %s\n' "${turn_translation[$1]}"
  printf '    %s %s  %s\n' "${PARTNER[$speaker]}" "$(mark_of "$2")" "$3"
  [ "$4" = '?' ] || say_quietly "                first sound $4 ms after the end of speech"
}

show_reports() {
  local number report
  echo
  for number in 7777 8888; do
    report=$OUT/$number-report.json
    echo "phone $number: $(field packets "$report" last) packets received," \
      "$(field frames_missing "$report") frames missing, $(field lost "$report") lost," \
      "longest gap $(field gap_ms_max "$report") ms"
  done
}

main "$@"
