"""The honest association's clock: a process of its own that sends one small event after the other, at a fixed pace.

Each answer's time counts from when its request was due, not from when it was sent: a server that stops for 100 ms delays every
request that was due meanwhile, and a clock that waits with it would see one slow answer only.
"""

import itertools
import json
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import Any, Self

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.rawscu import RELEASE_RQ, SYNTAXES, associate_rq, n_action, p_data, pdv
from tests.serving import until

STUDY = "1.2.826.0.1.3680043.9.3811.8.1"
MARK = b"9999999999"
PACE = 100
"""Requests a second."""
MOST_BEHIND_SECONDS = 10.0
"""Where a machine is too slow for the pace, what was due longer ago is left out: else the clock is further behind with each second."""
STATUS = struct.pack("<HHL", 0, 0x0900, 2)
NO_DATA = struct.pack("<HHLH", 0, 0x0800, 2, 0x0101)


def received(one: socket.socket, size: int) -> bytes:
    """So many bytes."""
    found = b""
    while len(found) < size:
        chunk = one.recv(size - len(found))
        if not chunk:
            raise ConnectionError
        found += chunk
    return found


def pdu(one: socket.socket) -> tuple[int, bytes]:
    """The next PDU: (type, body)."""
    kind, length = struct.unpack(">BxL", received(one, 6))
    return kind, received(one, length)


def answer(one: socket.socket) -> int:
    """The status of the next answer, read with as little work as can be; its Action Reply is read, too."""
    kind, body = pdu(one)
    if kind != 4:
        raise ConnectionError(kind)
    status: int = struct.unpack_from("<H", body, body.index(STATUS) + len(STATUS))[0]
    if NO_DATA not in body:
        pdu(one)
    return status


def associated(port: int) -> socket.socket:
    """An association; once more where the machine stopped for longer than a first PDU may take."""
    while True:
        one = socket.create_connection(("127.0.0.1", port), 60)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            one.sendall(associate_rq("HONEST", "PLSCP", [(PROCEDURAL_EVENT_LOGGING, SYNTAXES[0])]))
            kind, _ = pdu(one)
        except ConnectionError:
            one.close()
        else:
            assert kind == 2
            return one


def run(port: int) -> None:
    """Send until the standard input ends; a line per answer: when due, seconds taken, status, and how late the machine woke us."""
    note = events.note(events.now(), f"balloon inflated {MARK.decode()}")
    data = events.encoded(events.procedural([note], study=STUDY, patient="P1"), SYNTAXES[0])
    wire = p_data(pdv(1, 3, n_action(1, PROCEDURAL_EVENT_LOGGING))) + p_data(pdv(1, 2, data))
    with associated(port) as one:
        ended = threading.Event()

        def wait() -> None:
            sys.stdin.read()
            ended.set()

        threading.Thread(target=wait, daemon=True).start()
        began = time.monotonic()
        for number in itertools.count():
            due = began + number / PACE
            ahead = due - time.monotonic()
            if ahead < -MOST_BEHIND_SECONDS:
                began -= ahead
                due -= ahead
                ahead = 0.0
            if ended.wait(max(ahead, 0)):
                break
            late = time.monotonic() - due if ahead > 0 else 0.0
            one.sendall(wire.replace(MARK, b"%010d" % number))
            status = answer(one)
            print(json.dumps([due, time.monotonic() - due, status, late]), flush=True)
        one.sendall(RELEASE_RQ)
        assert pdu(one)[0] == 6


class Clock:
    """The clock of a server, running until its end.

    Args:
        module: what is run as its process, told the port.

    Attributes:
        port: of the server.
    """

    def __init__(self, port: int, module: str = __name__) -> None:
        self.port, self._module = port, module
        self._answers: list[tuple[float, float, int, float]] = []

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            [sys.executable, "-m", self._module, str(self.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(lambda: len(self._answers) > PACE, "the honest association")
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)
        self._reader.join(60)
        if exc[0] is None:
            assert self.process.returncode == 0, "the honest association was not released as it should"

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                due, took, status, late = json.loads(line)
                self._answers.append((due, took, status, late))

    def window(self, seconds: float) -> "Window":
        """The answers to what is due from now on, for so many seconds; waits until all of them came."""
        began = time.monotonic()
        end = began + seconds
        return self.between(began, end)

    def between(self, began: float, end: float) -> "Window":
        """The answers to what was due then, monotonic, or the next one where that was left out; waits until all of them came."""
        seconds = max(end - time.monotonic(), 0.0)
        until(lambda: self.process.poll() is not None or self._answers[-1][0] >= end, "answers", seconds + 300)
        since = [answer for answer in self._answers if answer[0] >= began]
        return Window([rest for due, *rest in since if due < end] or [rest for _, *rest in since[:1]])


class Window:
    """The answers of some seconds.

    Attributes:
        answers: how many.
        p50, p99: seconds.
        late: p99 of how late the machine's scheduler woke the clock itself, seconds.
        statuses: which came.
    """

    def __init__(self, answers: list[Any]) -> None:
        assert answers, "the honest association got no answer"
        times, statuses, late = zip(*answers, strict=True)
        place = max(len(answers) * 99 // 100 - 1, 0)
        self.answers = len(answers)
        self.p50: float = sorted(times)[len(answers) // 2]
        self.p99: float = sorted(times)[place]
        self.late: float = sorted(late)[place]
        self.statuses: set[int] = set(statuses)


if __name__ == "__main__":
    run(int(sys.argv[1]))
