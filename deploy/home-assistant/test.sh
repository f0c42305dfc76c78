#!/usr/bin/env bash
# Tests the app on Debian: `deploy/home-assistant/test.sh [PROGRAM]`, with target/debug/kstar unless one is named.
# Its start runs against a Supervisor that is not one, the collector for real against a simulated inverter and Mosquitto.
set -euo pipefail
cd "$(dirname "$0")/../.."

export PATH="$PATH:/usr/sbin:/sbin"
declare -A packages=([jq]=jq [curl]=curl [mosquitto]=mosquitto [mosquitto_sub]=mosquitto-clients [yamllint]=yamllint
  [apparmor_parser]=apparmor [sqlite3]=sqlite3)
missing=()
for command in "${!packages[@]}"; do
  command -v "$command" >/dev/null || missing+=("${packages[$command]}")
done
# Debian's own Python, which its packages are for.
/usr/bin/python3 -c 'import yaml' 2>/dev/null || missing+=(python3-yaml)
if ((${#missing[@]})); then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -q
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

yamllint --strict -d '{extends: default, rules: {document-start: disable, line-length: {max: 120}}}' deploy/home-assistant \
  repository.yaml
program=$(realpath "${1:-target/debug/kstar}")
KSTAR_PROGRAM=$program exec /usr/bin/python3 deploy/home-assistant/test.py --verbose
