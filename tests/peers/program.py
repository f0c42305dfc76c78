"""The program under test: simulated machines, and one poll of a machine as its line of JSON."""

import json
import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

PROGRAM = os.environ["KSTAR"]


@contextmanager
def simulated(family, via, *options):
    """A simulated machine whose time stands still: its section of a configuration, and its port."""
    command = [PROGRAM, "simulate", "--family", family, "--via", via, "--listen", "127.0.0.1:0", "--no-discovery"]
    command += ["--speed", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            section = ""
            while "host" not in section:
                line = process.stdout.readline()
                if not line:
                    raise RuntimeError(f"{command} ended")
                section += line
            yield section, int(re.search(r':(\d+)"', section)[1])
        finally:
            process.terminate()


def section(family, via, port, more=""):
    """The section of a configuration for a machine on a port of this machine."""
    return f'[[inverter]]\nname = "peer"\nfamily = "{family}"\nvia = "{via}"\nhost = "127.0.0.1:{port}"\n{more}'


def read(configuration, *options):
    """What `kstar read --json` says of the only inverter of a configuration."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kstar.toml"
        path.write_text(configuration)
        command = [PROGRAM, "read", "--config", path, "--json", *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60, check=True)
    return json.loads(done.stdout)
