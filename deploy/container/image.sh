#!/usr/bin/env bash
# Makes a container image of a static binary, without a container engine: `deploy/container/image.sh TRIPLE`.
# The binary is target/TRIPLE/release/kstar (deploy/static.sh builds it). Writes target/image/kstar-ARCHITECTURE.tar,
# which `docker load`, `podman load` and `skopeo` read; and beside it what the Dockerfile copies, for `docker build`.
# The same binary gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."

fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

triple=${1:?which TRIPLE? x86_64-unknown-linux-musl, aarch64-unknown-linux-musl or armv7-unknown-linux-musleabihf}
case $triple in
  x86_64-*) architecture=amd64 variant= ;;
  aarch64-*) architecture=arm64 variant=v8 ;;
  armv7-*) architecture=arm variant=v7 ;;
  *) fail "no image is made for $triple" ;;
esac
binary=target/$triple/release/kstar
[ -x "$binary" ] || fail "$binary is missing; build it: deploy/static.sh $triple"

missing=()
command -v python3 >/dev/null || missing+=(python3-minimal)
[ -d /usr/share/ca-certificates/mozilla ] || missing+=(ca-certificates)
if ((${#missing[@]})); then
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -q
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

context=target/image
rm -rf "${context:?}/$architecture"
mkdir -p "$context/$architecture/root/etc/ssl/certs" "$context/$architecture/data"
install -m 755 "$binary" "$context/$architecture/root/kstar"
# Of the package, and not what this machine trusts, which may be more.
cat /usr/share/ca-certificates/mozilla/*.crt > "$context/$architecture/root/etc/ssl/certs/ca-certificates.crt"
find "$context/$architecture" -type d -exec chmod 755 {} +
chmod 644 "$context/$architecture/root/etc/ssl/certs/ca-certificates.crt"

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
# When it was made: when the sources were.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
python3 deploy/container/image.py "$context" "$context/kstar-$architecture.tar" \
  "TARGETARCH=$architecture" "TARGETVARIANT=$variant" "VERSION=$version"
