#!/usr/bin/env python3
"""Checks the dashboards: `python3 deploy/grafana/check.py queries|schema`.

`queries` starts InfluxDB, Prometheus, VictoriaMetrics, three simulated inverters and a collector, and asks the servers
every query of every panel, with the variables put in as Grafana does it. Each must be answered, with values that such a
plant can have, and what all servers know must be alike. It takes two minutes, and needs Debian's influxdb, prometheus
and victoria-metrics and a built kstar (`--kstar`).

`schema` holds the JSON against the types of Grafana's own packages for several of its versions. It needs node and npm,
and loads those packages from npm.
"""

import argparse
import json
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import dashboards

FOLDER = pathlib.Path(__file__).parent
ROOT = FOLDER.parent.parent

# How the simulated inverters are called.
NAMES = ["roof", "barn", "loft"]

# What a plant of such inverters can have, by the unit of a panel.
POSSIBLE = {
    "watt": (-24_000, 24_000),
    "kwatth": (0, 600),
    "percent": (0, 100),
    # What the battery takes from the grid makes self-sufficiency negative.
    "percentunit": (-1, 1),
    "volt": (0, 600),
    "hertz": (45, 65),
    "celsius": (-30, 100),
    "amp": (-100, 100),
    "ms": (0, 60_000),
    "s": (0, 3600),
    "short": (0, 1e9),
}

# A reading as a KSE4000 sent it, but with an error of the inverter, an error of the battery and a warning, so that the
# panels for them have something to show.
FAULTY = (
    "aa557fb0018653068900060206f9000d0201ed0000000000000000000000000101320032000300010009380010012f13"
    "94010938000502521394010200fc000002000000369c00000fee002300440000442601760100300200010cbb"
)

# Panels that show something where an inverter has a fault.
NEED_FAULTS = {"Errors and warnings", "Readings with errors"}

DAY_MS = 24 * 60 * 60 * 1000


class Wrong(Exception):
    """What is wrong, in a sentence."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def get(url, **parameters):
    if parameters:
        url += "?" + urllib.parse.urlencode(parameters)
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as refusal:
        raise Wrong(f"{url}: {refusal.code} {refusal.read().decode()}") from refusal


def wait_for(what, condition, patience=60):
    """Waits until `condition` gives something, and gives it."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except (OSError, Wrong, KeyError, IndexError):
            pass
        time.sleep(0.2)
    raise Wrong(f"{what}: not within {patience} s")


class Rendering:
    """The variables of a dashboard, put into its queries as Grafana does it."""

    def __init__(self, begin_ms, end_ms, inverter=".*", timezone="UTC"):
        self.begin_ms, self.end_ms, self.inverter, self.timezone = begin_ms, end_ms, inverter, timezone

    def span(self, panel):
        if days := panel.get("timeFrom"):
            return self.end_ms - int(days.removesuffix("d")) * DAY_MS, self.end_ms
        return self.begin_ms, self.end_ms

    def interval_s(self, panel):
        """As if the panel were a thousand points wide."""
        units = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
        least = panel.get("interval", "1s")
        begin, end = self.span(panel)
        return max(int(least[:-1]) * units[least[-1]], round((end - begin) / 1000 / 1000))

    def render(self, panel, query):
        begin, end = self.span(panel)
        interval = self.interval_s(panel)
        values = {
            "timeFilter": f"time >= {begin}ms and time <= {end}ms",
            "__interval": f"{interval}s",
            "__interval_ms": str(interval * 1000),
            # Four scrapes at least; the ones here are a second apart.
            "__rate_interval": f"{max(interval + 1, 4)}s",
            "__range": f"{(end - begin) // 1000}s",
            "inverter": self.inverter,
            "collector": ".+",
            "timezone": self.timezone,
        }
        rendered = re.sub(
            r"\$(__interval|__interval_ms|__rate_interval|__range|timeFilter|inverter|collector|timezone)\b",
            lambda name: values[name[1]],
            query,
        )
        if "$" in rendered.replace("/^", "").replace("$/", ""):
            raise Wrong(f"a variable that nobody knows: {rendered}")
        return rendered


class AskInflux:
    """Answers of InfluxDB: for each query its series, each with a name and points of a time in ms and a value."""

    def __init__(self, url):
        self.url = url

    def ask(self, rendering, panel, target):
        query = rendering.render(panel, target["query"])
        results = get(f"{self.url}/query", db="solar", q=query, epoch="ms")["results"]
        if "error" in results[0]:
            raise Wrong(f"{results[0]['error']}: {query}")
        for series in results[0].get("series", []):
            name = target["alias"].replace("$tag_inverter", series.get("tags", {}).get("inverter", ""))
            for column, title in enumerate(series["columns"][1:], 1):
                points = [(row[0], row[column]) for row in series["values"] if row[column] is not None]
                yield (name or title), points

    def names(self, query):
        results = get(f"{self.url}/query", db="solar", q=query)["results"]
        return [row[1] for row in results[0]["series"][0]["values"]]


