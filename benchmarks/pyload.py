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


class Requests:
    """A file of requests, as `load.c` describes it."""

    def __init__(self, raw: bytes) -> None:
        self._requests: list[tuple[bytes, int, tuple[int, ...], list[tuple[int, int]]]] = []
        [count], at = struct.unpack_from(">L", raw), 4
        for _ in range(count):
            length, first_part, numbers, times = struct.unpack_from(">4L", raw, at)
            places = struct.unpack_from(f">{numbers + 2 * times}L", raw, at + 16)
            at += 16 + 4 * len(places)
            pairs = list(zip(places[numbers::2], places[numbers + 1 :: 2], strict=True))
            self._requests.append((raw[at : at + length], first_part, places[:numbers], pairs))
            at += length
        self._last = 0

    def next(self, number: int) -> tuple[bytes, int]:
        """The request with a running number as it is sent now, and the length of its first part."""
        raw, first_part, numbers, times = self._requests[number % len(self._requests)]
        made = bytearray(raw)
        for at in numbers:
            made[at : at + 10] = b"%010d" % number
        self._last = max(time.time_ns() // 1000, self._last + 1)
        for at, age in times:
            seconds, rest = divmod(self._last - 1000 * age, 1_000_000)
            made[at : at + 21] = time.strftime(f"%Y%m%d%H%M%S.{rest:06d}", time.gmtime(seconds)).encode()
        return bytes(made), first_part


class Line:
    """One association: one request after the other."""

    def __init__(self, peer: tuple[str, int], associate: bytes, *, twice: bool) -> None:
        self.socket = socket.create_connection(peer)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not twice)
        self.socket.sendall(associate)
        self.sent_at = 0.0
        self._twice = twice
        self._buffer = b""
        self._data_follows = False
        self.status = 0

    def send(self, request: bytes, first_part: int) -> None:
        """A request, in one write or in two."""
        self.sent_at = time.perf_counter()
        if self._twice:
            self.socket.sendall(request[:first_part])
            self.socket.sendall(request[first_part:])
        else:
            self.socket.sendall(request)

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
    twice: bool,
) -> dict[str, object]:
    """Load a server; the figures of `load.c`."""
    seconds, warmup = times
    associate, requests = files[0], Requests(files[1])
    counter = int(time.time()) % 1000 * 10_000_000
    selector = selectors.DefaultSelector()
    for _ in range(associations):
        line = Line(peer, associate, twice=twice)
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
                line.send(*requests.next(counter))
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
    """HOST PORT ASSOCIATIONS SECONDS WARMUP ASSOCIATE_FILE REQUESTS_FILE MODE"""
    host, port, associations, seconds, warmup, associate, requests, mode = given
    figures = run(
        (host, int(port)),
        int(associations),
        (float(seconds), float(warmup)),
        (Path(associate).read_bytes(), Path(requests).read_bytes()),
        twice=mode == "twice",
    )
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
