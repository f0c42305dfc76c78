#!/usr/bin/env bash
# Whether somebody else's Modbus and ours understand each other, on this machine's own address: `tests/peers.sh`, in less
# than a minute. goodwe and pysolarmanv5 read simulated inverters, and the program reads servers of pymodbus and uModbus.
# What it needs from PyPI it installs below target/. Without ../shared/packets/modbus one of them says so and checks
# nothing, except on CI, where that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/target/peers-venv
if ! cmp -s tests/peers/requirements.txt "$venv/installed"; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check -r tests/peers/requirements.txt
  cp tests/peers/requirements.txt "$venv/installed"
fi

cargo build --locked
export KSTAR=$PWD/target/debug/kstar PYTHONDONTWRITEBYTECODE=1
for peer in goodwe_reads solarman pymodbus_serves; do
  timeout 120 "$venv/bin/python" "tests/peers/$peer.py"
done
