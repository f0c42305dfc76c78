#!/usr/bin/env bash
# Puts the app together with its binaries: `deploy/home-assistant/bundle.sh`, after deploy/static.sh.
# Writes target/kstar-home-assistant.tar.gz: a folder for /addons on a machine with Home Assistant, which builds its image
# there without fetching a program from anywhere. The same binaries give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."

bundle=target/home-assistant
rm -rf "${bundle:?}"
mkdir -p "$bundle"
cp -r deploy/home-assistant/kstar "$bundle/kstar"
# With an image the Supervisor would fetch it and build nothing.
sed -i '/^# What the release workflow pushes/,/^image:/d' "$bundle/kstar/config.yaml"
for pair in x86_64:amd64 aarch64:aarch64; do
  binary=target/${pair%:*}-unknown-linux-musl/release/kstar
  [ -x "$binary" ] || {
    echo "error: $binary is missing; build it: deploy/static.sh ${pair%:*}-unknown-linux-musl" >&2
    exit 1
  }
  install -m 755 "$binary" "$bundle/kstar/kstar-${pair#*:}"
done
find "$bundle" -type d -exec chmod 755 {} +
find "$bundle" -type f ! -perm /111 -exec chmod 644 {} +
time=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$time" --format=ustar -C "$bundle" -cf - kstar |
  gzip --no-name --best > target/kstar-home-assistant.tar.gz
ls -l target/kstar-home-assistant.tar.gz
