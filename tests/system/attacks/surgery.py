"""Sixteen honest associations: requests of the load *real*, five entries each with varied codes, at a pace; a line per answer.

Each answer's time counts from when its request was due, as in `tests.system.attacks.honest`.
"""

import asyncio
import itertools
import json
import struct
import sys
import threading
import time
from typing import Final

from benchmarks import lab
from benchmarks.marks import Marked
from benchmarks.requests import associate, wire
from tests.rawscu import RELEASE_RQ

ASSOCIATIONS: Final = 16
PACE: Final = 4
"""Requests a second of each association: a device sends some a minute."""
REQUESTS: Final = 512
STATUS: Final = struct.pack("<HHL", 0, 0x0900, 2)
NO_DATA: Final = struct.pack("<HHLH", 0, 0x0800, 2, 0x0101)


class Device:
    """One association."""

    def __init__(self, number: int, requests: list[Marked]) -> None:
        self.number, self._requests = number, requests

    async def pdu(self) -> tuple[int, bytes]:
        """The next PDU: (type, body)."""
        kind, length = struct.unpack(">BxL", await self._reader.readexactly(6))
        return kind, await self._reader.readexactly(length)

    async def answer(self) -> int:
        """The status of the next answer; its Action Reply is read, too."""
        kind, body = await self.pdu()
        assert kind == 4, kind
        status: int = struct.unpack_from("<H", body, body.index(STATUS) + len(STATUS))[0]
        if NO_DATA not in body:
            await self.pdu()
        return status

    async def run(self, port: int, ended: threading.Event) -> None:
        """Send at the pace until the end."""
        self._reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(associate())
        assert (await self.pdu())[0] == 2
        began = time.monotonic() + self.number / ASSOCIATIONS / PACE
        for count in itertools.count():
            due = began + count / PACE
            ahead = due - time.monotonic()
            await asyncio.sleep(max(ahead, 0.0))
            if ended.is_set():
                break
            late = time.monotonic() - due if ahead > 0 else 0.0
            number = 1_000_000_000 + self.number * 10_000_000 + count
            request = self._requests[(count * ASSOCIATIONS + self.number) % len(self._requests)]
            writer.write(wire(request.filled(number)))
            status = await self.answer()
            print(json.dumps([due, time.monotonic() - due, status, late]), flush=True)
        writer.write(RELEASE_RQ)
        assert (await self.pdu())[0] == 6
        writer.close()


async def main(port: int) -> None:
    """Until the standard input ends."""
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    requests = [Marked.of(raw) for raw in itertools.islice(lab.requests(), REQUESTS)]
    async with asyncio.TaskGroup() as group:
        for number in range(ASSOCIATIONS):
            group.create_task(Device(number, requests).run(port, ended))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
