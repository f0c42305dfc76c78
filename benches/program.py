#!/usr/bin/env python3
"""Measures the whole program, with SQLite and stdout, against an inverter that this script plays.

    cargo build --release && python3 benches/program.py
    python3 benches/program.py --far-sides --http --memory    # where the memory of all of it is

With --far-sides there are MQTT and InfluxDB too: Debian's mosquitto and victoria-metrics are started for them. With --http
the program's own server listens, and is asked for its metrics and readings before memory is measured.

Each run starts the program afresh with a new history at 20 polls a second. Reported is the median of the runs of

- memory: resident at the end of the run (VmRSS, with the peak VmHWM beside it), after hundreds of polls;
- CPU: user and system time per 1000 polls;
- latency: from the reply leaving this script to its row being visible on another connection to the history;
- start: from starting the process to the first JSON line on its standard output, with a new history and an old one.

The inverter's reply is a column of PROTOCOL section 10 with one field counting up, so that every row is new. Only
Python's standard library is needed; Linux only (/proc).
"""

import argparse
import os
import shutil
import signal
import socket
import sqlite3
import statistics
import struct
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

RUNNING = bytes.fromhex("aa55b07f0106000235")

# offset, struct format, figure: the capture "import-charge-1" of PROTOCOL section 10.
FIGURES = [
    (0, ">H", 1673), (2, ">H", 6), (4, "B", 2), (5, ">H", 1785), (7, ">H", 13), (9, "B", 2), (10, ">H", 493),
    (24, ">H", 256), (26, "B", 50), (28, "B", 50), (30, "B", 3), (34, ">H", 2360), (36, ">H", 16), (38, ">H", 303),
    (40, ">H", 5012), (42, "B", 1), (43, ">H", 2360), (45, ">H", 5), (47, ">H", 594), (49, ">H", 5012), (51, "B", 1),
    (52, "B", 2), (53, ">H", 252), (59, ">I", 13980), (63, ">I", 4078), (67, ">H", 35), (69, ">H", 68),
    (71, ">I", 17446), (75, ">H", 374), (77, "B", 1), (78, ">H", 48), (80, "B", 2), (81, ">H", 1),
]


