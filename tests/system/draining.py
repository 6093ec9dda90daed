"""`make drain`: how long `plscp serve` takes from SIGTERM to its end with many associations open, and what their devices see.

Nothing here is a verdict: figures tell of the machine as well. What must hold is in tests/dicom/test_drain.py and test_drain.py.
"""

import argparse
import asyncio
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import RELEASE_RQ, SYNTAXES, n_action, p_data, pdv
from tests.serving import Serving, open_study
from tests.system.attacks.target import RQ, Peer

STUDY: Final = "1.2.826.0.1.3680043.9.3811.9.1"
SETTINGS: Final = """
[dicom]
port = 0
unknown_devices = "accept"
drain_grace = "{grace}"
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[registry]
file = "{folder}/current.toml"
[operators]
policy = "any"
"""
REGISTRY: Final = open_study(STUDY)
ADDRESSES: Final = 50
AT_ONCE: Final = 16
SENDERS: Final = 16
HERTZ: Final = os.sysconf("SC_CLK_TCK")

Devices = list[Peer]


@dataclass
class Drained:
    """One end of a server.

    Attributes:
        seconds: from SIGTERM to the end of the process.
        processor: seconds of it in that time.
        last: seconds from SIGTERM until the last device saw its end.
        seen: how often devices saw what.
        status: exit status.
    """

    seconds: float
    processor: float
    last: float
    seen: Counter[str]
    status: int


async def opened(port: int, count: int) -> Devices:
    """So many associations."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> Peer:
        async with gate:
            local = (f"127.0.1.{number % ADDRESSES + 1}", 0)
            peer = Peer(*await asyncio.open_connection("127.0.0.1", port, local_addr=local))
            await peer.send(RQ)
            assert await peer.answer() == "accepted"
            return peer

    return list(await asyncio.gather(*(one(number) for number in range(count))))


async def to_its_end(peer: Peer, seen: Counter[str]) -> float:
    """Note what comes until the connection ends; when that was."""
    while True:
        said = await peer.answer()
        seen[said] += 1
        if said.startswith(("closed", "aborted", "released")):
            peer.writer.transport.abort()
            return time.monotonic()


async def idle(devices: Devices, seen: Counter[str]) -> list[float]:
    """All wait."""
    return await asyncio.gather(*(to_its_end(peer, seen) for peer in devices))


async def releasing(devices: Devices, seen: Counter[str]) -> list[float]:
    """All release at once."""
    for peer in devices:
        peer.writer.write(RELEASE_RQ)
    return await idle(devices, seen)


async def sending(devices: Devices, seen: Counter[str]) -> list[float]:
    """Some send one event after the other for as long as they are answered, the others wait."""

    async def one(number: int, peer: Peer) -> float:
        while True:
            note = events.note(events.now(), f"device {number}, event {seen['status 0000']}")
            data = events.encoded(events.procedural([note], study=STUDY, patient="P1"), SYNTAXES[0])
            command = p_data(pdv(1, 3, n_action(1, PROCEDURAL_EVENT_LOGGING)))
            try:
                await peer.send(command + p_data(pdv(1, 2, data)))
                said = await peer.answer()
                if said == "status 0000":
                    seen[said] += 1
                    await peer.answer()  # the Action Reply
                    continue
            except ConnectionError:
                said = "closed"
            seen[f"a sender: {said}"] += 1
            peer.writer.transport.abort()
            return time.monotonic()

    busy = [one(number, peer) for number, peer in enumerate(devices[:SENDERS])]
    return await asyncio.gather(*busy, *(to_its_end(peer, seen) for peer in devices[SENDERS:]))


Act = Callable[[Devices, "Counter[str]"], Awaitable[list[float]]]


def processor(pid: int) -> float:
    """Seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / HERTZ


async def drained(folder: Path, count: int, grace: str, act: Act, signals: int) -> Drained:
    """Start a server, open associations, stop it and let the devices do what they do."""
    (folder / "current.toml").write_text(REGISTRY)
    server = Serving(folder, SETTINGS.replace("{grace}", grace))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    await asyncio.to_thread(server.start)
    process = server.process
    assert process is not None
    seen: Counter[str] = Counter()
    try:
        devices = await opened(server.port, count)
        used, ends = processor(process.pid), [0.0]

        def wait() -> None:
            process.wait()
            ends[0] = time.monotonic()

        waiting = threading.Thread(target=wait)
        waiting.start()
        began = time.monotonic()
        for _ in range(signals):
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.05)
        lasts = await act(devices, seen)
        await asyncio.to_thread(waiting.join)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        total = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Drained(ends[0] - began, total - used, max(lasts) - began, seen, process.returncode)
    finally:
        await asyncio.to_thread(server.end)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--associations", type=int, default=1000)
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows: list[tuple[str, str, Act, int]] = [
        ("all idle, grace 5 s", "PT5S", idle, 1),
        ("all idle, grace 0 s", "PT0S", idle, 1),
        ("all idle, grace 60 s, a second SIGTERM", "PT1M", idle, 2),
        ("all release at SIGTERM, grace 60 s", "PT1M", releasing, 1),
        (f"{SENDERS} send without a pause, the others idle, grace 5 s", "PT5S", sending, 1),
    ]
    table = Table(title=f"from SIGTERM to the end, {args.associations} associations open")
    for column in ("devices", "seconds", "last device", "processor s", "exit", "seen"):
        table.add_column(column, justify="left" if column in {"devices", "seen"} else "right")
    for name, grace, act, signals in rows:
        with tempfile.TemporaryDirectory(prefix="plscp-drain-") as folder:
            done = asyncio.run(drained(Path(folder), args.associations, grace, act, signals))
        said = ", ".join(f"{count} {what}" for what, count in done.seen.most_common())
        table.add_row(name, f"{done.seconds:.2f}", f"{done.last:.2f}", f"{done.processor:.2f}", str(done.status), said)
        print(name, done, file=sys.stderr, flush=True)
    Console(width=170).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
