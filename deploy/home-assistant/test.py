"""Tests of the add-on; test.sh runs them."""

import json
import os
import re
import signal
import socket
import sqlite3
import stat
import struct
import subprocess
import tempfile
import threading
import time
import tomllib
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

ADDON = Path(__file__).parent / "kstar"
ROOT = Path(__file__).parents[2]
PROGRAM = os.environ["KSTAR_PROGRAM"]
TOKEN = "token of the add-on"

# What a password may hold that would be a trap somewhere: in a shell, in TOML, in JSON, in a format of printf.
HOSTILE = [
    "plain",
    "with space and\ttab",
    "\"quoted\" 'twice' `thrice`",
    "back\\slash\\n and %s %d $HOME $(id) ${x}",
    "# no comment ] [sinks.stdout] = {",
    "\"\"\" ''' line\nnext line\r\n[sinks.stdout]",
    "control \x01 \x1b \x7f end",
    "ünïcödé 😀 \u2028",
    "-K /etc/passwd",
    "!secret",
]


def options(**more):
    """What the form gives when nothing is changed, and more."""
    return yaml.safe_load((ADDON / "config.yaml").read_text())["options"] | more


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(what, condition, seconds=40):
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(0.1)


class Supervisor:
    """Answers for the service mqtt as Home Assistant's Supervisor does."""

    def __init__(self, status=200, data=None):
        outer = self
        self.asked = []

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append((self.path, self.headers.get("Authorization")))
                allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
                code = (status if allowed else 401) if self.path == "/services/mqtt" else 404
                body = {"result": "ok", "data": data} if code == 200 else {"result": "error", "message": "no"}
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Container:
    """The places that the add-on has in its container."""

    def __init__(self, chosen, supervisor="http://127.0.0.1:1"):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        for name in ("data", "bin", "run"):
            (self.path / name).mkdir()
        (self.path / "bin/kstar").symlink_to(PROGRAM)
        (self.path / "data/options.json").write_text(json.dumps(chosen))
        self.config = self.path / "run/kstar.toml"
        self.environment = {
            "PATH": f"{self.path}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "TZ": "Europe/London",
            "SUPERVISOR_TOKEN": TOKEN,
            "SUPERVISOR_URL": supervisor,
            "KSTAR_DATA": f"{self.path}/data",
            "KSTAR_OWN_CONFIG": f"{self.path}/config/kstar.toml",
            "KSTAR_CONFIG": str(self.config),
        }

    def only_check(self):
        """In place of the collector, something that ends at once; `kstar check` is the real one."""
        (self.path / "bin/kstar").unlink()
        script = f'#!/bin/sh\nif [ "$1" = run ]; then echo RUN; else exec {PROGRAM} "$@"; fi\n'
        (self.path / "bin/kstar").write_text(script)
        (self.path / "bin/kstar").chmod(0o755)
        return self

    def start(self):
        return subprocess.run(
            [ADDON / "run.sh"], env=self.environment, cwd=self.path, capture_output=True, text=True, timeout=120
        )

    def written(self):
        return tomllib.loads(self.config.read_text())


class InContainer(unittest.TestCase):
    def container(self, *args):
        container = Container(*args)
        self.addCleanup(container.folder.cleanup)
        return container


