"""The floor, the program and a plain Python collector in turns: `program.py --compare`."""

import contextlib
import select
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from running import FarSides, Polling, Run, visible

HERE = Path(__file__).parent
TARGET = HERE.parent / "target"
# Pinned, so that newer ones are a change that somebody makes.
PACKAGES = ["goodwe==0.4.10", "paho-mqtt==2.2.0"]

CPU, MEMORY = "CPU time for 1000 polls (s)", "resident memory (MiB)"
ROW, MESSAGE = "from the reply to a row that another process sees (ms)", "from the reply to an MQTT subscriber (ms)"


class Other(Polling):
    """A run of a collector that is told by arguments what to do, and ends as signals end a process."""

    def __init__(self, command: list, folder: Path, more: list):
        super().__init__(folder)
        self.start([*command, self.address, folder, "50", *more])

    def stop(self):
        super().stop(-signal.SIGTERM)


class Subscriber:
    """Hears everything at a broker, as much of MQTT 3.1.1 as that needs."""

    def __init__(self, port: int):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.send(0x10, b"\0\4MQTT\4\2\0\0\0\5bench")
        self.send(0x82, b"\0\1\0\1#\0")
        answers = b""
        while len(answers) < 9:
            answers += self.socket.recv(9 - len(answers))
        if answers != bytes.fromhex("20020000") + bytes.fromhex("9003000100"):
            raise SystemExit(f"the broker answered {answers.hex()}")

    def send(self, kind: int, content: bytes):
        self.socket.sendall(bytes([kind, len(content)]) + content)

    def last_before(self, inverter: socket.socket) -> float:
        """When the last message came before the inverter is asked again."""
        last, begin = None, time.perf_counter()
        while time.perf_counter() - begin < 5:
            ready, _, _ = select.select([self.socket, inverter], [], [], 1)
            if self.socket in ready:
                self.socket.recv(65536)
                last = time.perf_counter()
            elif inverter in ready and last:
                return last
        raise SystemExit("no message or no request within 5 s")


def python() -> Path:
    """A Python that has what the plain collector needs."""
    folder = TARGET / "benches-venv"
    installed = folder / "installed"
    if not installed.exists() or installed.read_text().split() != PACKAGES:
        venv.create(folder, clear=True, with_pip=True)
        pip = [folder / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True)
        installed.write_text("\n".join(PACKAGES))
    return folder / "bin/python"


def starters(program: Path, mqtt: str, far_sides: FarSides) -> dict:
    """How each of the three is started in a folder."""
    broker, sections = [], ""
    if mqtt:
        broker = [f"127.0.0.1:{far_sides.broker}"]
        topics = {"json": "json", "topics": "quantities"}[mqtt]
        sections = far_sides.sections + f'topics = "{topics}"\n'
    floor, script = [TARGET / "release/kstar-floor"], [python(), HERE / "collector.py"]
    return {
        "floor": lambda folder: Other(floor, folder, broker),
        "collector": lambda folder: Run(program, folder, sections),
        "Python": lambda folder: Other(script, folder, [*broker, mqtt] if mqtt else []),
    }


def measure(start, polls: int, port: int) -> dict:
    with tempfile.TemporaryDirectory() as name:
        run = start(Path(name))
        run.start_time()
        # What the start brings with it is not what is measured.
        for number in range(60):
            run.answer(number)
        before = run.cpu()
        for number in range(polls):
            run.answer(number)
        results = {CPU: (run.cpu() - before) / polls * 1000, MEMORY: run.memory()["VmRSS"]}
        latencies = polls // 4
        results[ROW] = statistics.median(visible(run, latencies)) * 1000
        answered = 1 + 60 + polls + latencies
        if port:
            results[MESSAGE] = statistics.median(heard(run, port, latencies)) * 1000
            answered += latencies
        run.stop()
        with contextlib.closing(sqlite3.connect(run.history)) as history:
            rows = history.execute("select count(*) from readings").fetchone()[0]
        # The last reply may come too late to be taken.
        if not answered - 1 <= rows <= answered or not answered - 1 <= run.lines <= answered:
            raise SystemExit(f"{answered} replies, but {rows} rows and {run.lines} lines")
        return results


def heard(run: Polling, port: int, polls: int) -> list:
    """How long the last message of each reading takes to a subscriber."""
    subscriber = Subscriber(port)
    # What is retained comes at once.
    run.answer(0)
    subscriber.last_before(run.inverter)
    latencies = []
    for number in range(1, polls):
        sent = run.answer(number)
        latencies.append(subscriber.last_before(run.inverter) - sent)
    subscriber.socket.close()
    return latencies


def compare(program: Path, runs: int, polls: int, mqtt: str):
    with tempfile.TemporaryDirectory() as name:
        far_sides = FarSides(Path(name), database=False) if mqtt else None
        try:
            kinds = starters(program, mqtt, far_sides)
            results = {kind: [] for kind in kinds}
            for run in range(runs):
                for kind, start in kinds.items():
                    results[kind].append(measure(start, polls, far_sides.broker if mqtt else 0))
                    figures = ", ".join(f"{what} {figure:.2f}" for what, figure in results[kind][-1].items())
                    print(f"run {run + 1}, {kind}: {figures}", file=sys.stderr, flush=True)
        finally:
            if far_sides:
                far_sides.stop()
    show(results)


def show(results: dict):
    print("| what | floor | collector | Python | collector / floor | collector / Python |\n|---|---|---|---|---|---|")
    for what in results["floor"][0]:
        floor, collector, script = (statistics.median(one[what] for one in results[kind]) for kind in results)
        ratios = f"{collector / floor:.2f} | {collector / script:.2f}"
        print(f"| {what} | {floor:.2f} | {collector:.2f} | {script:.2f} | {ratios} |")
