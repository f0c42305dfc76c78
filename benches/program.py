#!/usr/bin/env python3
"""Measures the whole program, with SQLite and stdout, against an inverter that this script plays.

    cargo build --release && python3 benches/program.py

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
import signal
import socket
import sqlite3
import statistics
import struct
import subprocess
import tempfile
import threading
import time
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


class Run:
    """One run of the program, in a folder of its own."""

    def __init__(self, program: Path, folder: Path, sections: str = ""):
        self.inverter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inverter.bind(("127.0.0.1", 0))
        self.inverter.settimeout(20)
        self.history = folder / "history.db"
        config = folder / "kstar.toml"
        port = self.inverter.getsockname()[1]
        config.write_text(
            f'state_dir = "{folder}"\n'
            '[collector]\npoll_interval = "50ms"\nallow_fast_polling = true\n'
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

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(20) != 0:
            raise SystemExit(f"the program ended with status {self.process.returncode}")
        self.inverter.close()


def measure(program: Path, polls: int) -> dict:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = Run(program, folder)
        start = run.start_time()
        # Device info is asked for and not answered in the beginning; that is not what is measured.
        for number in range(60):
            run.answer(number)
        before = run.cpu()
        for number in range(polls):
            run.answer(number)
        cpu = (run.cpu() - before) / polls * 1000
        memory = run.memory()
        latencies = visible(run, polls // 4)
        run.stop()
        rows = sqlite3.connect(run.history).execute("select count(*) from readings").fetchone()[0]
        # The last reply may come too late to be taken.
        answered = 1 + 60 + polls + polls // 4
        if not answered - 1 <= rows <= answered or not answered - 1 <= run.lines <= answered:
            raise SystemExit(f"{answered} replies, but {rows} rows and {run.lines} lines")
        again = Run(program, folder)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=Path(__file__).parent.parent / "target/release/kstar")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--polls", type=int, default=400, help="polls of a run over which CPU time is measured")
    arguments = parser.parse_args()
    results = []
    for run in range(arguments.runs):
        results.append(measure(arguments.program, arguments.polls))
        print(f"run {run + 1}: " + ", ".join(f"{key} {value:.2f}" for key, value in results[-1].items()), flush=True)
    print(f"\nmedian of {arguments.runs} runs")
    for key in results[0]:
        figures = sorted(result[key] for result in results)
        print(f"{key:26} {statistics.median(figures):8.2f}   ({figures[0]:.2f} to {figures[-1]:.2f})")


if __name__ == "__main__":
    main()