class Start(InContainer):
    """What run.sh makes of the options."""

    def supervisor(self, *args, **more):
        supervisor = Supervisor(*args, **more)
        self.addCleanup(supervisor.close)
        return supervisor

    def assert_runs(self, container):
        ended = container.start()
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertTrue(ended.stdout.endswith("RUN\n"), ended)
        return ended

    def test_the_broker_of_home_assistant_is_taken_without_being_named(self):
        service = {"addon": "core_mosquitto", "host": "core-mosquitto", "port": 1883, "ssl": False, "protocol": "3.1.1",
                   "username": "addons", "password": "secret of the broker"}
        supervisor = self.supervisor(data=service)
        container = self.container(options(), supervisor.url).only_check()
        ended = self.assert_runs(container)
        self.assertEqual(supervisor.asked, [("/services/mqtt", f"Bearer {TOKEN}")])
        self.assertEqual(
            container.written(),
            {
                "state_dir": f"{container.path}/data",
                "collector": {},
                "sinks": {
                    "sqlite": {},
                    "mqtt": {"url": "mqtt://core-mosquitto:1883", "username": "addons", "password": "secret of the broker"},
                },
            },
        )
        for secret in (TOKEN, "secret of the broker"):
            self.assertNotIn(secret, ended.stdout + ended.stderr)
        self.assertEqual(stat.S_IMODE(container.config.stat().st_mode), 0o600)

    def test_a_broker_with_tls_is_spoken_to_with_tls(self):
        supervisor = self.supervisor(data={"host": "broker", "port": 8883, "ssl": True, "username": "", "password": ""})
        container = self.container(options(), supervisor.url).only_check()
        self.assert_runs(container)
        self.assertEqual(container.written()["sinks"]["mqtt"], {"url": "mqtts://broker:8883"})

    def test_without_a_broker_there_is_a_history_and_a_word_about_it(self):
        for status in (400, 404):
            container = self.container(options(), self.supervisor(status=status).url).only_check()
            ended = self.assert_runs(container)
            self.assertIn("install the app Mosquitto broker", ended.stderr)
            self.assertEqual(container.written()["sinks"], {"sqlite": {}})

    def test_a_broker_of_ones_own_is_taken_without_asking(self):
        supervisor = self.supervisor()
        chosen = options(mqtt_url="mqtt://other:1884", mqtt_username="me", mqtt_password="mine", kstar_sharp_topics=True)
        container = self.container(chosen, supervisor.url).only_check()
        ended = self.assert_runs(container)
        self.assertEqual(supervisor.asked, [])
        self.assertEqual(
            container.written()["sinks"]["mqtt"],
            {"url": "mqtt://other:1884", "username": "me", "password": "mine", "kstar_sharp_topics": True},
        )
        self.assertNotIn("mine", ended.stdout + ended.stderr)

    def test_everything_that_can_be_chosen_is_written(self):
        chosen = options(
            inverters=[{"name": "roof", "host": "192.168.1.50", "max_power": 5000}, {"name": "barn", "host": "barn.lan:9000"}],
            poll_interval=10, history=False, mqtt_url="mqtt://other",
            influxdb_url="http://influx:8086", influxdb_org="home", influxdb_bucket="solar", influxdb_token="a token",
            http_port=8098, http_token="sesame-and-more-as-long-as-a-token-is", log_level="debug",
        )
        container = self.container(chosen).only_check()
        ended = self.assert_runs(container)
        self.assertEqual(
            container.written(),
            {
                "state_dir": f"{container.path}/data",
                "collector": {"poll_interval": "10s"},
                "inverter": [
                    {"name": "roof", "host": "192.168.1.50", "max_power": 5000},
                    {"name": "barn", "host": "barn.lan:9000"},
                ],
                "sinks": {
                    "mqtt": {"url": "mqtt://other"},
                    "influxdb": {"url": "http://influx:8086", "org": "home", "bucket": "solar", "token": "a token"},
                },
                "http": {"listen": "0.0.0.0:8098", "token": "sesame-and-more-as-long-as-a-token-is"},
            },
        )
        for secret in ("a token", "sesame"):
            self.assertNotIn(secret, ended.stdout + ended.stderr)

    def test_without_a_token_only_this_machine_may_ask(self):
        container = self.container(options(mqtt_url="mqtt://other", http_port=8098)).only_check()
        self.assert_runs(container)
        self.assertEqual(container.written()["http"], {"listen": "127.0.0.1:8098"})

    def test_one_inverter_needs_no_name(self):
        for name in ({}, {"name": ""}):
            container = self.container(options(mqtt_url="mqtt://other", inverters=[{"host": "192.168.1.50"} | name])).only_check()
            self.assert_runs(container)
            self.assertEqual(container.written()["inverter"], [{"host": "192.168.1.50"}])

    def test_an_empty_field_counts_as_none(self):
        empty = {name: "" for name in ("mqtt_username", "mqtt_password", "influxdb_url", "influxdb_token", "http_token")}
        container = self.container(options(mqtt_url="mqtt://other", **empty)).only_check()
        self.assert_runs(container)
        self.assertEqual(container.written()["sinks"], {"sqlite": {}, "mqtt": {"url": "mqtt://other"}})

    def test_no_character_of_a_password_means_anything(self):
        for secret in HOSTILE:
            with self.subTest(secret=secret):
                # No user has a control character in its name, and no request carries one; a password may have any.
                plain = secret if secret.isprintable() else "plain"
                service = {"host": "core-mosquitto", "port": 1883, "ssl": False, "username": plain, "password": secret}
                chosen = options(
                    influxdb_url="http://influx:8086", influxdb_org="home", influxdb_bucket="solar", influxdb_token=plain
                )
                container = self.container(chosen, self.supervisor(data=service).url).only_check()
                ended = self.assert_runs(container)
                sinks = container.written()["sinks"]
                self.assertEqual(set(sinks), {"sqlite", "mqtt", "influxdb"})
                self.assertEqual((sinks["mqtt"]["username"], sinks["mqtt"]["password"]), (plain, secret))
                self.assertEqual(sinks["influxdb"]["token"], plain)
                if len(secret) > 8:
                    self.assertNotIn(secret, ended.stdout + ended.stderr)

    def test_a_wrong_option_is_named_and_nothing_runs(self):
        for wrong, words in [
            ({"inverters": [{"name": "roof", "host": "no host"}]}, "host"),
            ({"inverters": [{"name": "a", "host": "x"}, {"name": "a", "host": "y"}]}, "both named `a`"),
            ({"mqtt_url": "http://broker"}, "url"),
            ({"influxdb_url": "http://influx:8086"}, "bucket"),
            ({"history": False}, "no sink is enabled"),
        ]:
            with self.subTest(wrong=wrong):
                container = self.container(options(**wrong), self.supervisor(status=400).url).only_check()
                ended = container.start()
                self.assertEqual(ended.returncode, 2, ended)
                self.assertIn(words, ended.stderr)
                self.assertIn("the options are not right", ended.stderr)
                self.assertNotIn("RUN", ended.stdout)

    def test_a_supervisor_that_refuses_or_is_not_there_is_an_error(self):
        container = self.container(options(), self.supervisor(status=403).url).only_check()
        ended = container.start()
        self.assertEqual(ended.returncode, 1, ended)
        self.assertIn("status 403", ended.stderr)
        ended = self.container(options(), f"http://127.0.0.1:{free_port()}").only_check().start()
        self.assertEqual(ended.returncode, 1, ended)
        self.assertIn("the Supervisor does not tell", ended.stderr)

    def test_a_configuration_of_ones_own_is_taken_as_it_is(self):
        supervisor = self.supervisor()
        container = self.container(options(), supervisor.url).only_check()
        (container.path / "config").mkdir()
        (container.path / "config/kstar.toml").write_text("[sinks.stdout]\n")
        ended = self.assert_runs(container)
        self.assertEqual(supervisor.asked, [])
        self.assertFalse(container.config.exists())
        self.assertIn(f"{container.path}/data", ended.stdout)

    def test_an_old_configuration_that_others_could_read_is_replaced(self):
        container = self.container(options(mqtt_url="mqtt://other")).only_check()
        container.config.write_text("old")
        container.config.chmod(0o644)
        self.assert_runs(container)
        self.assertEqual(stat.S_IMODE(container.config.stat().st_mode), 0o600)


