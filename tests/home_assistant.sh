#!/usr/bin/env bash
# What the user of a real Home Assistant sees of the program: `tests/home_assistant.sh [FOLDER [ARGUMENTS OF check.py]]`.
# The first time it sets Home Assistant up in that folder (as root, some 6 minutes and 1.8 GB, from Debian's mirror and PyPI);
# the checks take 5 to 8 minutes. So it is no part of tests/all.sh. docs/home-assistant.md names the version that it last
# passed with.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/../shared/homeassistant
if ! [ -d "$tools" ]; then
  echo "$tools is missing: Home Assistant and its checks are set up from there" >&2
  exit 1
fi
folder=${1:-/var/tmp/kstar-home-assistant}
shift || true

cargo build --locked --release
"$tools/setup.sh" "$folder"
trap '"$tools/stop.sh" "$folder"' EXIT
"$tools/start.sh" "$folder"
"$tools/check.py" "$folder" --kstar target/release/kstar "$@"
