#!/usr/bin/env bash
# Builds static binaries, which run on any Linux of their architecture: `deploy/static.sh [TRIPLE...]`.
# Without a triple it builds all three; each goes to target/TRIPLE/release/kstar. It needs Debian, as root or with sudo,
# and installs what is missing: packages by apt, Zig and cargo-zigbuild into target/tools.
#
# Zig is C compiler and linker for every target and brings musl. Rust comes from rustup where it has the target
# (`rustup target add TRIPLE`). Elsewhere Debian's own compiler for browsers builds the standard library along with the
# program, which needs nothing but Debian's mirror and crates.io.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly ALL=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf)
# What goes onto small machines, and is most of the memory that the program takes.
readonly LARGEST=10000000
readonly ZIG=0.17.1 ZIGBUILD=0.24.1

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

triples=("$@")
((${#triples[@]})) || triples=("${ALL[@]}")

# The program that runs binaries of this triple here; nothing where the machine does.
emulator() {
  case $1 in
    "$(uname -m)"-*) ;;
    x86_64-*) echo qemu-x86_64-static ;;
    aarch64-*) echo qemu-aarch64-static ;;
    armv7-*) echo qemu-arm-static ;;
    *) fail "no static binary is built for $1, only for: ${ALL[*]}" ;;
  esac
}

# Whether rustup's compiler has the standard library of this triple.
rustup_has() {
  command -v rustc >/dev/null && [ -d "$(rustc --print target-libdir --target "$1" 2>/dev/null)" ]
}

say "tools"
missing=()
needs() { command -v "$1" >/dev/null || missing+=("$2"); }
needs readelf binutils
needs cc gcc
needs python3 python3-minimal
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
debian_rust=
for triple in "${triples[@]}"; do
  program=$(emulator "$triple")
  [ -z "$program" ] || needs "$program" qemu-user-static
  if ! rustup_has "$triple" && [ -z "$debian_rust" ]; then
    debian_rust=yes
    dpkg-query -s rustc-web cargo-web rust-web-src >/dev/null 2>&1 || missing+=(rustc-web cargo-web rust-web-src)
  fi
done
if ((${#missing[@]})); then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -q
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
tools=$PWD/target/tools
[ -x "$tools/zig-$ZIG/ziglang/zig" ] ||
  python3 -m pip install -q --disable-pip-version-check --target "$tools/zig-$ZIG" "ziglang==$ZIG"
export CARGO_ZIGBUILD_ZIG_PATH=$tools/zig-$ZIG/ziglang/zig
any_cargo=$(command -v cargo || echo /usr/bin/cargo)
"$tools/bin/cargo-zigbuild" --version 2>/dev/null | grep -qw "$ZIGBUILD" ||
  "$any_cargo" install -q --locked --root "$tools" --version "$ZIGBUILD" cargo-zigbuild

build() {
  if rustup_has "$1"; then
    "$tools/bin/cargo-zigbuild" zigbuild --release --locked --target "$1"
  else
    # Debian has no objects of musl beside its compiler; Zig has.
    CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Clink-self-contained=no" \
      "$tools/bin/cargo-zigbuild" zigbuild --release --locked --target "$1" -Z build-std=std,panic_unwind
  fi
}

# A binary that asks for a loader or a library is not static.
is_static() {
  ! readelf --program-headers --wide "$1" | grep -q INTERP && ! readelf --dynamic --wide "$1" | grep -q NEEDED
}

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$version" ] || fail "Cargo.toml tells no version"
for triple in "${triples[@]}"; do
  say "$triple"
  build "$triple"
done

say "sizes"
wrong=()
for triple in "${triples[@]}"; do
  binary=target/$triple/release/kstar
  size=$(stat -c %s "$binary")
  printf '%10d bytes  %s\n' "$size" "$binary"
  is_static "$binary" || wrong+=("$binary is not static")
  ((size <= LARGEST)) || wrong+=("$binary is larger than $LARGEST bytes")
  program=$(emulator "$triple")
  # shellcheck disable=SC2086 # no emulator is no word
  told=$(timeout 60 $program "$binary" --version) || wrong+=("$binary does not run")
  [ "$told" = "kstar $version" ] || wrong+=("$binary says '$told' for its version, not 'kstar $version'")
done
if ((${#wrong[@]})); then
  for what in "${wrong[@]}"; do printf 'error: %s\n' "$what" >&2; done
  exit 1
fi
