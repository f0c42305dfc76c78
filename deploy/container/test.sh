#!/usr/bin/env bash
# Tests the image, as root: `deploy/container/test.sh [TRIPLE]`, after deploy/static.sh has built that triple.
#
# Makes it twice, reads it with tools that are not ours, unpacks it and runs its entry point as its user, in its root,
# with its environment, as an engine would: everything but /data is read-only. It runs with what kstar.sharp's container
# was given (IP, MQTT, SILENT) against a simulated inverter and Mosquitto, on their usual ports in a network of their own.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf '== %s\n' "$*"; }
fail() { printf 'FAILED: %s\n' "$*" >&2; exit 1; }

triple=${1:-$(uname -m)-unknown-linux-musl}
[ "$(id -u)" = 0 ] || fail "only root may change its root; run this as root"
declare -A packages=([skopeo]=skopeo [umoci]=umoci [buildah]=buildah [jq]=jq [unshare]=util-linux [mount]=mount [ip]=iproute2
  [mosquitto]=mosquitto [mosquitto_sub]=mosquitto-clients [python3]=python3-minimal)
export PATH="$PATH:/usr/sbin:/sbin"
missing=()
for command in "${!packages[@]}"; do
  command -v "$command" >/dev/null || missing+=("${packages[$command]}")
done
if ((${#missing[@]})); then
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
if [ -z "${KSTAR_IMAGE_TEST_ALONE:-}" ]; then
  # A network with nothing but a loopback, and mounts that vanish with this process.
  exec env KSTAR_IMAGE_TEST_ALONE=yes unshare --net --mount "$0" "$triple"
fi
ip link set lo up

folder=$(mktemp -d)
processes=()
clean() {
  for process in "${processes[@]}"; do
    kill -KILL "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  umount -R "$folder/bundle/rootfs" 2>/dev/null || true
  rm -rf "$folder"
}
trap clean EXIT

# Waits until a condition holds; `until_true SECONDS WHAT COMMAND...`.
until_true() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || fail "$what: not in time"
    sleep 0.1
  done
}

say "the same binary gives the same bytes"
case $triple in x86_64-*) architecture=amd64 ;; aarch64-*) architecture=arm64 ;; *) architecture=arm ;; esac
image=target/image/kstar-$architecture.tar
deploy/container/image.sh "$triple"
cp "$image" "$folder/first.tar"
deploy/container/image.sh "$triple" >/dev/null
cmp "$folder/first.tar" "$image"

say "tools that are not ours read it, as an OCI archive and as docker save writes it"
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
for kind in oci-archive docker-archive; do
  skopeo inspect "$kind:$image" | jq -e --arg architecture "$architecture" --arg version "$version" \
    '.Architecture == $architecture and .Os == "linux"
      and .Labels["org.opencontainers.image.version"] == $version' >/dev/null || fail "skopeo sees another image in $kind"
  # Copies every blob, and checks its digest.
  skopeo copy -q "$kind:$image" "dir:$folder/$kind"
done
mkdir "$folder/layout"
tar -xf "$image" -C "$folder/layout"
umoci unpack --image "$folder/layout:$version" "$folder/bundle" 2>/dev/null || fail "umoci cannot unpack it"

say "it is what the Dockerfile says"
config=$folder/layout/$(jq -r '.[0].Config' "$folder/layout/manifest.json")
jq -e '.config | .User == "1000:1000" and .Entrypoint == ["/kstar"] and .Cmd == ["run"] and .WorkingDir == "/data"
  and .StopSignal == "SIGTERM" and .Volumes == {"/data": {}} and .Healthcheck.Test == ["CMD", "/kstar", "health"]
  and .Healthcheck.Interval == 30000000000 and .Healthcheck.Retries == 3' "$config" >/dev/null || fail "$(cat "$config")"

say "a builder that is not ours makes the same of the Dockerfile"
builder() { STORAGE_DRIVER=vfs buildah --root "$folder/storage" --runroot "$folder/storage-run" "$@"; }
builder bud --quiet --format docker --isolation chroot --build-arg "TARGETARCH=$architecture" \
  --build-arg "VERSION=$version" -f deploy/container/Dockerfile -t kstar target/image >/dev/null
members='{User, Env, Entrypoint, Cmd, WorkingDir, Volumes, Healthcheck, StopSignal, Labels} | del(.Labels["io.buildah.version"])'
theirs=$(builder inspect --type image kstar | jq -S ".Docker.config | $members")
ours=$(jq -S ".config | $members" "$config")
[ "$ours" = "$theirs" ] || fail "ours: $ours theirs: $theirs"