class AskPrometheus:
    """The same of Prometheus."""

    def __init__(self, url):
        self.url = url

    def ask(self, rendering, panel, target):
        query = rendering.render(panel, target["expr"])
        begin, end = rendering.span(panel)
        if target.get("instant"):
            answer = get(f"{self.url}/api/v1/query", query=query, time=end / 1000)
        else:
            step = rendering.interval_s(panel)
            # Days begin at midnight, other steps at their multiples.
            begin, end = (int(moment / 1000) // step * step for moment in (begin, end))
            answer = get(f"{self.url}/api/v1/query_range", query=query, start=begin, end=end + step, step=step)
        for series in answer["data"]["result"]:
            labels = series["metric"]
            legend = target.get("legendFormat", "")
            name = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda label, labels=labels: labels.get(label[1], ""), legend)
            points = series.get("values") or [series["value"]]
            yield name, [(at * 1000, float(value)) for at, value in points]

    def names(self, query):
        query = query["query"].replace("$collector", ".+")
        metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
        return get(f"{self.url}/api/v1/label/{label}/values", **{"match[]": metric})["data"]


def load(server):
    text = (FOLDER / f"kstar-{server.kind}.json").read_text()
    board = json.loads(text)
    if board != dashboards.dashboard(server):
        raise Wrong(f"kstar-{server.kind}.json is not what dashboards.py writes")
    return board


def answers(board, asked, rendering, all_inverters):
    """Each panel with the series that it shows; all must show some."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            continue
        series = []
        for target in panel["targets"]:
            found = [(name, points) for name, points in asked.ask(rendering, panel, target) if points]
            # Without a BMS a battery tells no temperature, and the simulated ones have none.
            if not found and "battery_temperature" not in str(target):
                if all_inverters or panel["title"] not in NEED_FAULTS:
                    raise Wrong(f"{board['title']}, {panel['title']}: nothing in answer to {target}")
            series += found
        yield panel, series


def check_values(board, panel, series):
    unit = panel["fieldConfig"]["defaults"].get("unit", "short")
    least, most = POSSIBLE[unit]
    for name, points in series:
        for at, value in points:
            if isinstance(value, str):
                continue
            if not least <= value <= most:
                raise Wrong(f"{board['title']}, {panel['title']}, {name}: {value} {unit} at {at}")


class Plant:
    """The servers, simulated inverters and a collector, in a folder of their own."""

    def __init__(self, kstar, folder):
        self.kstar, self.folder, self.processes = kstar, pathlib.Path(folder), []
        self.influx, self.prometheus, self.victoria, self.http = (f"http://127.0.0.1:{free_port()}" for _ in range(4))

    def start(self, name, *command):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self.processes.append(process)
        return process

    def stop(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(20)

    def close(self):
        for process in reversed(self.processes):
            self.stop(process)

    def start_servers(self):
        address = self.influx.removeprefix("http://")
        (self.folder / "influxdb.conf").write_text(
            f"""reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"
