#!/usr/bin/env python3
"""Measures whether an InfluxDB that hangs slows the other sinks down.

    cargo build --release && python3 benches/hanging.py

Two kinds of runs take turns: one with a server that confirms each write, one with a server that takes connections and
never answers. Reported is the median time from the inverter's reply to the JSON line, to the row in the history and to
the message at a subscriber of an MQTT broker (Debian's `mosquitto mosquitto-clients`), and their ratio. Everything runs
on loopback. Linux only.
"""

import argparse
import http.server
import json
import shutil
import socket
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from running import Run

POLLS = 200


class Confirms(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Timed(Run):
    """A run that knows when the line of which reply was read."""

    def read_lines(self):
        self.read_at = {}
        for line in self.process.stdout:
            self.read_at[number_of(line)] = time.perf_counter()
            self.first_after = 0
            self.first_line.set()


def number_of(line: bytes) -> int:
    return json.loads(line)["load_power"]


def wait(what: str, reached) -> None:
    begin = time.perf_counter()
    while not reached():
        if time.perf_counter() - begin > 10:
            raise SystemExit(f"in vain: {what}")


def measure(program: Path, influxdb_port: int, broker_port: int) -> dict:
    with tempfile.TemporaryDirectory() as name:
        sections = (
            f'[sinks.mqtt]\nurl = "mqtt://127.0.0.1:{broker_port}"\ntopics = "json"\n'
            f'[sinks.influxdb]\nurl = "http://127.0.0.1:{influxdb_port}"\ndatabase = "solar"\n'
        )
        listener = subprocess.Popen(
            ["mosquitto_sub", "-p", str(broker_port), "-t", "kstar/inverter/state"], stdout=subprocess.PIPE
        )
        heard_at = {}
        hear = lambda: [heard_at.setdefault(number_of(line), time.perf_counter()) for line in listener.stdout]
        threading.Thread(target=hear, daemon=True).start()
        run = Timed(program, Path(name), sections)
        run.start_time()
        # The hanging server is known to hang by then: the first delivery is given up after 5 s.
        for number in range(150):
            run.answer(number)
        reader = sqlite3.connect(run.history, isolation_level=None)
        version = lambda: reader.execute("pragma data_version").fetchone()[0]
        latencies = {"JSON line": [], "row in the history": [], "MQTT message": []}
        for number in range(1000, 1000 + POLLS):
            before = version()
            sent = run.answer(number)
            wait("a row", lambda: version() != before)
            latencies["row in the history"].append(time.perf_counter() - sent)
            wait("a line", lambda: number in run.read_at)
            latencies["JSON line"].append(run.read_at[number] - sent)
            wait("a message", lambda: number in heard_at)
            latencies["MQTT message"].append(heard_at[number] - sent)
        run.stop()
        listener.kill()
        return {what: statistics.median(values) * 1000 for what, values in latencies.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path(__file__).parent.parent / "target/release/kstar")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    well = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Confirms)
    threading.Thread(target=well.serve_forever, daemon=True).start()
    deaf = socket.create_server(("127.0.0.1", 0))
    broker_port = free_port()
    mosquitto = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as config:
        config.write(f"listener {broker_port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
        config.flush()
        broker = subprocess.Popen([mosquitto, "-c", config.name], stderr=subprocess.DEVNULL)
        wait("the broker", lambda: socket.socket().connect_ex(("127.0.0.1", broker_port)) == 0)
        try:
            results = {"well": [], "hanging": []}
            for _ in range(arguments.runs):
                for kind, port in (("well", well.server_port), ("hanging", deaf.getsockname()[1])):
                    results[kind].append(measure(arguments.program, port, broker_port))
        finally:
            broker.kill()
    print(f"medians of {arguments.runs} runs of {POLLS} polls each, in ms")
    for what in results["well"][0]:
        medians = [statistics.median(result[what] for result in results[kind]) for kind in ("well", "hanging")]
        print(f"{what:20} InfluxDB well {medians[0]:6.2f}, hanging {medians[1]:6.2f}, ratio {medians[1] / medians[0]:.2f}")


if __name__ == "__main__":
    main()
