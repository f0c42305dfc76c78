#!/usr/bin/env bash
# Tries a package in a fresh Debian: `deploy/debian/test.sh PACKAGE.deb`, as root, on the package's own architecture.
#
# Debian is made by debootstrap in a folder that is gone afterwards; the service runs in it under the limits of its unit
# (deploy/systemd/confined.py) and polls a simulated inverter over a cable between two network namespaces. Nothing
# leaves them. It takes two to four minutes, and less with DEBIAN_ROOT=FOLDER, a Debian of debootstrap that is
# copied; CI does not run it.
set -euo pipefail

readonly SUITE=bookworm
readonly NET=10.99.0
here=$(cd "$(dirname "$0")" && pwd)
deploy=$(dirname "$here")

say() { printf '\n== %s\n' "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  if [ -s "${log:-}" ]; then
    tail -n 20 "$log" >&2
  fi
  exit 1
}

# A command that ends with this code and says these words.
expect() {
  local code=$1 words=$2 said status=0
  shift 2
  said=$("$@" 2>&1) || status=$?
  [ "$status" = "$code" ] || fail "$* ended with $status instead of $code: $said"
  [[ $said == *"$words"* ]] || fail "$* did not say \"$words\": $said"
  printf 'ok: %s: %s\n' "${*: -3}" "$words"
}

# A file's mode and owner, in the new Debian.
expect_file() {
  local path=$1 expected=$2 found
  found=$(inside stat -c '%a %U:%G' "$path" 2>&1) || true
  [ "$found" = "$expected" ] || fail "$path is $found instead of $expected"
  printf 'ok: %s %s\n' "$expected" "$path"
}

wait_until() {
  local what=$1
  shift
  for ((tries = 0; tries < 300; tries++)); do
    if "$@"; then return; fi
    if [ -n "${service:-}" ] && ! grep -q '^State:.[^Z]' "/proc/$service/status"; then
      fail "the service has ended before: $what"
    fi
    sleep 0.2
  done
  fail "never came: $what"
}

inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot "$root" "$@"; }

# What a user at a terminal does.
as_user() {
  local user=$1
  shift
  inside setpriv --reuid "$user" --regid "$user" --init-groups -- "$@"
}

install_package() {
  cp "$1" "$root/kstar.deb"
  inside apt-get install -y -q -o Dpkg::Options::=--force-confold -o APT::Sandbox::User=root /kstar.deb >"$work/apt.log" 2>&1 ||
    fail "$(cat "$work/apt.log")"
  rm "$root/kstar.deb"
  [ -z "$(inside dpkg --audit)" ] || fail "$(inside dpkg --audit)"
}

# The package with a higher version, and with these words at the end of its configuration.
package_with() {
  local version=$1 words=$2 folder=$work/package-$1
  dpkg-deb -R "$package" "$folder"
  sed -i "s/^Version: .*/Version: $version/" "$folder/DEBIAN/control"
  printf '%s' "$words" >>"$folder/etc/kstar/config.toml"
  dpkg-deb --root-owner-group -b "$folder" "$work/$version.deb" >/dev/null
}

rows() {
  python3 - "$root/var/lib/kstar/history.db" 2>/dev/null <<'PYTHON' || echo 0
import sqlite3, sys
print(sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True).execute("select count(*) from readings").fetchone()[0])
PYTHON
}
more_rows_than() { [ "$(rows)" -gt "$1" ]; }

# The service, by its unit, with what systemd would listen to beside it.
start_service() {
  log=$work/service.log
  : >"$log" >"$work/notified"
  python3 - "$root/run/notify" "$work/notified" <<'PYTHON' &
import os, socket, sys
place, heard = sys.argv[1:]
if os.path.exists(place):
    os.unlink(place)
listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listening.bind(place)
os.chmod(place, 0o777)
while True:
    with open(heard, "ab") as file:
        file.write(listening.recv(4096) + b"\n")
PYTHON
  notified=$!
  wait_until "a socket like systemd's" test -S "$root/run/notify"
  unshare --mount "$@" /usr/bin/python3 "$deploy/systemd/confined.py" --root "$root" --notify /run/notify "$unit" >"$log" 2>&1 &
  service=$!
}

# Waits for the service's end, which has this code.
service_ends_with() {
  local status=0
  wait "$service" || status=$?
  kill "$notified"
  wait "$notified" 2>/dev/null || true
  service=
  # As systemd does it.
  rm -rf "$root/run/kstar"
  [ "$status" = "$1" ] || fail "the service ended with $status instead of $1"
  printf 'ok: the service ended with %s\n' "$1"
}

