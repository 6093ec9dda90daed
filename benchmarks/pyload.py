"""The load generator for machines without a C compiler: arguments and output are those of `load.c`."""

import json
import selectors
import socket
import struct
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

NO_DATA_SET: Final = 0x0101


class Line:
    """One association: one request after the other."""

    def __init__(self, peer: tuple[str, int], associate: bytes, first_part: int) -> None:
        self.socket = socket.create_connection(peer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not first_part)
        self.socket.sendall(associate)
        self.sent_at = 0.0
        self._first_part = first_part
        self._buffer = b""
        self._data_follows = False
        self.status = 0

    def send(self, request: bytes) -> None:
        """A request, in one write or in two."""
        self.sent_at = time.perf_counter()
        if self._first_part:
            self.socket.sendall(request[: self._first_part])
        self.socket.sendall(request[self._first_part :])

    def read(self) -> int:
        """What has arrived: how many requests may be sent now."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise SystemExit("the peer closed an association")
        self._buffer += chunk
        ready = 0
        while len(self._buffer) >= 6:
            kind, length = struct.unpack_from(">BxL", self._buffer)
            if len(self._buffer) < 6 + length:
                break
            body, self._buffer = self._buffer[6 : 6 + length], self._buffer[6 + length :]
            if kind not in {2, 4}:
                raise SystemExit(f"the peer sent PDU type {kind}")
            ready += kind == 2 or self._complete(body)
        return ready

    def _complete(self, body: bytes) -> bool:
        """Whether a P-DATA-TF ends a response."""
        complete = False
        while body:
            length, _, control = struct.unpack_from(">LBB", body)
            fragment, body = body[6 : 4 + length], body[4 + length :]
            if control & 1:
                self._command(fragment)
            if control & 2:
                complete |= not (control & 1 and self._data_follows)
        return complete

    def _command(self, fragment: bytes) -> None:
        at = 0
        while at + 8 <= len(fragment):
            group, element, length = struct.unpack_from("<HHL", fragment, at)
            if (group, element) == (0x0000, 0x0800):
                self._data_follows = struct.unpack_from("<H", fragment, at + 8)[0] != NO_DATA_SET
            elif (group, element) == (0x0000, 0x0900):
                [self.status] = struct.unpack_from("<H", fragment, at + 8)
            at += 8 + length


def run(
    peer: tuple[str, int],
    associations: int,
    times: tuple[float, float],
    files: tuple[bytes, bytes],
    *,
    first_part: int,
    offsets: Sequence[int],
) -> dict[str, object]:
    """Load a server; the figures of `load.c`."""
    seconds, warmup = times
    associate, request = files[0], bytearray(files[1])
    counter = int(time.time()) % 1000 * 10_000_000
    selector = selectors.DefaultSelector()
    for _ in range(associations):
        line = Line(peer, associate, first_part)
        selector.register(line.socket, selectors.EVENT_READ, line)
    begin = time.perf_counter() + warmup
    end = begin + seconds
    took: list[float] = []
    answered = failures = last = 0
    while (now := time.perf_counter()) < end:
        for key, _ in selector.select(0.05):
            line = key.data
            for _ in range(line.read()):
                now = time.perf_counter()
                if line.sent_at:
                    answered += 1
                    if line.status:
                        failures, last = failures + 1, line.status
                    if begin <= now < end:
                        took.append(now - line.sent_at)
                counter += 1
                for offset in offsets:
                    request[offset : offset + 10] = b"%010d" % counter
                line.send(request)
    took.sort()
    return {
        "associations": associations,
        "requests": len(took),
        "answered": answered,
        "per_second": round(len(took) / seconds, 1),
        "p50_ms": round(1000 * took[len(took) // 2], 3) if took else 0.0,
        "p99_ms": round(1000 * took[len(took) * 99 // 100], 3) if took else 0.0,
        "failures": failures,
        "last_failure": f"{last:04X}",
    }


def main(given: Sequence[str]) -> int:
    """HOST PORT ASSOCIATIONS SECONDS WARMUP ASSOCIATE_FILE REQUEST_FILE MODE OFFSET..."""
    host, port, associations, seconds, warmup, associate, request, mode, *offsets = given
    figures = run(
        (host, int(port)),
        int(associations),
        (float(seconds), float(warmup)),
        (Path(associate).read_bytes(), Path(request).read_bytes()),
        first_part=int(mode.partition(":")[2] or 0),
        offsets=[int(offset) for offset in offsets],
    )
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
