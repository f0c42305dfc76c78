#!/usr/bin/env bash
# Every check and test of the project, on a fresh Debian machine with Rust: `tests/all.sh`.
# Installs the Debian packages that tests need, if they are missing (as root, or through sudo).
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s\n' "$*"; }

# Where Debian keeps servers, for users that do not look there.
export PATH="$PATH:/usr/sbin:/sbin"

say "Debian packages"
declare -A packages=([cc]=gcc [python3]=python3 [strace]=strace [systemd-analyze]=systemd
  [man]=man-db [mandoc]=mandoc [zsh]=zsh [fish]=fish [ip]=iproute2 [mount]=mount [tmux]=tmux
  [mosquitto]=mosquitto [mosquitto_pub]=mosquitto-clients
  [influxd]=influxdb [influx]=influxdb-client [victoria-metrics]=victoria-metrics
  [prometheus]=prometheus [faketime]=faketime
  [chromium]=chromium [node]=nodejs [npm]=npm)
missing=()
for command in "${!packages[@]}"; do
  command -v "$command" >/dev/null || missing+=("${packages[$command]}")
done
# A package without a command of its own.
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if ((${#missing[@]})); then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -q
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

say "format"
cargo fmt --all --check

say "dashboards"
python3 deploy/grafana/dashboards.py --check

say "clippy"
cargo clippy --workspace --all-targets --locked -- -D warnings

say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

say "dependencies"
# Needs nothing installed. The advisories need a database from the network: .github/workflows/advisories.yml
python3 tests/dependencies.py
# What a release says of itself.
python3 deploy/sbom.py /dev/null
if command -v cargo-deny >/dev/null; then
  cargo deny check licenses bans sources
fi

# Each sink alone, with one source, and the other source with a light one.
for features in aa55,stdout aa55,sqlite aa55,mqtt aa55,influxdb modbus,stdout; do
  say "$features alone"
  cargo clippy --all-targets --locked --no-default-features --features "$features" -- -D warnings
  cargo test --locked --no-default-features --features "$features"
done

cargo build --locked

say "the Home Assistant add-on"
deploy/home-assistant/test.sh "${CARGO_TARGET_DIR:-target}/debug/kstar"

say "the API against its description"
tests/api.sh

say "somebody else's Modbus"
tests/peers.sh

say "the page in a browser"
tests/browser.sh

say "all tests"
cargo test --workspace --locked