# Inside of the namespaces.
try() {
  ip link set lo up
  # Names of namespaces are files here; those of this machine are not ours.
  mkdir -p /run/netns
  mount -t tmpfs tmpfs /run/netns
  ip netns add inverter
  ip link add lan0 type veth peer name lan0 netns inverter
  ip address add "$NET.1/24" broadcast + dev lan0
  ip link set lan0 up
  ip -n inverter address add "$NET.2/24" broadcast + dev lan0
  ip -n inverter link set lan0 up
  ip -n inverter link set lo up
  mount -t proc proc "$root/proc"
  mount --bind /dev "$root/dev"

  say "installing"
  install_package "$package"
  version=$(inside dpkg-query -W -f '${Version}' kstar)
  expect 0 "kstar ${version%-*}" inside kstar --version
  expect_file /usr/bin/kstar "755 root:root"
  expect_file /usr/lib/systemd/system/kstar.service "644 root:root"
  expect_file /usr/lib/systemd/system/kstar-backup.service "644 root:root"
  expect_file /usr/lib/systemd/system/kstar-backup.timer "644 root:root"
  # Off by default.
  expect 1 "" inside test -L /etc/systemd/system/timers.target.wants/kstar-backup.timer
  expect_file /etc/kstar "750 root:kstar"
  expect_file /etc/kstar/config.toml "640 root:kstar"
  expect_file /var/lib/kstar "750 kstar:kstar"
  expect_file /usr/share/man/man1/kstar.1.gz "644 root:root"
  expect_file /usr/share/doc/kstar/copyright "644 root:root"
  expect_file /usr/share/doc/kstar/examples/config.example.toml "644 root:root"
  # Every link of the pages leads somewhere, and what they show is there.
  expect 0 "" python3 "$deploy/debian/docs.py" --check "$root/usr/share/doc/kstar"
  for page in README.md docs/install.md docs/dashboard.png docs/watch-dark.svg sinks/mqtt/README.md \
    deploy/grafana/kstar-prometheus.json deploy/node-red/kstar-flow.json; do
    expect_file "/usr/share/doc/kstar/$page" "644 root:root"
  done
  # What the units name.
  for page in $(sed -n 's|^Documentation=.*file://||p' "$root"/usr/lib/systemd/system/kstar*); do
    expect_file "$page" "644 root:root"
  done
  expect_file /usr/share/bash-completion/completions/kstar "644 root:root"
  expect_file /usr/share/zsh/vendor-completions/_kstar "644 root:root"
  expect_file /usr/share/fish/vendor_completions.d/kstar.fish "644 root:root"
  expect 0 ":/var/lib/kstar:/usr/sbin/nologin" inside getent passwd kstar
  expect 0 "" inside test -L /etc/systemd/system/multi-user.target.wants/kstar.service
  expect 0 "" inside bash -n /usr/share/bash-completion/completions/kstar
  for page in "$root"/usr/share/man/man1/kstar*.1.gz; do
    zcat "$page" | mandoc -T lint -W warning || fail "$page"
  done
  unit=$root/usr/lib/systemd/system/kstar.service
  expect 0 "" inside sh /var/lib/dpkg/info/kstar.postinst configure ""
  expect_file /etc/kstar/config.toml "640 root:kstar"

  say "the service, as it is installed, finds an inverter by broadcast"
  ip netns exec inverter chroot "$root" /usr/bin/kstar simulate --listen "0.0.0.0:8899" >"$work/inverter.log" 2>&1 &
  start_service strace -D -f -qq -s 0 -e signal=none -o "$work/strace"
  wait_until "readings in the history" more_rows_than 1
  pid=$(inside cat "/run/lock/kstar-$NET.2-8899.lock")
  [ "$pid" = "$service" ] || fail "the lock names process $pid instead of $service"
  [ "$(cat "$root/run/kstar/kstar-$NET.2-8899.lock")" = "$service" ] || fail "there is no lock in /run/kstar"
  for line in "NoNewPrivs:	1" "Seccomp:	2" "CapEff:	0000000000000000" "CapBnd:	0000000000000000"; do
    expect 0 "$line" grep "^${line%%:*}:" "/proc/$service/status"
  done
  uid=$(inside id -u kstar)
  expect 0 "$uid	$uid	$uid	$uid" grep ^Uid: "/proc/$service/status"
  expect 1 "Read-only file system" nsenter -t "$service" -m -r -- touch /usr/x /etc/kstar/x /run/x
  expect 0 "READY=1" cat "$work/notified"
  expect_file /var/lib/kstar/history.db "640 kstar:kstar"

  say "beside it, users see its lock and its history"
  inside adduser --quiet --disabled-password --gecos "" pi
  expect 1 "process $service polls $NET.2:8899 already" as_user pi kstar read --host "$NET.2" --config /dev/null
  expect 2 "use sudo, or join the group" as_user pi kstar report day
  inside adduser --quiet pi kstar
  expect 0 "kW of inverter at" as_user pi kstar report day
  expect 0 "inverter at http://127.0.0.1:8099" as_user pi kstar read
  expect 0 "kW of inverter at" inside kstar report day
  # What the timer runs, as its user.
  backup=$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/kstar-backup.service")
  # shellcheck disable=SC2086
  expect 0 "and checked" as_user kstar $backup
  expect 0 "process $service runs with this state folder" inside kstar check --connect

  say "stopping it"
  kill "$service"
  service_ends_with 0
  # Before the program itself begins, its limits are still being made. clone3 is never there below RestrictNamespaces=.
  sed -n '/execve("\/usr\/bin\/kstar"/,$p' "$work/strace" >"$work/program"
  grep -q sendto "$work/program" || fail "nothing was traced"
  refused=$(grep -E '= -1 (EPERM|EACCES|EROFS|ENOSYS|EAFNOSUPPORT)' "$work/program" | grep -v 'clone3(.*ENOSYS' || true)
  [ -z "$refused" ] || fail "its limits refused what it does: $refused"
  echo "ok: its limits refused nothing that it does"

  say "a configuration that is untouched follows the package"
  before=$(rows)
  package_with 999.1-1 $'\n# Of the new package.\n'
  install_package "$work/999.1-1.deb"
  expect 0 "Of the new package" inside cat /etc/kstar/config.toml
  expect_file /etc/kstar/config.toml "640 root:kstar"
  [ "$(rows)" = "$before" ] || fail "the upgrade has changed the history"

  say "init writes the service's configuration, and an upgrade keeps it"
  cat "$here/config.toml" >"$root/etc/kstar/config.toml"
  expect 0 "systemctl restart kstar" inside kstar init --yes --host "$NET.2" --name roof
  expect_file /etc/kstar/config.toml "640 root:kstar"
  expect 0 'state_dir = "/var/lib/kstar"' inside cat /etc/kstar/config.toml
  expect 2 "is there already" inside kstar init --yes --host "$NET.2"
  package_with 999.2-1 $'\n# Of the newest package.\n'
  install_package "$work/999.2-1.deb"
  expect 0 'name = "roof"' inside cat /etc/kstar/config.toml
  expect_file /etc/kstar/config.toml "640 root:kstar"
  start_service
  wait_until "readings beside those of before" more_rows_than "$before"
  kill "$service"
  service_ends_with 0

  say "a wrong configuration is left to a person"
  cp "$root/etc/kstar/config.toml" "$work/right.toml"
  echo '[sinks.fax]' >>"$root/etc/kstar/config.toml"
  start_service
  service_ends_with 2
  expect 0 "unknown field \`fax\`" cat "$log"
  expect 0 "RestartPreventExitStatus=2" grep ^RestartPrevent "$unit"
  cat "$work/right.toml" >"$root/etc/kstar/config.toml"

  say "removing keeps what is the user's, purging keeps nothing"
  before=$(rows)
  inside apt-get remove -y -q kstar >/dev/null 2>&1
  expect 1 "" inside test -e /usr/bin/kstar
  expect 0 'name = "roof"' inside cat /etc/kstar/config.toml
  [ "$(rows)" = "$before" ] || fail "the removal has changed the history"
  install_package "$work/999.2-1.deb"
  expect 0 'name = "roof"' inside cat /etc/kstar/config.toml
  expect 0 "" inside test -L /etc/systemd/system/multi-user.target.wants/kstar.service
  echo secret >"$root/etc/kstar/mqtt-password"
  inside apt-get purge -y -q kstar >/dev/null 2>&1
  expect 2 "" inside getent passwd kstar
  expect 2 "" inside getent group kstar
  left=$(find "$root" -xdev -path "$root/proc" -prune -o -path "$root/var/log" -prune -o -name '*kstar*' -print)
  [ -z "$left" ] || fail "left behind: $left"
  echo "ok: nothing is left"

  say "all is well"
}

