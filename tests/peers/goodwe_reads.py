"""goodwe reads our simulated GoodWe machines, and agrees with what the program reads of them, value by value."""

import asyncio
import sys

import goodwe
from goodwe.protocol import TcpInverterProtocol, UdpInverterProtocol

from fields import DT, ET, disagreements
from program import read, simulated

WAYS = {"udp": UdpInverterProtocol, "modbus-tcp": TcpInverterProtocol}

NOT_COUNTED = "0 means that this machine does not count (G 6)"
BOTH = "the sum of both batteries, of which goodwe shows the first"

# Family, way, options of the simulator, goodwe's class, values, and what disagrees for a reason.
MACHINES = [
    ("goodwe-et", "udp", [], goodwe.ET, ET, {}),
    ("goodwe-et", "modbus-tcp", [], goodwe.ET, ET, {}),
    ("goodwe-et", "udp", ["--meter", "58", "--second-battery", "--seed", "2"], goodwe.ET, ET, {
        "battery_power": BOTH,
        "inverter_grid_export_energy_total": NOT_COUNTED,
        "inverter_grid_import_energy_total": NOT_COUNTED,
    }),
    ("goodwe-et", "modbus-tcp", ["--start", "22:30", "--seed", "3"], goodwe.ET, ET, {}),
    ("goodwe-dt", "udp", [], goodwe.DT, DT, {}),
    ("goodwe-dt", "udp", ["--start", "09:30", "--seed", "4"], goodwe.DT, DT, {}),
]


async def ask(kind, via, port):
    # goodwe decides by the port, and these are not the usual ones.
    class Machine(kind):
        _create_protocol = staticmethod(WAYS[via])

    machine = Machine("127.0.0.1", port, 0, 2, 3)
    await machine.read_device_info()
    return machine, await machine.read_runtime_data()


def main():
    failures = 0
    for family, via, options, kind, fields, exceptions in MACHINES:
        with simulated(family, via, *options) as (configuration, port):
            machine, theirs = asyncio.run(ask(kind, via, port))
            line = read(configuration)
            device = read(configuration, "--device")
        found = disagreements(fields, theirs, line, exceptions)
        if (machine.serial_number, machine.model_name) != (device["serial"], device["model"]):
            found.append(f"it is {machine.serial_number} {machine.model_name}, and {device}")
        name = f"{family} {via} {' '.join(options)}".strip()
        print(f"{name}: {len(line)} values, {len(found)} disagree")
        print("".join(f"  {text}\n" for text in found), end="")
        failures += len(found)
    sys.exit(failures > 0)


main()
