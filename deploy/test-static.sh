#!/usr/bin/env bash
# Tests a static binary under qemu, against an inverter that a program of this machine simulates:
# `deploy/test-static.sh [TRIPLE [PROGRAM]]`; aarch64-unknown-linux-musl and target/debug/kstar unless others are named.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

triple=${1:-aarch64-unknown-linux-musl}
program=$(realpath "${2:-target/debug/kstar}")
binary=$PWD/target/$triple/release/kstar
[ -x "$binary" ] || fail "$binary is missing; build it: deploy/static.sh $triple"
[ -x "$program" ] || fail "$program is missing; build it: cargo build"

declare -A packages=([sqlite3]=sqlite3 [jq]=jq)
case $triple in
  "$(uname -m)"-*) emulator=() ;;
  aarch64-*) emulator=(qemu-aarch64-static) ;;
  armv7-*) emulator=(qemu-arm-static) ;;
  x86_64-*) emulator=(qemu-x86_64-static) ;;
  *) fail "there is no emulator for $triple" ;;
esac
[ "${#emulator[@]}" = 0 ] || packages[${emulator[0]}]=qemu-user-static
missing=()
for command in "${!packages[@]}"; do
  command -v "$command" >/dev/null || missing+=("${packages[$command]}")
done
if ((${#missing[@]})); then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -q
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

folder=$(mktemp -d)
processes=()
clean() {
  for process in "${processes[@]}"; do kill "$process" 2>/dev/null || true; done
  rm -rf "$folder"
}
trap clean EXIT
cd "$folder"
export XDG_STATE_HOME=$folder/state XDG_CONFIG_HOME=$folder/config

# The binary, for so long at most; a signal to `timeout` reaches it. It becomes the shell that calls it in parentheses.
emulated() { exec timeout 400 "${emulator[@]}" "$binary" "$@"; }

until_true() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || fail "$what: not in time"
    sleep 0.2
  done
}

say "run --demo fills SQLite, and ends in order"
(emulated run --demo) >lines 2>log &
demo=$!
processes+=("$demo")
# Before the first that is printed stands the past, which takes an emulated machine its time.
stored() {
  sqlite3 kstar-demo.db "SELECT count(*) FROM readings WHERE time_utc >= '$(head -n 1 lines | jq -r .time)'"
}
five_are_stored() { [ -s lines ] && [ "$(stored)" -ge 5 ]; }
until_true 300 "five readings" five_are_stored
kill -TERM "$demo"
status=0
wait "$demo" || status=$?
[ "$status" = 0 ] || fail "it ended with $status: $(cat log)"
[ "$(stored)" = "$(wc -l <lines)" ] || fail "$(wc -l <lines) readings were printed, $(stored) are stored"
[ "$(sqlite3 kstar-demo.db 'PRAGMA integrity_check')" = ok ] || fail "the database is not in order"
sqlite3 kstar-demo.db 'SELECT * FROM readings ORDER BY time LIMIT 1' -json |
  jq -e '.[0].pv_power >= 0 and .[0].grid_frequency > 45' >/dev/null || fail "the readings are not right"
echo "$(stored) readings"

say "read tells what the program of this machine tells"
"$program" simulate --listen 127.0.0.1:0 --no-discovery --speed 0 >inverter 2>&1 &
processes+=($!)
until_true 30 "the inverter" grep -q host inverter
host=$(sed -n 's/^host = "\(.*\)"/\1/p' inverter)
values='del(.time, .reply_time)'
here=$("$program" read --host "$host" --json | jq -cS "$values")
there=$( (emulated read --host "$host" --json) | jq -cS "$values")
[ "$here" = "$there" ] || fail "here $here there $there"
echo "$there" | cut -c -120

say "check takes a configuration that is right, and none that is wrong"
cat > kstar.toml <<TOML
timezone = "Europe/London"
[[inverter]]
name = "roof"
host = "$host"
[sinks.stdout]
[sinks.sqlite]
[sinks.mqtt]
url = "mqtts://broker"
[sinks.influxdb]
url = "https://influx"
org = "home"
bucket = "solar"
TOML
(emulated check) || fail "check does not take it"
sed -i 's/Europe\/London/Mars\/Base/' kstar.toml
status=0
(emulated check) >wrong 2>&1 || status=$?
[ "$status" = 2 ] || fail "a wrong configuration gives $status: $(cat wrong)"
grep -q 'kstar.toml:1:12' wrong || fail "no place of the mistake: $(cat wrong)"

say "well"