class Watched(InContainer):
    """What health.sh tells Docker."""

    def health(self, config, answer):
        container = self.container(options())
        container.config.write_text(config)
        (container.path / "bin/kstar").unlink()
        (container.path / "bin/kstar").write_text(f"#!/bin/sh\n[ \"$1\" = health ] || exit 9\nprintf '%s' '{answer}'\nexit 1\n")
        (container.path / "bin/kstar").chmod(0o755)
        return subprocess.run([ADDON / "health.sh"], env=container.environment, timeout=20).returncode

    def test_only_polling_that_hangs_and_no_answer_are_reasons_to_start_again(self):
        http = "[http]\nlisten = '127.0.0.1:8098'\n"
        down = '{"healthy":false,"reasons":[{"part":"sink mqtt","reason":"down for 10 minutes"}]}'
        hangs = '{"healthy":false,"reasons":[{"part":"inverter roof","reason":"polling hangs: nothing came"}]}'
        for config, answer, expected in [("[sinks.sqlite]\n", "", 0), (http, down, 0), (http, hangs, 1), (http, "", 1)]:
            self.assertEqual(self.health(config, answer), expected, answer)


class Collecting(InContainer):
    """The collector as the add-on starts it."""

    def test_readings_reach_the_broker_and_the_history_until_it_is_stopped(self):
        password = "a \"b\" \\c $HOME '%s' ü"
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name)
        port = free_port()
        subprocess.run(["mosquitto_passwd", "-b", "-c", path / "passwords", "addons", password], check=True, capture_output=True)
        (path / "conf").write_text(
            f"user root\nlistener {port} 127.0.0.1\nallow_anonymous false\npassword_file {path}/passwords\n"
        )
        broker = subprocess.Popen(["mosquitto", "-c", path / "conf"], stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (broker.kill(), broker.wait()))
        client = ["-h", "127.0.0.1", "-p", str(port), "-u", "addons", "-P", password]
        wait_until("the broker", lambda: subprocess.run(
            ["mosquitto_pub", *client, "-t", "ready", "-m", "now"], capture_output=True).returncode == 0)

        simulator = subprocess.Popen(
            [PROGRAM, "simulate", "--listen", "127.0.0.1:0", "--no-discovery"], stdout=subprocess.PIPE, text=True
        )
        self.addCleanup(lambda: (simulator.kill(), simulator.wait(), simulator.stdout.close()))
        host = next(re.search(r'host = "(.*)"', line)[1] for line in simulator.stdout if "host" in line)

        supervisor = Supervisor(
            data={"host": "127.0.0.1", "port": port, "ssl": False, "username": "addons", "password": password}
        )
        self.addCleanup(supervisor.close)
        chosen = options(inverters=[{"name": "roof", "host": host}], poll_interval=1)
        container = self.container(chosen, supervisor.url)
        with open(container.path / "log", "w") as log:
            addon = subprocess.Popen([ADDON / "run.sh"], env=container.environment, cwd=container.path, stdout=log, stderr=log)
        self.addCleanup(lambda: (addon.kill(), addon.wait()))

        def heard(topic):
            found = subprocess.run(
                ["mosquitto_sub", *client, "-t", topic, "-C", "1", "-W", "40"], capture_output=True, text=True
            )
            said = (container.path / "log").read_text()
            self.assertEqual(found.returncode, 0, f"{topic}: {found.stderr}\n{said}")
            return found.stdout.strip()

        self.assertEqual(json.loads(heard("kstar/roof/state"))["inverter"], "roof")
        self.assertIn('"dev', heard("homeassistant/#"))
        # The shell has become the collector, so that an order to stop reaches it.
        self.assertEqual(os.path.realpath(f"/proc/{addon.pid}/exe"), os.path.realpath(PROGRAM))

        addon.send_signal(signal.SIGTERM)
        said = lambda: (container.path / "log").read_text()
        self.assertEqual(addon.wait(timeout=20), 0, said())
        self.assertNotIn(password, said())
        self.assertNotIn(TOKEN, said())
        history = sqlite3.connect(container.path / "data/history.db")
        self.addCleanup(history.close)
        self.assertGreater(history.execute("SELECT count(*) FROM readings").fetchone()[0], 0)
        self.assertEqual({entry.name for entry in container.path.iterdir()}, {"data", "bin", "run", "log"})


