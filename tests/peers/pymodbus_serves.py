"""The program reads a server of pymodbus that holds the registers of a real GoodWe ET, and agrees with goodwe's reading of them."""

import asyncio
import json
import os
import sys
from pathlib import Path

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from fields import ET, disagreements
from program import read, section

CAPTURES = Path(__file__).parents[3] / "shared/packets/modbus"
BLOCKS = ["gw10k-et-device-info", "gw10k-et-running-data", "gw10k-et-battery-info", "gw10k-et-meter-data"]

UNKNOWN = "0 means unknown (G 7)"
EXCEPTIONS = {
    "battery_cell_temperature_max": UNKNOWN,
    "battery_cell_temperature_min": UNKNOWN,
    "battery_cell_voltage_max": UNKNOWN,
    "battery_cell_voltage_min": UNKNOWN,
}


def captured(name):
    """The registers of a captured reply, and what goodwe makes of them."""
    decoded = json.loads((CAPTURES / f"{name}.goodwe.json").read_text())
    reply = bytes.fromhex((CAPTURES / f"{name}.hex").read_text())
    data = reply[5 : 5 + 2 * decoded["registers"]]
    words = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
    return SimData(decoded["first_register"], values=words, datatype=DataType.REGISTERS), decoded["fields"]


async def main():
    if not CAPTURES.is_dir():
        assert not os.environ.get("CI"), f"{CAPTURES} is missing"
        print("NOT TESTED: the captures in ../shared/packets/modbus are missing")
        return
    blocks, fields = zip(*map(captured, BLOCKS))
    device, *values = fields
    theirs = {name: value for block in values for name, value in block.items()}
    machine = SimDevice(id=247, simdata=sorted(blocks, key=lambda block: block.address))
    server = ModbusTcpServer(machine, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    port = server.transport.sockets[0].getsockname()[1]
    configuration = section("goodwe-et", "modbus-tcp", port)
    line = await asyncio.to_thread(read, configuration)
    told = await asyncio.to_thread(read, configuration, "--device")
    await server.shutdown()
    found = disagreements(ET, theirs, line, EXCEPTIONS)
    if (told["serial"], told["model"]) != (device["serial_number"], device["model_name"]):
        found.append(f"it is {device}, and {told}")
    print(f"the program reads a real GoodWe ET from pymodbus: {len(line)} values, {len(found)} disagree")
    print("".join(f"  {text}\n" for text in found), end="")
    sys.exit(bool(found))


asyncio.run(main())