def reply(load_power: int) -> bytes:
    payload = bytearray(83)
    for offset, form, figure in FIGURES:
        struct.pack_into(form, payload, offset, figure)
    struct.pack_into(">H", payload, 47, load_power)
    frame = bytes.fromhex("aa557fb0018653") + payload
    return frame + struct.pack(">H", sum(frame) & 0xFFFF)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def connectable(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


class FarSides:
    """A broker and a time series database, and the sections that name them."""

    def __init__(self, folder: Path):
        self.broker, self.database = free_port(), free_port()
        broker = self.find("mosquitto")
        database = self.find("victoria-metrics")
        listener = folder / "mosquitto.conf"
        listener.write_text(f"listener {self.broker} 127.0.0.1\nallow_anonymous true\nuser root\n")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.processes = [
            subprocess.Popen([broker, "-c", listener], **quiet),
            subprocess.Popen(
                [database, f"-storageDataPath={folder}/points", f"-httpListenAddr=127.0.0.1:{self.database}"], **quiet
            ),
        ]
        deadline = time.monotonic() + 30
        while not all(map(connectable, (self.broker, self.database))):
            if time.monotonic() > deadline:
                raise SystemExit("the broker or the database has not started within 30 s")
            time.sleep(0.1)
        self.sections = (
            f'[sinks.mqtt]\nurl = "mqtt://127.0.0.1:{self.broker}"\n'
            f'[sinks.influxdb]\nurl = "http://127.0.0.1:{self.database}"\norg = "home"\nbucket = "solar"\n'
        )

    @staticmethod
    def find(name: str) -> str:
        found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        if found is None:
            raise SystemExit(f"{name} is not installed: apt-get install mosquitto victoria-metrics")
        return found

    def stop(self):
        for process in self.processes:
            process.terminate()
            process.wait(20)


class Run:
    """One run of the program, in a folder of its own."""

    def __init__(self, program: Path, folder: Path, sections: str = "", interval: str = "50ms", http: bool = False):
        self.http = free_port() if http else None
        if self.http:
            sections += f'[http]\nlisten = "127.0.0.1:{self.http}"\n'
        self.inverter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inverter.bind(("127.0.0.1", 0))
        self.inverter.settimeout(20)
        self.history = folder / "history.db"
        config = folder / "kstar.toml"
        port = self.inverter.getsockname()[1]
        config.write_text(
            f'state_dir = "{folder}"\n'
            f'[collector]\npoll_interval = "{interval}"\nallow_fast_polling = true\n'
            f'[[inverter]]\nhost = "127.0.0.1:{port}"\n'
            f'[sinks.stdout]\n[sinks.sqlite]\npath = "{self.history}"\n{sections}'
        )
        self.first_line = threading.Event()
        self.lines = 0
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [program, "--log-level", "error", "run", "--config", config], stdout=subprocess.PIPE
        )
        threading.Thread(target=self.read_lines, daemon=True).start()

    def read_lines(self):
        for _ in self.process.stdout:
            if not self.first_line.is_set():
                self.first_after = time.perf_counter() - self.started
                self.first_line.set()
            self.lines += 1

    def answer(self, number: int) -> float:
        """Answers the next request for running data; other requests get no answer. Returns when."""
        while True:
            request, peer = self.inverter.recvfrom(64)
            if request == RUNNING:
                datagram = reply(number % 30000)
                sent = time.perf_counter()
                self.inverter.sendto(datagram, peer)
                return sent

    def start_time(self) -> float:
        self.answer(0)
        if not self.first_line.wait(20):
            raise SystemExit("no first line within 20 s")
        return self.first_after

    def cpu(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> dict:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return {key: int(line.split()[1]) / 1024 for line in lines for key in ("VmRSS", "VmHWM") if line.startswith(key)}

    def ask(self, past: bool = False):
        """Asks the program's own server what its users ask it for."""
        now = ["/metrics", "/health", "/api/v1/readings/latest", "/api/v1/inverters", "/api/v1/sinks"]
        past_paths = ["/api/v1/readings?from=1h", "/api/v1/readings?from=1d&resolution=5min", "/api/v1/report?period=month"]
        for path in now + (past_paths if past else []) + ["/metrics"]:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=20) as answer:
                answer.read()

    def mappings(self) -> dict:
        """What is resident by where it comes from, in KiB: all of it, and what is this process's alone."""
        sums, kind = {}, ""
        for line in Path(f"/proc/{self.process.pid}/smaps").read_text().splitlines():
            words = line.split()
            if not words[0].endswith(":"):
                path = words[5] if len(words) > 5 else ""
                name = Path(path).name
                if name == Path(self.process.args[0]).name:
                    kind = {"r--p": "program, constants", "r-xp": "program, code"}.get(words[1], "program, data")
                    if kind == "program, constants" and "program, code" in sums:
                        # Behind the code are the constants with addresses in them, which are made at the start.
                        kind = "program, constants with addresses"
                elif name.startswith("lib") or name.startswith("ld-"):
                    kind = "libraries"
                elif path.startswith("/"):
                    kind = "files"
                else:
                    kind = path or "other memory (arenas, stacks)"
            elif words[0] in ("Rss:", "Private_Dirty:"):
                pair = sums.setdefault(kind, [0, 0])
                pair[words[0] == "Private_Dirty:"] += int(words[1])
        return sums

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(20) != 0:
            raise SystemExit(f"the program ended with status {self.process.returncode}")
        self.inverter.close()