root=$folder/bundle/rootfs
files=$(cd "$root" && find . -printf '%y %m %U:%G %P\n' | sort)
[ "$files" = "d 755 0:0 
d 755 0:0 etc
d 755 0:0 etc/ssl
d 755 0:0 etc/ssl/certs
d 755 1000:1000 data
f 644 0:0 etc/ssl/certs/ca-certificates.crt
f 755 0:0 kstar" ] || fail "it holds other files: $files"
cmp "$root/kstar" "target/$triple/release/kstar"

# What every engine adds.
printf '127.0.0.1 localhost homeassistant\n' > "$root/etc/hosts"
mkdir "$folder/data"
chown 1000:1000 "$folder/data"
mount --bind "$root" "$root"
mount --bind "$folder/data" "$root/data"
mount -o remount,bind,ro "$root"

mapfile -t environment < <(jq -r '.config.Env[]' "$config")
mapfile -t entry_point < <(jq -r '.config.Entrypoint[]' "$config")
mapfile -t command < <(jq -r '.config.Cmd[]' "$config")
mapfile -t health < <(jq -r '.config.Healthcheck.Test[1:][]' "$config")
IFS=: read -r user group < <(jq -r '.config.User' "$config")
place=$(jq -r '.config.WorkingDir' "$config")
unshare=$(command -v unshare)

# A program in the container, with more of an environment: `inside NAME=VALUE... -- PROGRAM...`. It becomes this
# shell, so that the process can be signalled as an engine signals it.
inside() {
  local more=()
  while [ "$1" != -- ]; do more+=("$1"); shift; done
  shift
  exec env -i "${environment[@]}" "${more[@]}" \
    "$unshare" --root="$root" --wd="$place" --setgid "$group" --setuid "$user" "$@"
}

say "it finds its certificates"
printf '[sinks.mqtt]\nurl = "mqtts://127.0.0.1:1"\n' > "$folder/data/kstar.toml"
sees_certificates() {
  local said
  # It fails in any case: no broker is there.
  said=$( (inside "$@" -- "${entry_point[@]}" check --connect) 2>&1) || true
  [[ $said = *'sink mqtt'* ]] || fail "check says nothing of the broker: $said"
  [[ $said != *'no root certificates'* ]]
}
sees_certificates || fail "it has no certificates to trust"
! sees_certificates SSL_CERT_FILE=/none || fail "this test cannot tell whether there are certificates"
rm -rf "$folder/data"/*

say "it knows the time zones"
said=$( (inside IP=127.0.0.1 TZ=Europe/London -- "${entry_point[@]}" check) 2>&1) || fail "$said"
[[ $said = *Europe/London* ]] || fail "it knows no Europe/London: $said"

say "a simulated inverter and a broker"
"target/$triple/release/kstar" simulate --listen 127.0.0.1:8899 --speed 0 --no-discovery >"$folder/inverter.log" 2>&1 &
processes+=($!)
mosquitto_passwd -b -c "$folder/passwords" mqtt mqtt 2>/dev/null
printf 'user root\nlog_type subscribe\nlistener 1883 127.0.0.1\nallow_anonymous false\npassword_file %s\n' "$folder/passwords" > "$folder/broker.conf"
mosquitto -c "$folder/broker.conf" >"$folder/broker.log" 2>&1 &
processes+=($!)
until_true 20 "the broker" mosquitto_pub -u mqtt -P mqtt -t ready -m now
read_inverter() { timeout 30 "target/$triple/release/kstar" read --host 127.0.0.1 --json; }
until_true 30 "the inverter" read_inverter
reading=$(read_inverter)

say "with the environment of kstar.sharp's container it does what that container did"
# Python rounds a half to the even neighbour, as .NET does.
expected=$(python3 - "$reading" <<'PYTHON'
import json, sys
reading = json.loads(sys.argv[1])
topics = {
    "etoday": reading["energy_today"], "grid": reading["grid_power"], "grid/export": reading["grid_export_power"],
    "grid/import": reading["grid_import_power"], "load": reading["load_power"], "pvpower": reading["pv_power"],
    "temp": round(reading["inverter_temperature"]),
}
for topic, value in sorted(topics.items()):
    print(f"sensor/inverter/{topic} 1 0 {value}")
PYTHON
)
# Seven topics of two polls, with quality of service and whether they are retained.
mosquitto_sub -u mqtt -P mqtt -q 1 -t 'sensor/inverter/#' -F '%t %q %r %p' -C 14 -W 60 >"$folder/heard" &
listener=$!
until_true 20 "the subscription" grep -q 'sensor/inverter' "$folder/broker.log"
(inside IP=127.0.0.1 MQTT=homeassistant SILENT=true -- "${entry_point[@]}" "${command[@]}") >"$folder/said" 2>&1 &
container=$!
processes+=("$container")
wait "$listener" || fail "the topics were not heard: $(cat "$folder/heard" "$folder/said")"
heard=$(sort "$folder/heard" | uniq -c | sed 's/^ *//')
[ "$heard" = "$(awk '{ print 2, $0 }' <<<"$expected")" ] || fail "heard
$heard
where each of these was to be heard twice
$expected"
echo "$expected"
[ "$(readlink "/proc/$container/exe")" = "$root/kstar" ] || [ "$(readlink "/proc/$container/exe")" = /kstar ] ||
  fail "process $container is $(readlink "/proc/$container/exe")"
[ "$(awk '/^Uid:/ { print $2, $3, $4, $5 }' "/proc/$container/status")" = "1000 1000 1000 1000" ] || fail "it runs as another user"

say "its health check says that it is well"
(inside -- "${health[@]}") || fail "its health check fails while it collects"

say "SILENT gives few words"
[ ! -s "$folder/said" ] || fail "it said: $(cat "$folder/said")"

say "a stop is in order"
kill -s "$(jq -r '.config.StopSignal' "$config")" "$container"
status=0
wait "$container" || status=$?
[ "$status" = 0 ] || fail "it ended with $status: $(cat "$folder/said")"
[ ! -s "$folder/said" ] || fail "it said: $(cat "$folder/said")"

say "its health check says when it is not well"
! (inside -- "${health[@]}") 2>/dev/null || fail "its health check is well although nothing runs"

say "without SILENT it tells what it does"
(inside IP=127.0.0.1 MQTT=homeassistant -- "${entry_point[@]}" "${command[@]}") >"$folder/said" 2>&1 &
container=$!
processes+=("$container")
until_true 30 "words" grep -q polling "$folder/said"
kill -TERM "$container"
wait "$container" || fail "it ended with $?: $(cat "$folder/said")"

say "without an address it finds the inverter, as that container did"
# A house behind a cable: the inverter is in another network namespace, and hears broadcasts.
# shellcheck disable=SC2016 # expanded by that shell
unshare --net sh -c 'until ip address add 10.77.0.2/24 dev roof 2>/dev/null; do sleep 0.1; done
  ip link set roof up
  exec "$0" simulate --listen 10.77.0.2:8899 --discovery 0.0.0.0:48899 --speed 0' \
  "target/$triple/release/kstar" >"$folder/roof.log" 2>&1 &
roof=$!
processes+=("$roof")
until_true 20 "a network of the inverter's own" \
  sh -c "[ \"\$(readlink /proc/$roof/ns/net)\" != \"$(readlink /proc/self/ns/net)\" ]"
ip link add house type veth peer name roof netns "$roof"
ip address add 10.77.0.1/24 broadcast + dev house
ip link set house up
until_true 20 "the inverter in its network" grep -q host "$folder/roof.log"
mosquitto_sub -u mqtt -P mqtt -q 1 -t 'sensor/inverter/#' -F '%t %q %r %p' -C 7 -W 60 >"$folder/heard" &
listener=$!
until_true 20 "the subscription" sh -c "[ \$(grep -c sensor/inverter $folder/broker.log) = 2 ]"
(inside IP=0.0.0.0 MQTT=homeassistant SILENT=true -- "${entry_point[@]}" "${command[@]}") >"$folder/said" 2>&1 &
container=$!
processes+=("$container")
wait "$listener" || fail "the topics were not heard: $(cat "$folder/heard" "$folder/said" "$folder/roof.log")"
[ "$(sort "$folder/heard")" = "$expected" ] || fail "heard $(sort "$folder/heard")"
kill -TERM "$container"
wait "$container" || fail "it ended with $?: $(cat "$folder/said")"

say "nothing but /data was written"
after=$(cd "$root" && find . -path ./data -prune -o -path ./etc/hosts -o -printf '%y %m %U:%G %P\n' | sort)
[ "$after" = "$(grep -v ' data$' <<<"$files")" ] || fail "other files now: $after"
cmp "$root/kstar" "target/$triple/release/kstar"
echo "in /data: $(cd "$folder/data" && find . -mindepth 1 -printf '%P ')"

say "well"
