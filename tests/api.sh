#!/usr/bin/env bash
# Whether the API keeps to its own description when it is asked thousands of strange things, and whether the official
# parser of Prometheus takes the metrics: `tests/api.sh`, in less than a minute. What it needs from PyPI it installs below
# target/. The description and the routes are held against each other by tests/program/http.rs.
set -euo pipefail
cd "$(dirname "$0")/.."

# Pinned, so that a newer check is a change that somebody makes.
packages=(schemathesis==4.32.5 prometheus-client==0.26.0)
venv=$PWD/target/api-venv
if [ "$(cat "$venv/installed" 2>/dev/null)" != "${packages[*]}" ]; then
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check "${packages[@]}"
  echo "${packages[*]}" >"$venv/installed"
fi

cargo build --locked
program=$PWD/target/debug/kstar
folder=$(mktemp -d)
cleanup() {
  [ -z "${collector-}" ] || kill "$collector" 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT
token=correct-horse-battery-staple
(cd "$folder" && KSTAR_HTTP_TOKEN=$token exec "$program" run --demo --http 127.0.0.1:0 >readings 2>log) &
collector=$!
for _ in $(seq 300); do
  # The device has told who it is, so that nothing is missing from then on.
  ! grep -q identified "$folder/log" || break
  kill -0 "$collector" || { cat "$folder/log"; exit 1; }
  sleep 0.1
done
address=$(sed -n 's/.*HTTP is listening.* address=\([^ ]*\).*/\1/p' "$folder/log")

# Without these: a date may have the right form and still not exist, so that not everything which the description allows
# is answered; and a stream has no end. It leaves what it found in the folder where it runs.
(cd "$folder" && "$venv/bin/schemathesis" run "http://$address/api/v1/openapi.json" \
  --header "Authorization: Bearer $token" --checks all --exclude-checks positive_data_acceptance \
  --exclude-path /api/v1/stream --phases examples,coverage,fuzzing --max-time 20 --request-timeout 20)

"$venv/bin/python" - "$address" "$token" <<'PYTHON'
import sys
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

address, token = sys.argv[1:]
request = urllib.request.Request(f"http://{address}/metrics", headers={"Authorization": f"Bearer {token}"})
with urllib.request.urlopen(request, timeout=20) as answer:
    assert answer.headers.get_content_type() == "text/plain", answer.headers
    text = answer.read().decode()
families = list(text_string_to_metric_families(text))
samples = sum(len(family.samples) for family in families)
assert len(families) > 50 and samples > 100, (len(families), samples)
print(f"{len(families)} families, {samples} series")
PYTHON

# Nobody who asks makes the program err.
if grep -E "ERROR|panic" "$folder/log"; then exit 1; fi
kill "$collector"
wait "$collector"
collector=
