#!/usr/bin/env python3
"""A long outage of InfluxDB, with kills in the midst of it: what arrives in the end, and how fast.

    cargo build --release && python3 benches/outage.py

InfluxDB (Debian's `influxdb`, 1.6) is away while 16 simulated inverters are polled 40 times a second each. In that time
the collector is killed with SIGKILL five times and stopped with SIGTERM twice. Then the server starts, and the script
waits until the spool is empty. Compared is what was printed as JSON lines with what a query finds, key by key.
Everything runs on loopback in a folder of its own. Linux only (/proc).
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

INVERTERS = 16
FIRST_PORT = 28899
ENDS = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGKILL]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def query(port: int, text: str):
    address = f"http://127.0.0.1:{port}/query?" + urllib.parse.urlencode({"db": "solar", "q": text, "epoch": "ms"})
    with urllib.request.urlopen(urllib.request.Request(address, method="POST"), timeout=60) as answer:
        return json.load(answer)["results"][0].get("series", [])


def start_influxdb(folder: Path, port: int) -> subprocess.Popen:
    config = folder / "influxdb.conf"
    config.write_text(
        f'reporting-disabled = true\nbind-address = "127.0.0.1:{free_port()}"\n'
        f'[meta]\ndir = "{folder}/meta"\n[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\nquery-log-enabled = false\n'
        f'[http]\nbind-address = "127.0.0.1:{port}"\nlog-enabled = false\n[monitor]\nstore-enabled = false\n'
    )
    server = subprocess.Popen(["influxd", "-config", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=1)
            return server
        except OSError:
            time.sleep(0.05)


class Collector:
    def __init__(self, program: Path, folder: Path, number: int):
        self.lines = folder / f"lines-{number}"
        self.log = folder / f"log-{number}"
        self.process = subprocess.Popen(
            [program, "run", "--config", folder / "kstar.toml"],
            stdout=self.lines.open("wb"), stderr=self.log.open("wb"), cwd=folder,
        )

    def readings(self) -> list[tuple[str, str]]:
        keys = []
        for line in self.lines.read_bytes().split(b"\n")[:-1]:
            reading = json.loads(line)
            keys.append((reading["inverter"], reading["time"]))
        return keys

    def count(self) -> int:
        return self.lines.read_bytes().count(b"\n")

    def resident(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))

    def end(self, order: signal.Signals) -> tuple[int, float]:
        begin = time.monotonic()
        self.process.send_signal(order)
        code = self.process.wait(30)
        return code, time.monotonic() - begin


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", type=Path, default=Path("target/release/kstar"))
    arguments.add_argument("--readings", type=int, default=20_000, help="how many come during the outage")
    arguments = arguments.parse_args()
    program = arguments.program.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port = free_port()
        server = start_influxdb(folder, port)
        query(port, "CREATE DATABASE solar")
        simulator = subprocess.Popen(
            [program, "simulate", "--listen", f"127.0.0.1:{FIRST_PORT}", "--inverters", str(INVERTERS), "--no-discovery"],
            stdout=subprocess.DEVNULL,
        )
        inverters = "".join(
            f'[[inverter]]\nname = "i{number}"\nhost = "127.0.0.1:{FIRST_PORT + number}"\n' for number in range(INVERTERS)
        )
        (folder / "kstar.toml").write_text(
            f'state_dir = "{folder}/state"\n[collector]\npoll_interval = "25ms"\nallow_fast_polling = true\n{inverters}'
            f'[sinks.stdout]\n[sinks.influxdb]\nurl = "http://127.0.0.1:{port}"\ndatabase = "solar"\n'
        )
        collector = Collector(program, folder, 0)
        while collector.count() < 500:
            time.sleep(0.1)
        resident_before = collector.resident()
        server.kill()
        server.wait()

        printed, last_second = set(), set()
        each = arguments.readings // (len(ENDS) + 1)
        for number, order in enumerate(ENDS):
            while collector.count() < each:
                time.sleep(0.05)
            time.sleep(random.random())
            code, took = collector.end(order)
            keys = collector.readings()
            printed.update(keys)
            if order == signal.SIGKILL:
                newest = max(time for _, time in keys)
                newest_ms = to_ms(newest)
                last_second.update(key for key in keys if to_ms(key[1]) > newest_ms - 1000)
            print(f"{order.name}: {len(keys)} readings, exit status {code} after {took:.2f} s")
            collector = Collector(program, folder, number + 1)
        while len(printed) + collector.count() < arguments.readings or collector.count() < 500:
            time.sleep(0.05)
        resident_during = collector.resident()
        spool = folder / "state" / "spool-influxdb.db"
        print(f"spool at the end of the outage: {spool.stat().st_size} bytes")

        server = start_influxdb(folder, port)
        back = time.monotonic()
        while "delivering again" not in collector.log.read_text(errors="replace") and \
                "delivering sink=\"influxdb\"" not in collector.log.read_text(errors="replace"):
            time.sleep(0.01)
        first = time.monotonic()
        held_at_first = sum(values[1] for series in query(port, "SELECT count(reply_time) FROM inverter") for values in series["values"])
        asked = time.monotonic()
        while True:
            held = sum(values[1] for series in query(port, "SELECT count(reply_time) FROM inverter") for values in series["values"])
            if held >= len(printed) + collector.count() - len(last_second) and not (spool.exists() and spool.stat().st_size > 300_000):
                caught_up = time.monotonic()
                break
            time.sleep(0.02)
            if time.monotonic() - first > 120:
                raise SystemExit("it did not catch up within two minutes")
        print(f"server back; first delivery after {first - back:.1f} s; "
              f"{held - held_at_first} points in {caught_up - asked:.2f} s: {(held - held_at_first) / (caught_up - asked):.0f} a second")
        time.sleep(2)
        code, took = collector.end(signal.SIGTERM)
        printed.update(collector.readings())
        held = {
            (series["tags"]["inverter"], values[0])
            for series in query(port, "SELECT reply_time FROM inverter GROUP BY inverter")
            for values in series["values"]
        }
        wanted = {(inverter, to_ms(moment)) for inverter, moment in printed}
        forgiven = {(inverter, to_ms(moment)) for inverter, moment in last_second}
        missing = wanted - held
        print(f"printed {len(wanted)}, held {len(held)}, missing {len(missing)}, of them not of the last second before a kill "
              f"{len(missing - forgiven)}; held and never printed {len(held - wanted)} (printing is a sink of its own)")
        print(f"resident memory: {resident_before} kB before, {resident_during} kB at the end of the outage; "
              f"spool left: {spool.exists()}; exit status {code}")
        simulator.kill()
        server.kill()
        if missing - forgiven or code != 0:
            raise SystemExit(1)


def to_ms(moment: str) -> int:
    from datetime import datetime
    return round(datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() * 1000)


if __name__ == "__main__":
    main()
