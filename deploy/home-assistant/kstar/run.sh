#!/bin/sh
# The app's start: makes a configuration of the options and of the MQTT broker that Home Assistant has, looks whether
# it is right, and becomes the collector. Nothing of it is printed but what `kstar check` shows, which has no secrets.
set -eu
umask 077

# Where things are in the container; the test has them elsewhere.
data=${KSTAR_DATA:-/data}
own=${KSTAR_OWN_CONFIG:-/config/kstar.toml}
config=${KSTAR_CONFIG:-/run/kstar.toml}
supervisor=${SUPERVISOR_URL:-http://supervisor}
here=$(dirname "$0")

say() { printf '%s\n' "$*" >&2; }
option() { jq -r --arg name "$1" '.[$name] // "" | tostring' "$data/options.json"; }

# The broker of Home Assistant as the Supervisor knows it, as JSON; null if it has none.
service() {
  # The token goes through standard input, since arguments are everybody's to read.
  answer=$(printf 'header = "Authorization: Bearer %s"\n' "${SUPERVISOR_TOKEN:-}" |
    curl --silent --show-error --max-time 20 --retry 5 --retry-connrefused --retry-delay 2 \
      --config - --write-out '\n%{http_code}' "$supervisor/services/mqtt") || {
    say "error: the Supervisor does not tell whether there is an MQTT broker; restart the app, or set mqtt_url"
    return 1
  }
  code=$(printf '%s' "$answer" | tail -n 1)
  case $code in
    200) printf '%s' "$answer" | sed '$d' | jq -c '.data' ;;
    # So it answers where no app provides one.
    400 | 404) echo null ;;
    *)
      say "error: the Supervisor answers with status $code when asked for the MQTT broker; restart the app, or set mqtt_url"
      return 1
      ;;
  esac
}

KSTAR_LOG=$(option log_level)
export KSTAR_LOG

if [ -f "$own" ]; then
  say "the configuration is $own; the options are left alone, but for log_level"
  config=$own
  export STATE_DIRECTORY="$data"
else
  broker=null
  if [ -z "$(option mqtt_url)" ]; then
    broker=$(service) || exit 1
    [ "$broker" != null ] ||
      say "Home Assistant has no MQTT broker, so it will see no sensors: install the app Mosquitto broker, or set mqtt_url"
  fi
  # A new file: an old one could be somebody else's to read.
  rm -f "$config"
  # Through standard input as well: the broker's password is in it.
  printf '%s' "$broker" | jq -r --arg data "$data" --slurpfile options "$data/options.json" \
    --from-file "$here/options.jq" > "$config"
fi

export KSTAR_CONFIG="$config"
kstar check || {
  say "error: the options are not right; what is wrong stands above, with the name of the option"
  exit 2
}
exec kstar run
