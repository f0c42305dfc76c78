"""A plain Python collector to compare with: what one writes in an evening, with the packages that people use for it.

    python3 collector.py INVERTER FOLDER INTERVAL_MS [BROKER json|topics]

Each poll becomes a row in a SQLite history, a JSON line, and with a broker one JSON message or a topic for each value.
It counts no energy, keeps no state and checks no value. `benches/program.py --compare` measures the program against it.
"""

import asyncio
import json
import sqlite3
import sys
import time

import goodwe
import paho.mqtt.client as mqtt
from goodwe.protocol import UdpInverterProtocol


class Inverter(goodwe.ES):
    # The package speaks UDP with port 8899 alone, and the bench's inverter has another.
    _create_protocol = staticmethod(UdpInverterProtocol)


def connect_broker(address: str) -> mqtt.Client:
    host, port = address.split(":")
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.connect(host, int(port))
    client.loop_start()
    return client


def open_history(path: str, names: list) -> tuple:
    history = sqlite3.connect(path, isolation_level=None)
    history.execute("PRAGMA journal_mode = WAL")
    history.execute("PRAGMA synchronous = NORMAL")
    columns = ", ".join(f'"{name}"' for name in names)
    history.execute(f"CREATE TABLE IF NOT EXISTS readings (time INTEGER PRIMARY KEY, {columns})")
    return history, f"INSERT INTO readings VALUES ({', '.join('?' * (len(names) + 1))})"


def publish(client: mqtt.Client, form: str, line: str, values: dict):
    if form == "json":
        client.publish("python/inverter/state", line, qos=1, retain=True)
        return
    for name, value in values.items():
        client.publish(f"python/inverter/{name}", value, qos=1, retain=True)


async def main(address: str, folder: str, interval_ms: str, broker: str = "", form: str = ""):
    host, port = address.split(":")
    inverter = Inverter(host, int(port))
    await inverter.read_device_info()
    # What is beyond the end of a KSE's reply is not there.
    names = [sensor.id_ for sensor in inverter.sensors() if sensor.offset < 83]
    history, insert = open_history(f"{folder}/history.db", names)
    client = connect_broker(broker) if broker else None
    due = time.monotonic()
    while True:
        sensors = await inverter.read_runtime_data()
        now_ms = int(time.time() * 1000)
        values = {name: sensors[name] for name in names}
        line = json.dumps({"time": now_ms, **values})
        if client:
            publish(client, form, line, values)
        history.execute(insert, (now_ms, *values.values()))
        print(line, flush=True)
        due += int(interval_ms) / 1000
        await asyncio.sleep(max(0, due - time.monotonic()))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
