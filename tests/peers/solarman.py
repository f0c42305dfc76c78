"""Two directions over Solarman V5: pysolarmanv5 reads our simulated stick, and the program reads a stick whose Modbus is uModbus."""

import queue
import socketserver
import sys
import threading

from pysolarmanv5 import PySolarmanV5, V5FrameError
from umodbus.route import Map
from umodbus.server.serial.rtu import RTUServer

from kstar_registers import REGISTERS, disagreements
from program import read, section, simulated

LOGGER = 2712847316
INPUTS = [(3000, 125), (3125, 29), (3292, 10), (3193, 1), (3228, 11)]
HOLDINGS = [(3200, 18)]

# pysolarmanv5 loses a reply that comes at once, and frames that come in one piece it cannot take apart.
STICK = ["--logger-serial", str(LOGGER), "--latency", "50ms", "--heartbeat", "130ms", "--faults", "double-crc=0.5"]


def asked(ask, first, count, tries=5):
    """Registers of the stick. On a busy machine pysolarmanv5 loses a reply, or meets it in one piece with a heartbeat: ask again."""
    for left in reversed(range(tries)):
        try:
            return ask(first, count)
        except (V5FrameError, queue.Empty):
            if not left:
                raise


def registers_of_the_stick(port):
    """All registers of a simulated stick, by somebody else."""
    client = PySolarmanV5("127.0.0.1", LOGGER, port=port, mb_slave_id=1, socket_timeout=3)
    found = []
    for ask, blocks in [(client.read_input_registers, INPUTS), (client.read_holding_registers, HOLDINGS)]:
        space = {}
        for first, count in blocks:
            for _ in range(5):
                words = asked(ask, first, count)
                assert len(words) == count, (first, words)
            space.update(enumerate(words, first))
        found.append(space)
    client.disconnect()
    return found


def checksum(frame):
    return sum(frame[1:]) & 0xFF


def v5_frame(control, sequence, payload):
    frame = bytes([0xA5]) + len(payload).to_bytes(2, "little") + control
    frame += bytes([sequence, 0]) + LOGGER.to_bytes(4, "little") + payload
    return frame + bytes([checksum(frame), 0x15])


def modbus(inputs, holdings):
    """A machine with these registers and no others."""
    machine = RTUServer()
    machine.route_map = Map()
    for function, space in [(4, inputs), (3, holdings)]:
        machine.route_map.add_rule(lambda slave_id, function_code, address, space=space: space[address], [1], [function], list(space))
    return machine


class Stick(socketserver.BaseRequestHandler):
    """What stands around Modbus on a Solarman stick."""

    def handle(self):
        while request := self.request.recv(1024):
            assert len(request) == 36 and request[:5] == bytes([0xA5, 23, 0, 0x10, 0x45]), request.hex()
            assert request[-2:] == bytes([checksum(request[:-2]), 0x15]), request.hex()
            sequence = request[5]
            # A heartbeat comes before each reply, and wants no answer.
            self.request.sendall(v5_frame(b"\x10\x47", sequence, b"\x00"))
            is_ours = int.from_bytes(request[7:11], "little") == LOGGER
            reply = self.server.machine.process(request[26:-2]) if is_ours else b"\x06\x00"
            self.request.sendall(v5_frame(b"\x10\x15", sequence, b"\x02\x01" + bytes(12) + reply))


def read_through_umodbus(inputs, holdings):
    """What the program reads of a stick with these registers."""
    with socketserver.TCPServer(("127.0.0.1", 0), Stick) as server:
        server.machine = modbus(inputs, holdings)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        configuration = section("kstar-hybrid", "solarman", server.server_address[1])
        line = read(configuration)
        device = read(configuration, "--device")
        server.shutdown()
    return line, device


def differing(one, other):
    changing = {"time", "inverter", "reply_time"}
    return [f"{key}: {one.get(key)} and {other.get(key)}" for key in {*one, *other} - changing if one.get(key) != other.get(key)]


def main():
    with simulated("kstar-hybrid", "solarman", *STICK) as (configuration, port):
        inputs, holdings = registers_of_the_stick(port)
        line = read(configuration)
        device = read(configuration, "--device")
    found = disagreements(inputs, line)
    print(f"pysolarmanv5 reads the simulated stick: {len(REGISTERS)} values, {len(found)} disagree")
    again, device_again = read_through_umodbus(inputs, holdings)
    more = differing(line, again) + differing(device, device_again)
    print(f"the program reads a stick with uModbus: {len(again)} values, {len(more)} disagree")
    print("".join(f"  {text}\n" for text in found + more), end="")
    sys.exit(bool(found or more))


main()
