#!/usr/bin/env bash
# Makes a Debian package of a binary that is there: `deploy/debian/build.sh [TRIPLE] [OPTION OF cargo-deb ...]`.
# Without a triple of target/release/kstar (`cargo build --release`), with one of target/TRIPLE/release/kstar
# (`deploy/static.sh TRIPLE`). Prints where the package is.
#
#   deploy/debian/build.sh                               # for this machine, with its C library
#   deploy/debian/build.sh aarch64-unknown-linux-musl    # for a Raspberry Pi, static
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

triple=
if (($#)) && [[ $1 != -* ]]; then
  triple=$1
  shift
fi
options=(--no-build --locked --quiet ${triple:+--target "$triple"} "$@")

profile=release
while (($#)); do
  case $1 in
    --profile) profile=${2:?} && shift ;;
    --profile=*) profile=${1#*=} ;;
  esac
  shift
done
if [ "$profile" = dev ]; then
  profile=debug
else
  # It has nothing to strip, and the tool for another architecture may be missing.
  options+=(--no-strip)
fi
binary=${CARGO_TARGET_DIR:-target}/${triple:+$triple/}$profile/kstar
[ -x "$binary" ] || fail "$binary is not there; build it first: ${triple:+deploy/static.sh $triple}${triple:-cargo build --release}"
cargo deb --version >/dev/null 2>&1 || fail "cargo-deb is missing: cargo install --locked cargo-deb --version 3.8.0"

# The manual and the completions are the program's own; that of another architecture needs its emulator.
run=("$binary")
case ${triple:-$(uname -m)} in
  "$(uname -m)"*) ;;
  aarch64-*) run=(qemu-aarch64-static "$binary") ;;
  arm*) run=(qemu-arm-static "$binary") ;;
  x86_64-*) run=(qemu-x86_64-static "$binary") ;;
esac
command -v "${run[0]}" >/dev/null || fail "${run[0]} is missing: apt install qemu-user-static"
parts=target/debian-parts
rm -rf "$parts"
mkdir -p "$parts/man"
"${run[@]}" man --folder "$parts/man"
for shell in bash zsh fish; do
  "${run[@]}" completions "$shell" >"$parts/kstar.$shell"
done

python3 deploy/debian/docs.py "$parts/doc"

cargo deb "${options[@]}"