def measure(program: Path, polls: int, sections: str, http: bool) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = Run(program, folder, sections, http=http)
        start = run.start_time()
        # Device info is asked for and not answered in the beginning; that is not what is measured.
        for number in range(60):
            run.answer(number)
        before = run.cpu()
        for number in range(polls):
            run.answer(number)
        cpu = (run.cpu() - before) / polls * 1000
        if http:
            run.ask()
        memory = run.memory()
        latencies = visible(run, polls // 4)
        run.stop()
        rows = sqlite3.connect(run.history).execute("select count(*) from readings").fetchone()[0]
        # The last reply may come too late to be taken.
        answered = 1 + 60 + polls + polls // 4
        if not answered - 1 <= rows <= answered or not answered - 1 <= run.lines <= answered:
            raise SystemExit(f"{answered} replies, but {rows} rows and {run.lines} lines")
        again = Run(program, folder, sections, http=http)
        old_start = again.start_time()
        again.stop()
    return {
        "memory (MiB)": memory["VmRSS"],
        "peak memory (MiB)": memory["VmHWM"],
        "CPU (s per 1000 polls)": cpu,
        "latency (ms)": statistics.median(latencies) * 1000,
        "start, new history (ms)": start * 1000,
        "start, old history (ms)": old_start * 1000,
    }


def visible(run: Run, polls: int) -> list:
    """How long rows take to be visible. It spins, so the CPU time is not measured meanwhile."""
    reader = sqlite3.connect(run.history, isolation_level=None)
    version = lambda: reader.execute("pragma data_version").fetchone()[0]
    latencies = []
    for number in range(polls):
        before = version()
        sent = run.answer(number)
        while version() == before:
            if time.perf_counter() - sent > 5:
                raise SystemExit("no row within 5 s")
        latencies.append(time.perf_counter() - sent)
    return latencies


def show_memory(program: Path, polls: int, sections: str, http: bool, interval: str):
    with tempfile.TemporaryDirectory() as name:
        run = Run(program, Path(name), sections, interval, http)
        run.start_time()
        for number in range(polls):
            run.answer(number)
        if http:
            run.ask()
        mappings = run.mappings()
        if http:
            run.ask(past=True)
        later = run.memory()["VmRSS"]
        threads = len(list(Path(f"/proc/{run.process.pid}/task").iterdir()))
        run.stop()
    print(f"{polls} polls every {interval}, {threads} threads")
    print(f"{'KiB':34} {'resident':>9} {'of it written':>14}")
    for kind, (resident, written) in sorted(mappings.items(), key=lambda item: -item[1][0]):
        print(f"{kind:34} {resident:9} {written:14}")
    resident, written = (sum(column) for column in zip(*mappings.values()))
    print(f"{'all':34} {resident:9} {written:14}")
    if http:
        print(f"after questions about the past: {later:.1f} MiB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path(__file__).parent.parent / "target/release/kstar")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--polls", type=int, default=400, help="polls of a run over which CPU time is measured")
    parser.add_argument("--far-sides", action="store_true", help="with MQTT and InfluxDB")
    parser.add_argument("--http", action="store_true", help="with the program's own server")
    parser.add_argument("--memory", action="store_true", help="show where the memory is, and nothing else")
    parser.add_argument("--interval", default="50ms", help="the poll interval for --memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        far_sides = FarSides(Path(name)) if arguments.far_sides else None
        try:
            measure_all(arguments, far_sides.sections if far_sides else "")
        finally:
            if far_sides:
                far_sides.stop()


def measure_all(arguments, sections: str):
    if arguments.memory:
        show_memory(arguments.program, arguments.polls, sections, arguments.http, arguments.interval)
        return
    results = []
    for run in range(arguments.runs):
        results.append(measure(arguments.program, arguments.polls, sections, arguments.http))
        print(f"run {run + 1}: " + ", ".join(f"{key} {value:.2f}" for key, value in results[-1].items()), flush=True)
    print(f"\nmedian of {arguments.runs} runs")
    for key in results[0]:
        figures = sorted(result[key] for result in results)
        print(f"{key:26} {statistics.median(figures):8.2f}   ({figures[0]:.2f} to {figures[-1]:.2f})")


if __name__ == "__main__":
    main()
