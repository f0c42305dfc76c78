"""The inverter that the benches play, the programs that poll it, and the servers that they send to. Linux only (/proc)."""

import os
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

# "Send running data" as the program asks, from address B0 to 7F, and as the package goodwe does, from C0.
REQUESTS = {bytes.fromhex("aa55b07f0106000235"): 0xB0, bytes.fromhex("aa55c07f0106000245"): 0xC0}
# "Send ID info" of the package goodwe, which does not poll without an answer.
WHO = bytes.fromhex("aa55c07f0102000241")

# offset, struct format, figure: the capture "import-charge-1" of PROTOCOL section 10.
FIGURES = [
    (0, ">H", 1673), (2, ">H", 6), (4, "B", 2), (5, ">H", 1785), (7, ">H", 13), (9, "B", 2), (10, ">H", 493),
    (24, ">H", 256), (26, "B", 50), (28, "B", 50), (30, "B", 3), (34, ">H", 2360), (36, ">H", 16), (38, ">H", 303),
    (40, ">H", 5012), (42, "B", 1), (43, ">H", 2360), (45, ">H", 5), (47, ">H", 594), (49, ">H", 5012), (51, "B", 1),
    (52, "B", 2), (53, ">H", 252), (59, ">I", 13980), (63, ">I", 4078), (67, ">H", 35), (69, ">H", 68),
    (71, ">I", 17446), (75, ">H", 374), (77, "B", 1), (78, ">H", 48), (80, "B", 2), (81, ">H", 1),
]


def frame(to: int, kind: int, payload: bytes) -> bytes:
    body = bytes([0xAA, 0x55, 0x7F, to, 0x01, kind, len(payload)]) + payload
    return body + struct.pack(">H", sum(body) & 0xFFFF)


def reply(load_power: int, to: int = 0xB0) -> bytes:
    payload = bytearray(83)
    for offset, form, figure in FIGURES:
        struct.pack_into(form, payload, offset, figure)
    struct.pack_into(">H", payload, 47, load_power)
    return frame(to, 0x86, bytes(payload))


# Firmware, model and serial number that nobody has.
IDENTITY = frame(0xC0, 0x82, b"11111" + b"GW5000S-BP" + b" " * 16 + b"00000ESU00000000" + b" " * 17)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def connectable(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


class FarSides:
    """A broker and, where wanted, a time series database, and the sections that name them."""

    def __init__(self, folder: Path, database: bool = True):
        self.broker = free_port()
        listener = folder / "mosquitto.conf"
        # Without a delay of its own, so that it is the clients that are measured.
        listener.write_text(
            f"listener {self.broker} 127.0.0.1\nallow_anonymous true\nuser root\nset_tcp_nodelay true\n"
        )
        commands = {self.broker: [self.find("mosquitto"), "-c", listener]}
        self.sections = f'[sinks.mqtt]\nurl = "mqtt://127.0.0.1:{self.broker}"\n'
        if database:
            port = free_port()
            commands[port] = [
                self.find("victoria-metrics"), f"-storageDataPath={folder}/points", f"-httpListenAddr=127.0.0.1:{port}"
            ]
            self.sections += f'[sinks.influxdb]\nurl = "http://127.0.0.1:{port}"\norg = "home"\nbucket = "solar"\n'
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self.processes = [subprocess.Popen(command, **quiet) for command in commands.values()]
        deadline = time.monotonic() + 30
        while not all(map(connectable, commands)):
            if time.monotonic() > deadline:
                raise SystemExit("the broker or the database has not started within 30 s")
            time.sleep(0.1)

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


class Polling:
    """A process that polls the inverter which this script plays, with its history in a folder of its own."""

    def __init__(self, folder: Path):
        self.inverter = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.inverter.bind(("127.0.0.1", 0))
        self.inverter.settimeout(20)
        self.address = f"127.0.0.1:{self.inverter.getsockname()[1]}"
        self.history = folder / "history.db"
        self.first_line = threading.Event()
        self.lines = 0

    def start(self, command: list):
        self.started = time.perf_counter()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE)
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
            if request in REQUESTS:
                datagram = reply(number % 30000, REQUESTS[request])
                sent = time.perf_counter()
                self.inverter.sendto(datagram, peer)
                return sent
            if request == WHO:
                self.inverter.sendto(IDENTITY, peer)

    def start_time(self) -> float:
        self.answer(0)
        if not self.first_line.wait(20):
            raise SystemExit("no first line within 20 s")
        return self.first_after

    def cpu(self) -> float:
        # The clock of a process's CPU time (clock_getcpuclockid), in nanoseconds where /proc tells hundredths of seconds.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def memory(self) -> dict:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return {key: int(line.split()[1]) / 1024 for line in lines for key in ("VmRSS", "VmHWM") if line.startswith(key)}

    def stop(self, status: int = 0):
        self.process.send_signal(signal.SIGTERM)
        if self.process.wait(20) != status:
            raise SystemExit(f"the program ended with status {self.process.returncode}")
        self.inverter.close()


class Run(Polling):
    """One run of the program."""

    def __init__(self, program: Path, folder: Path, sections: str = "", interval: str = "50ms", http: bool = False):
        super().__init__(folder)
        self.http = free_port() if http else None
        if self.http:
            sections += f'[http]\nlisten = "127.0.0.1:{self.http}"\n'
        config = folder / "kstar.toml"
        config.write_text(
            f'state_dir = "{folder}"\n'
            f'[collector]\npoll_interval = "{interval}"\nallow_fast_polling = true\n'
            f'[[inverter]]\nhost = "{self.address}"\n'
            f'[sinks.stdout]\n[sinks.sqlite]\npath = "{self.history}"\n{sections}'
        )
        self.start([program, "--log-level", "error", "run", "--config", config])

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


def visible(run: Polling, polls: int) -> list:
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
