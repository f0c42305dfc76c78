# The app's options as a configuration. Input: the broker that Home Assistant has, or null; $options holds the
# options, $data the folder for state.

# A text as TOML has it: JSON's escapes are right there too, but for one character that jq 1.6 leaves as it is.
def quoted: tostring | tojson | gsub("\u007f"; "\\u007f");

# A line for what is given; an empty field of the form counts as none.
def line(name; value): value | select(. != null and . != "") | "\(name) = \(quoted)";
def plain(name; value): value | select(. != null and . != "") | "\(name) = \(.)";

. as $broker
| $options[0] as $option
| [
    line("state_dir"; $data),

    "[collector]",
    ($option.poll_interval | select(. != null) | "poll_interval = \"\(.)s\""),

    (
      $option.inverters // [] | .[]
      | "[[inverter]]", line("name"; .name), line("host"; .host), plain("max_power"; .max_power)
    ),

    (if $option.history then "[sinks.sqlite]" else empty end),

    (
      if ($option.mqtt_url // "") != "" then
        "[sinks.mqtt]",
        line("url"; $option.mqtt_url), line("username"; $option.mqtt_username), line("password"; $option.mqtt_password)
      elif $broker != null then
        "[sinks.mqtt]",
        line("url"; "mqtt\(if $broker.ssl then "s" else "" end)://\($broker.host):\($broker.port)"),
        line("username"; $broker.username), line("password"; $broker.password)
      else
        empty
      end
    ),
    (
      if $option.kstar_sharp_topics and (($option.mqtt_url // "") != "" or $broker != null) then
        "kstar_sharp_topics = true"
      else
        empty
      end
    ),

    (
      if ($option.influxdb_url // "") != "" then
        "[sinks.influxdb]",
        line("url"; $option.influxdb_url), line("org"; $option.influxdb_org),
        line("bucket"; $option.influxdb_bucket), line("token"; $option.influxdb_token)
      else
        empty
      end
    ),

    # Without a token only this machine may ask, which is what the collector demands as well.
    (
      if $option.http_port == null then
        empty
      elif ($option.http_token // "") != "" then
        "[http]", line("listen"; "0.0.0.0:\($option.http_port)"), line("token"; $option.http_token)
      else
        "[http]", line("listen"; "127.0.0.1:\($option.http_port)")
      end
    )
  ]
| .[]
