#!/usr/bin/env bash
# The page in a real browser: `tests/browser.sh`, in less than three minutes. Chromium walks every page of a demonstration
# as phone and desktop, light and dark, English and German, with and without scripts, by pointer, finger and keyboard.
# `SCREENSHOTS=folder tests/browser.sh` keeps pictures of all it sees; `tests/browser.sh pictures` makes those of docs/ again.
# What it needs from npm it installs below target/. Without npm or Chromium it says so and checks nothing, except on CI,
# where that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

# Pinned, so that a newer check is a change that somebody makes.
packages=(playwright-core@1.60.0 axe-core@4.14.1 typescript@5.9.3)
folder=${CARGO_TARGET_DIR:-$PWD/target}/browser

left_out() {
  echo "NOT TESTED: the page in a browser: $1" >&2
  if [ -n "${CI-}" ]; then exit 1; fi
  exit 0
}

CHROMIUM=$(command -v chromium) || left_out "there is no chromium"
command -v npm >/dev/null || left_out "there is no npm"
if [ "$(cat "$folder/installed" 2>/dev/null)" != "${packages[*]}" ]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  # None needs another package, nor a script of its own to be installed.
  npm install --prefix "$folder" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error "${packages[@]}" ||
    left_out "npm cannot install ${packages[*]}"
  echo "${packages[*]}" >"$folder/installed"
fi

# The types that the page's script tells in its comments.
"$folder/node_modules/.bin/tsc" --noEmit --checkJs --strict --target es2022 --module es2022 \
  --lib es2022,dom,dom.iterable crates/http/src/page/assets/page.js

cargo build --locked
KSTAR=${CARGO_TARGET_DIR:-$PWD/target}/debug/kstar MODULES=$folder/node_modules CHROMIUM=$CHROMIUM \
  timeout 300 node "tests/browser/${1:-walk}.mjs"