if [ "${1:-}" = --inside ]; then
  package=$2 work=$3
  root=$work/root
  try
  exit
fi

[ $# = 1 ] && [ -f "$1" ] || fail "name a package: deploy/debian/test.sh PACKAGE.deb"
[ "$(id -u)" = 0 ] || fail "only root can make a Debian and namespaces"
package=$(realpath "$1")

say "tools"
export PATH="$PATH:/usr/sbin:/sbin"
declare -A packages=([debootstrap]=debootstrap [lintian]=lintian [mandoc]=mandoc [strace]=strace [ip]=iproute2
  [systemd-analyze]=systemd)
missing=()
for command in "${!packages[@]}"; do
  command -v "$command" >/dev/null || missing+=("${packages[$command]}")
done
/usr/bin/python3 -c 'import seccomp' 2>/dev/null || missing+=(python3-seccomp)
if ((${#missing[@]})); then
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
fi

say "lintian"
lintian --fail-on error,warning "$package"

say "a fresh Debian"
work=$(mktemp -d)
# Mounts and processes are those of namespaces that are gone by then.
trap 'rm -rf --one-file-system "$work"' EXIT
if [ -n "${DEBIAN_ROOT:-}" ]; then
  cp -a "$DEBIAN_ROOT" "$work/root"
else
  debootstrap --variant=minbase "$SUITE" "$work/root" >"$work/debootstrap.log" 2>&1 ||
    fail "$(tail -n 5 "$work/debootstrap.log")"
fi

unshare --mount --net --ipc --pid --fork --kill-child --mount-proc -- "$0" --inside "$package" "$work"
