#!/usr/bin/env python3
"""Measures the whole program, with SQLite and stdout, against an inverter that this script plays.

    cargo build --release && python3 benches/program.py
    python3 benches/program.py --far-sides --http --memory    # where the memory of all of it is
    python3 benches/program.py --compare --with-mqtt json     # beside the floor and a Python collector

With --far-sides there are MQTT and InfluxDB too: Debian's mosquitto and victoria-metrics are started for them. With --http
the program's own server listens, and is asked for its metrics and readings before memory is measured.

With --compare three take turns: benches/floor, which does no more than the work needs (`cargo build --release -p
kstar-floor`), the program, and benches/collector.py, a plain Python collector. What that one needs from PyPI is installed
below target/. Ratios of their medians are printed as the table of docs/benchmarks.md. --with-mqtt adds MQTT: as one JSON
message from all three, or as a topic for each value, where the floor still sends one message.

Each run starts the program afresh with a new history at 20 polls a second. Reported is the median of the runs of

- memory: resident at the end of the run (VmRSS, with the peak VmHWM beside it), after hundreds of polls;
- CPU: user and system time per 1000 polls;
- latency: from the reply leaving this script to its row being visible on another connection to the history;
- start: from starting the process to the first JSON line on its standard output, with a new history and an old one.

The inverter's reply is a column of PROTOCOL section 10 with one field counting up, so that every row is new. Without
--compare only Python's standard library is needed; Linux only (/proc).
"""

import argparse
import sqlite3
import statistics
import tempfile
from pathlib import Path

import comparison
from running import FarSides, Run, visible


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
    parser.add_argument("--compare", action="store_true", help="measure beside the floor and a Python collector")
    parser.add_argument("--with-mqtt", choices=["json", "topics"], help="with MQTT, for --compare")
    parser.add_argument("--memory", action="store_true", help="show where the memory is, and nothing else")
    parser.add_argument("--interval", default="50ms", help="the poll interval for --memory")
    arguments = parser.parse_args()
    if arguments.compare:
        comparison.compare(arguments.program, arguments.runs, arguments.polls, arguments.with_mqtt)
        return
    if arguments.with_mqtt:
        parser.error("--with-mqtt goes with --compare")
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
