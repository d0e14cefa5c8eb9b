#!/bin/bash
# Installs the Debian packages one part of Diglot needs, and nothing when they are there.
#
#   tools/setup.sh build    what compiling needs (also the default); checks the Rust toolchain
#   tools/setup.sh bench    build, and what starts programs with priorities and watches them
#   tools/setup.sh demo     build, and what listens and speaks in the demo and the tests
#   tools/setup.sh lab      what unpacking and calling the test Asterisk needs
#
# Knows Debian 12 only. Uses sudo when not root. Never asks a question, never installs a toolchain.
# Exit status 0: everything is there. 2: it is not, and one sentence on stderr names the remedy.
# DIGLOT_SETUP=skip in the environment trusts the machine and checks nothing.
set -euo pipefail

# gcc and libc6-dev: Rust's linker, and the C sources inside the `ring` crate.
# libpocketsphinx-dev: offline-vendors links the recogniser.
readonly BUILD_PACKAGES=(gcc libc6-dev libpocketsphinx-dev)
# The recogniser's acoustic model; the French and English voices; sample rates of WAV files.
readonly DEMO_PACKAGES=(pocketsphinx-en-us espeak-ng flite sox)
# Measuring: priorities and pinning of programs, parent-death signals; the scripts.
readonly BENCH_PACKAGES=(util-linux python3)
# Unpacking a Debian suite into a folder and proving its signature; the scripted phone.
readonly LAB_PACKAGES=(mmdebstrap debian-archive-keyring python3)
# Another apt or dpkg may be at work: how long to wait for it.
readonly APT_LOCK_WAIT_S=120

fail() {
  echo "setup: $*" >&2
  exit 2
}

missing_packages() {
  local installed package
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
  for package in "$@"; do
    grep -qx "installed $package" <<<"$installed" || echo "$package"
  done
}

is_debian_12() {
  local id version
  id=$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null || true)
  version=$(sed -n 's/^VERSION_ID="\{0,1\}\([0-9]*\).*/\1/p' /etc/os-release 2>/dev/null || true)
  [ "$id" = debian ] && [ "$version" = 12 ]
}

# Prints the command that lends root's rights: nothing for root, else sudo.
root_prefix() {
  [ "$(id -u)" != 0 ] || return 0
  command -v sudo >/dev/null || return 1
  if sudo -n true 2>/dev/null; then
    echo "sudo -n"
  elif [ -t 0 ]; then
    echo sudo
  else
    return 1
  fi
}

# The last complaint of apt in a log, without the name of any archive host.
apt_complaint() {
  { grep -E '^E: (Failed to fetch|Could not)' "$1" || grep '^E:' "$1"; } | tail -n 1 |
    sed -E "s#[a-z+]+://[^ ]*#the archive#g; s#'[^' ]*\.[^' ]*'#the archive#g; s#\([0-9.: ]+\)##g"
}

install() {
  local prefix log apt
  is_debian_12 ||
    fail "diglot's setup knows Debian 12 only; install these packages by hand: $*" \
      "(DIGLOT_SETUP=skip then passes this check)"
  prefix=$(root_prefix) ||
    fail "installing packages needs root or sudo;" \
      "as root run: apt-get install --no-install-recommends $*"
  log=$(mktemp)
  apt=($prefix env DEBIAN_FRONTEND=noninteractive apt-get -q
    -o "DPkg::Lock::Timeout=$APT_LOCK_WAIT_S")
  echo "setup: installing $*" >&2
  # The package lists may be absent or old: refresh them only when the first try fails.
  "${apt[@]}" install -y --no-install-recommends "$@" >"$log" 2>&1 </dev/null ||
    { "${apt[@]}" -o APT::Update::Error-Mode=any update >>"$log" 2>&1 </dev/null &&
      "${apt[@]}" install -y --no-install-recommends "$@" >>"$log" 2>&1 </dev/null; } ||
    fail "apt-get could not install $* ($(apt_complaint "$log")); check the network and apt's" \
      "sources, then run this again; the whole log is $log"
  rm -f "$log"
}

require_rust() {
  local wanted found
  PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
  found=$(cargo --version 2>/dev/null | awk '{print $2}' || true)
  [ -n "$found" ] ||
    fail "no cargo found; install the Rust toolchain, version $wanted or later, with rustup"
  [ "$(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
    fail "cargo $found is too old; install version $wanted or later of the Rust toolchain"
}

main() {
  local packages missing=()
  case "${1:-build}" in
    build) packages=("${BUILD_PACKAGES[@]}") ;;
    bench) packages=("${BUILD_PACKAGES[@]}" "${BENCH_PACKAGES[@]}") ;;
    demo) packages=("${BUILD_PACKAGES[@]}" "${DEMO_PACKAGES[@]}") ;;
    lab) packages=("${LAB_PACKAGES[@]}") ;;
    *) fail "unknown part '$1'; usage: tools/setup.sh [build|bench|demo|lab]" ;;
  esac
  [ "${DIGLOT_SETUP:-}" != skip ] || return 0
  [ "${1:-build}" = lab ] || require_rust
  read -r -d '' -a missing <<<"$(missing_packages "${packages[@]}")" || true
  [ ${#missing[@]} = 0 ] || install "${missing[@]}"
}

main "$@"