# What the Supervisor understands in a schema, from the developers' documentation.
TYPE = re.compile(
    r"^(bool|email|url|port|device(\(.+\))?|(str|password|int|float)(\([\d.]*,[\d.]*\))?|match\(.*\)|list\(.+\))\??$"
)

# The keys of config.yaml that the documentation has, as far as we use them, and the type of each.
KEYS = {
    "name": str, "version": str, "slug": str, "description": str, "arch": list, "startup": str, "init": bool,
    "image": str, "timeout": int, "host_network": bool, "backup": str, "services": list, "map": list, "options": dict, "schema": dict,
}


def fits(kind, value):
    """Whether the Supervisor would take a value for an option of this type."""
    kind = kind.removesuffix("?")
    name, _, rest = kind.partition("(")
    rest = rest.removesuffix(")")
    if name == "bool":
        return isinstance(value, bool)
    if name == "list":
        return value in rest.split("|")
    if name == "match":
        return re.match(rest, value) is not None
    return True


class Folder(unittest.TestCase):
    """What the Supervisor reads before anything runs."""

    def setUp(self):
        self.config = yaml.safe_load((ADDON / "config.yaml").read_text())

    def test_the_keys_are_those_that_the_supervisor_knows(self):
        for key, value in self.config.items():
            self.assertIn(key, KEYS)
            self.assertIsInstance(value, KEYS[key], key)
        self.assertLessEqual({"name", "version", "slug", "description", "arch"}, set(self.config))
        self.assertRegex(self.config["slug"], r"^[-_.A-Za-z0-9]+$")
        self.assertEqual(set(self.config["arch"]), {"aarch64", "amd64"})
        self.assertIn(self.config["startup"], {"initialize", "system", "services", "application", "once"})
        self.assertIn(self.config["backup"], {"hot", "cold"})
        self.assertTrue(10 <= self.config["timeout"] <= 300)
        for service in self.config["services"]:
            self.assertRegex(service, r"^(mqtt|mysql):(provide|want|need)$")
        self.assertEqual(self.config["map"], [{"type": "app_config"}])

    def test_each_option_has_a_type_and_the_defaults_fit(self):
        schema = self.config["schema"]
        for name, kind in schema.items():
            kinds = kind[0] if isinstance(kind, list) else {name: kind}
            for kind in kinds.values():
                self.assertRegex(kind, TYPE, name)
        for name, value in self.config["options"].items():
            self.assertIn(name, schema)
            self.assertTrue(isinstance(schema[name], list) or fits(schema[name], value), name)
        # What has no default must be something that may be left out.
        for name in set(schema) - set(self.config["options"]):
            self.assertTrue(schema[name].endswith("?"), name)

    def test_a_name_that_the_collector_takes_is_one_that_the_form_takes(self):
        kind = self.config["schema"]["inverters"][0]["name"]
        for name, right in [("roof", True), ("a" * 32, True), ("a" * 33, False), ("my roof", False), ("", True)]:
            self.assertEqual(fits(kind, name), right, name)

    def test_the_version_is_that_of_the_program(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
        self.assertEqual(self.config["version"], version)
        self.assertIn(f"## {version}", (ADDON / "CHANGELOG.md").read_text())

    def test_an_empty_text_is_a_value_of_each_option_that_may_be_left_out(self):
        kinds = [kind for kind in self.config["schema"].values() if isinstance(kind, str)]
        kinds += self.config["schema"]["inverters"][0].values()
        for kind in kinds:
            if kind.startswith("match(") and kind.endswith("?"):
                self.assertTrue(fits(kind, ""), kind)
            self.assertFalse(kind.startswith(("url", "email")), f"{kind}: the Supervisor refuses an empty one")

    def test_the_repository_is_named_and_the_image_is_what_the_release_pushes(self):
        self.assertEqual(set(yaml.safe_load((ROOT / "repository.yaml").read_text())), {"name"})
        workflow = (ROOT / ".github/workflows/release.yml").read_text()
        owner, _, name = self.config["image"].removeprefix("ghcr.io/").partition("/")
        self.assertTrue(owner and name)
        self.assertIn(f"app=ghcr.io/${{GITHUB_REPOSITORY_OWNER,,}}/{name}\n", workflow)

    def test_the_bundle_names_no_image(self):
        # As bundle.sh has it; the rest of the file stays.
        command = next(line for line in (ROOT / "deploy/home-assistant/bundle.sh").read_text().splitlines() if "sed -i" in line)
        expression = re.search(r"'(.*)'", command)[1]
        left = subprocess.run(["sed", expression, ADDON / "config.yaml"], capture_output=True, text=True, check=True).stdout
        self.assertEqual(yaml.safe_load(left), {key: value for key, value in self.config.items() if key != "image"})

    def test_each_option_is_named_in_every_language_and_in_the_documentation(self):
        documentation = (ADDON / "DOCS.md").read_text()
        files = list((ADDON / "translations").iterdir())
        self.assertGreaterEqual(len(files), 2)
        for file in files:
            words = yaml.safe_load(file.read_text())["configuration"]
            self.assertEqual(set(words), set(self.config["schema"]), file)
            for name, entry in words.items():
                self.assertTrue(entry["name"] and entry["description"], f"{file}: {name}")
            self.assertEqual(set(words["inverters"]["fields"]), set(self.config["schema"]["inverters"][0]))
        for name in self.config["schema"]:
            self.assertIn(f"`{name}`", documentation)

    def test_everything_that_the_dockerfile_copies_is_there(self):
        for line in (ADDON / "Dockerfile").read_text().splitlines():
            if line.startswith("COPY"):
                for source in [word for word in line.split()[1:-1] if not word.startswith("--")]:
                    self.assertTrue("$BUILD_ARCH" in source or (ADDON / source).is_file(), line)
        # The Supervisor takes the base image from the Dockerfile, and warns of the file it was in before.
        self.assertFalse((ADDON / "build.yaml").exists())

    def test_the_pictures_have_the_size_that_home_assistant_shows(self):
        for name, size in [("icon.png", (128, 128)), ("logo.png", (250, 100))]:
            head = (ADDON / name).read_bytes()[:24]
            self.assertEqual(head[:8], b"\x89PNG\r\n\x1a\n", name)
            self.assertEqual(struct.unpack(">II", head[16:24]), size, name)

    def test_the_profile_is_one_that_apparmor_understands(self):
        text = (ADDON / "apparmor.txt").read_text()
        # The Supervisor puts its own name in the place of ours, and wants to find just one.
        self.assertEqual(re.findall(r"^profile ([^ ]+)", text, re.MULTILINE), [self.config["slug"]])
        parsed = subprocess.run(
            ["apparmor_parser", "--skip-kernel-load", "--skip-cache", ADDON / "apparmor.txt"], capture_output=True, text=True
        )
        self.assertEqual(parsed.returncode, 0, parsed.stderr)


if __name__ == "__main__":
    unittest.main()
