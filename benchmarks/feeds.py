"""ADT messages a second, durable, from a sender that waits for each answer and from one that pipelines, while devices report.

.venv/bin/python -m benchmarks.feeds [--seconds 5] [--devices 16]

One server, one run: p99 of the devices alone, then with each sender. A message is an A08 that changes a bed: each is committed.
"""

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks import machine, servers
from benchmarks.generator import Generator
from benchmarks.requests import make

IN_FLIGHT: Final = 32
"""Messages of the sender that pipelines that have no answer yet."""
LOAD: Final = "real"


def messages() -> Iterator[bytes]:
    """A08 in frames, each with another bed for one of 1000 patients."""
    number = 0
    while True:
        patient, bed = number % 1000, number // 1000
        text = (
            f"MSH|^~\\&|ADT|CLINIC|PLSCP|LAB|20260101120000||ADT^A08^ADT_A01|{number}|P|2.5\r"
            f"PID|1||A{patient}^^^HOSP^MR||Muster{patient}^Maria||19600102|F\r"
            f"PV1|1|I|W{bed}^{number % 7}||||||||||||||||V{patient}^^^HOSP\r"
        )
        yield b"\x0b" + text.encode() + b"\x1c\r"
        number += 1


class Sends(threading.Thread):
    """A sender, from `start` until `end`.

    Attributes:
        acknowledged: messages with AA.
        refused: with another answer.
    """

    def __init__(self, port: int, given: Iterator[bytes], in_flight: int) -> None:
        super().__init__(daemon=True)
        self._given, self._in_flight = given, in_flight
        self._connection = socket.create_connection(("127.0.0.1", port), 60)
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._ending = threading.Event()
        self.acknowledged = self.refused = 0

    def run(self) -> None:
        """Send, and count what comes back."""
        open_, buffer = 0, b""
        while not self._ending.is_set() or open_:
            while open_ < self._in_flight and not self._ending.is_set():
                self._connection.sendall(next(self._given))
                open_ += 1
            *answers, buffer = (buffer + self._connection.recv(65536)).split(b"\x1c\r")
            good = sum(b"\rMSA|AA|" in answer for answer in answers)
            self.acknowledged += good
            self.refused += len(answers) - good
            open_ -= len(answers)

    def end(self) -> None:
        """Wait for the last answers."""
        self._ending.set()
        self.join(60)
        self._connection.close()


def measure(generator: Generator, folder: Path, seconds: float, devices: int) -> dict[str, Any]:
    """The figures of one run."""
    port = servers.free_port()
    server = servers.plscp(folder, more=f'[feeds.hl7]\nport = {port}\n[matching]\npatient_id_issuer = "HOSP"\n')
    given, load = messages(), make(LOAD)
    try:
        found: dict[str, Any] = {"devices": devices, "load_average": machine.load_average()}
        for name, in_flight in (("alone", 0), ("waits", 1), ("pipelines", IN_FLIGHT)):
            cpu = server.cpu_seconds()
            sender = Sends(port, given, in_flight) if in_flight else None
            began = time.monotonic()
            if sender is not None:
                sender.start()
            run = generator.drive(server.port, load, devices, seconds=seconds, warmup=1.0)
            row = {"p50_ms": run["p50_ms"], "p99_ms": run["p99_ms"], "requests_per_second": run["per_second"]}
            if sender is not None:
                sender.end()
                took = time.monotonic() - began
                row |= {"messages_per_second": round(sender.acknowledged / took), "refused": sender.refused}
                row["p99_ratio"] = round(run["p99_ms"] / max(found["alone"]["p99_ms"], 0.001), 2)
            found[name] = row | {"cpu_seconds": round(server.cpu_seconds() - cpu, 2), "failures": run["failures"]}
        for name, in_flight in (("waits_without_devices", 1), ("pipelines_without_devices", IN_FLIGHT)):
            cpu, began = server.cpu_seconds(), time.monotonic()
            sender = Sends(port, given, in_flight)
            sender.start()
            time.sleep(seconds)
            sender.end()
            count = max(sender.acknowledged, 1)
            found[name] = {
                "messages_per_second": round(sender.acknowledged / (time.monotonic() - began)),
                "cpu_us": round(1e6 * (server.cpu_seconds() - cpu) / count),
                "refused": sender.refused,
            }
        found["load_average_at_end"] = machine.load_average()
        return found
    finally:
        server.stop()


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--devices", type=int, default=16)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plscp-bench-") as name:
        folder = Path(name)
        figures = measure(Generator.build(folder), folder / "server", args.seconds, args.devices)
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
