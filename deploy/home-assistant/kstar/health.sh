#!/bin/sh
# Whether the collector is to be started again, for Docker; the Supervisor does so where the app's watchdog is on. A broker or
# an inverter that is away is no reason, nor that nobody can ask because `http_port` is empty.
set -eu
config=${KSTAR_CONFIG:-/run/kstar.toml}
own=${KSTAR_OWN_CONFIG:-/config/kstar.toml}
[ ! -f "$own" ] || config=$own
grep -q '^\[http\]' "$config" || exit 0
answer=$(kstar health --json --config "$config" || true)
[ -n "$answer" ] || exit 1
! printf '%s' "$answer" | grep -q 'polling hangs'