[meta]
dir = "{self.folder}/influxdb/meta"
[data]
dir = "{self.folder}/influxdb/data"
wal-dir = "{self.folder}/influxdb/wal"
[http]
bind-address = "{address}"
log-enabled = false
"""
        )
        self.start("influxdb", "influxd", "-config", "influxdb.conf")
        (self.folder / "prometheus.yml").write_text(
            f"""scrape_configs:
  - job_name: kstar
    scrape_interval: 1s
    static_configs:
      - targets: ["{self.http.removeprefix("http://")}"]
"""
        )
        self.start(
            "prometheus",
            "prometheus",
            "--config.file=prometheus.yml",
            f"--storage.tsdb.path={self.folder}/prometheus",
            f"--web.listen-address={self.prometheus.removeprefix('http://')}",
        )
        self.start(
            "victoria-metrics",
            "victoria-metrics",
            f"-storageDataPath={self.folder}/victoria-metrics",
            f"-httpListenAddr={self.victoria.removeprefix('http://')}",
            "-promscrape.config=prometheus.yml",
            "-retentionPeriod=100y",
            "-search.latencyOffset=1s",
        )
        wait_for("InfluxDB", lambda: get(f"{self.influx}/query", q="CREATE DATABASE solar"))
        wait_for("Prometheus", lambda: get(f"{self.prometheus}/api/v1/status/buildinfo"))

    def simulate(self, name, count, *arguments):
        """Simulated inverters; gives their hosts."""
        command = [self.kstar, "simulate", "--listen", "127.0.0.1:0", "--no-discovery", "--inverters", str(count)]
        self.start(name, *command, *arguments)
        log = self.folder / f"{name}.log"
        return wait_for(name, lambda: len(hosts := re.findall(r'host = "(.+)"\n', log.read_text())) == count and hosts)

    def start_collector(self):
        """Two inverters of which it is always ten past one, so that all servers know the same, and one with faults."""
        (self.folder / "faulty.hex").write_text(FAULTY + "\n")
        hosts = self.simulate("sound", 2, "--speed", "0", "--start", "13:10")
        hosts += self.simulate("faulty", 1, "--replay", "faulty.hex", "--readdress")
        inverters = "".join(
            f'[[inverter]]\nname = "{name}"\nhost = "{host}"\n' for name, host in zip(NAMES, hosts, strict=True)
        )
        (self.folder / "kstar.toml").write_text(
            f"""state_dir = "state"
timezone = "UTC"
[collector]
poll_interval = "1s"
[http]
listen = "{self.http.removeprefix("http://")}"
{inverters}
[sinks.sqlite]
path = "history.db"
[sinks.influxdb]
url = "{self.influx}"
database = "solar"
"""
        )
        self.start("collector", self.kstar, "run", "--config", "kstar.toml")

    def readings(self):
        answer = get(f"{self.influx}/query", db="solar", q='SELECT count("reply_time") FROM "inverter"')
        return answer["results"][0]["series"][0]["values"][0][1]


def last(series):
    """The newest number of a panel with one value."""
    return series[0][1][-1][1]


def queries(arguments):
    for tool in ("influxd", "prometheus", "victoria-metrics"):
        if not shutil.which(tool):
            raise Wrong(f"{tool} is not installed: apt-get install influxdb prometheus victoria-metrics")
    boards = {server.kind: load(server) for server in dashboards.SERVERS}
    folder = tempfile.mkdtemp(prefix="kstar-grafana-")
    plant = Plant(arguments.kstar, folder)
    begin_ms = int(time.time() * 1000)
    try:
        plant.start_servers()
        plant.start_collector()
        wait_for("readings", lambda: plant.readings() >= len(NAMES) * arguments.readings, 10 * arguments.readings)
        end_ms = int(time.time() * 1000)
        rendering = Rendering(begin_ms - 1000, end_ms, timezone="UTC")
        shown = {}
        for name, kind, asked in [
            ("InfluxDB", "influxdb", AskInflux(plant.influx)),
            ("Prometheus", "prometheus", AskPrometheus(plant.prometheus)),
            ("VictoriaMetrics", "prometheus", AskPrometheus(plant.victoria)),
        ]:
            board = boards[kind]
            inverter = next(variable for variable in board["templating"]["list"] if variable["name"] == "inverter")
            names = asked.names(inverter["query"])
            if sorted(names) != sorted(NAMES):
                raise Wrong(f"{board['title']}: the variable inverter offers {names}")
            for chosen in (inverter["allValue"], "roof", "(barn|roof)"):
                all_inverters = chosen == inverter["allValue"]
                rendering.inverter = chosen
                count = 0
                for panel, series in answers(board, asked, rendering, all_inverters):
                    check_values(board, panel, series)
                    count += len(panel["targets"])
                    if all_inverters:
                        shown[name, panel["title"], panel["type"]] = series
                print(f"{name}, inverter {chosen}: {count} queries answered")
        compare(shown)
    except Wrong:
        print(f"logs: {folder}", file=sys.stderr)
        raise
    finally:
        plant.close()
    if not arguments.keep:
        shutil.rmtree(folder)


def compare(shown):
    """What the servers show as one number must be alike."""
    print(f"{'':28} {'InfluxDB':>12} {'Prometheus':>12} {'Victoria':>12}")
    for (name, title, kind), series in shown.items():
        others = [shown.get((other, title, kind)) for other in ("Prometheus", "VictoriaMetrics")]
        if name != "InfluxDB" or kind not in ("stat", "gauge") or not all(others):
            continue
        first, *rest = (last(each) for each in (series, *others))
        print(f"{title:28} {first:12.3f} {rest[0]:12.3f} {rest[1]:12.3f}")
        for value in rest:
            # Energies of the last two seconds, and how each server takes the ends of a time. A consumption by whole
            # minutes, as the other two have it, is good for a day and not for a minute and a half.
            if abs(value - first) > 0.05 * abs(first) + (0.2 if title == "Self-sufficiency" else 0.02):
                raise Wrong(f"{title}: InfluxDB says {first}, another server {value}")


# The versions of Grafana whose types the dashboards are held against.
VERSIONS = ["10.4.19", "11.6.16", "12.4.11", "13.2.3"]

# An enum of a type is one of its values in JSON, and that all the way down.
PLAIN = """
type Plain<T> =
  T extends string ? `${T}` :
  T extends (infer Item)[] ? Plain<Item>[] :
  T extends object ? { [Key in keyof T]: Plain<T[Key]> } : T;
"""

COMPILER = {
    "strict": True,
    "noEmit": True,
    "skipLibCheck": True,
    "target": "es2022",
    "module": "esnext",
    "moduleResolution": "bundler",
    "types": [],
}


def typed(folder, board):
    """A program that compiles if the dashboard has the types of the version that `folder` holds."""
    package = folder / "node_modules/@grafana/schema"
    lines = ["import type { Dashboard, Panel } from '@grafana/schema';", PLAIN]
    kinds = {panel["type"]: panel["type"].replace("-", "") for panel in board["panels"] if panel["type"] != "row"}
    for kind in kinds.values():
        files = package.glob(f"dist/*/raw/composable/{kind}/panelcfg/x/*types.gen.d.ts")
        # Where a version has its types twice, one of them only leads to the other.
        file = min(files, key=lambda file: (file.name != "types.gen.d.ts", file))
        lines.append(f"import type * as {kind} from './{file.relative_to(folder)}';".replace(".d.ts", ""))
    # What begins so is for the import, and gone afterwards.
    plain = {key: value for key, value in board.items() if not key.startswith("__")}
    lines.append(f"export const dashboard: Plain<Dashboard> = {json.dumps(plain, indent=1)};")
    for panel in board["panels"]:
        if kind := kinds.get(panel["type"]):
            for name, type_, value in [
                ("panel", "Panel", panel),
                ("options", f"Partial<{kind}.Options>", panel["options"]),
                ("custom", f"Partial<{kind}.FieldConfig>", panel["fieldConfig"]["defaults"].get("custom")),
            ]:
                if value is not None:
                    lines.append(f"export const {name}{panel['id']}: Plain<{type_}> = {json.dumps(value, indent=1)};")
    # Only older versions have the type of a query to Prometheus, and none has that of one to InfluxDB.
    if board["uid"] == "kstar-prometheus":
        for file in package.glob("dist/*/raw/composable/prometheus/dataquery/x/*types.gen.d.ts"):
            module = f"./{file.relative_to(folder)}".removesuffix(".d.ts")
            lines.append(f"import type {{ PrometheusDataQuery }} from '{module}';")
            targets = [target for panel in board["panels"] for target in panel.get("targets", [])]
            lines.append(f"export const targets: Plain<PrometheusDataQuery>[] = {json.dumps(targets, indent=1)};")
    return "\n".join(lines) + "\n"


def schema(arguments):
    for tool in ("node", "npm"):
        if not shutil.which(tool):
            raise Wrong(f"{tool} is not installed")
    boards = [load(server) for server in dashboards.SERVERS]
    for version in VERSIONS:
        with tempfile.TemporaryDirectory(prefix="kstar-grafana-") as name:
            folder = pathlib.Path(name)
            (folder / "package.json").write_text('{"private": true}')
            install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
            subprocess.run(
                [*install, f"@grafana/schema@{version}", "typescript@5"],
                cwd=folder,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            for board in boards:
                (folder / f"{board['uid']}.ts").write_text(typed(folder, board))
            (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": COMPILER}))
            compiled = subprocess.run(["npx", "tsc", "-p", "."], cwd=folder, capture_output=True, text=True)
            if compiled.returncode:
                raise Wrong(f"Grafana {version}:\n{compiled.stdout}{compiled.stderr}")
        print(f"Grafana {version}: {len(boards)} dashboards have its types")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    asking = commands.add_parser("queries", help="ask real servers every query")
    asking.add_argument("--kstar", type=lambda path: pathlib.Path(path).resolve(), default=ROOT / "target/debug/kstar")
    asking.add_argument("--readings", type=int, default=90, help="how many of each inverter to wait for")
    asking.add_argument("--keep", action="store_true", help="leave the servers' files")
    asking.set_defaults(run=queries)
    holding = commands.add_parser("schema", help="hold the JSON against Grafana's types")
    holding.set_defaults(run=schema)
    arguments = parser.parse_args()
    try:
        arguments.run(arguments)
    except Wrong as wrong:
        sys.exit(f"wrong: {wrong}")


if __name__ == "__main__":
    main()
