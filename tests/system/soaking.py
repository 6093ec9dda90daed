"""Associations by the ten thousand on a real server, and what is left of them in it: memory, descriptors, threads, labels."""

import random
import socket
import struct
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.servers import STUDY
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.dicom.stimuli import command
from tests.rawscu import ABORT, RELEASE_RQ, SYNTAXES, VERIFICATION, associate_rq, n_action, p_data, pdv
from tests.serving import Serving, open_study, until

SETTINGS: Final = """
[dicom]
port = 0
unknown_devices = "accept"
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
WORKERS: Final = 2
ADDRESSES: Final = 250
"""Of each worker: what one address takes for nothing is bounded, and an association without a request is nothing."""
MARK: Final = b"text 0000000000"
ENDS: Final = Counter(echoed=35, asked=25, refused=5, aborted=10, dropped=10, cut=5, rejected=5, silent=5)
"""How an association goes, and how many of a hundred do."""
RELEASE_RP: Final = struct.pack(">BBLL", 6, 0, 4, 0)


def _received(one: socket.socket) -> int:
    """The type of the next PDU."""
    found = b""
    size = 6
    while len(found) < size:
        chunk = one.recv(65536)
        if not chunk:
            raise ConnectionError
        found += chunk
        if len(found) >= 6:
            size = 6 + struct.unpack_from(">L", found, 2)[0]
    return found[0] if len(found) == size else -1


class Worker:
    """One process of peers.

    Args:
        number: makes its addresses and its texts its own.
    """

    def __init__(self, port: int, number: int) -> None:
        self._port, self._number, self._count = port, number, 0
        self._dice = random.Random(number)
        contexts = [(PROCEDURAL_EVENT_LOGGING, SYNTAXES[0]), (VERIFICATION, SYNTAXES[0])]
        self._rq = associate_rq("SOAKER", "PLSCP", contexts)
        self._wrong = associate_rq("SOAKER", "OTHER", contexts)
        self._echo = p_data(pdv(3, 3, command(0x0030, 1, 0x0101)))
        self._asked, self._refused = (self._action(patient) for patient in ("P1", "NOBODY"))

    @staticmethod
    def _action(patient: str) -> bytes:
        note = events.note(events.now(), MARK.decode() + " ")
        study = STUDY if patient == "P1" else ""
        data = events.encoded(events.procedural([note], study=study, patient=patient), SYNTAXES[0])
        return p_data(pdv(1, 3, n_action(1, PROCEDURAL_EVENT_LOGGING))) + p_data(pdv(1, 2, data))

    def one(self) -> None:
        """Open an association and end it in one of the ways."""
        self._count += 1
        source = f"127.{10 + self._number}.0.{self._count % ADDRESSES + 1}"
        [how] = self._dice.choices(list(ENDS), list(ENDS.values()))
        with socket.create_connection(("127.0.0.1", self._port), 60, (source, 0)) as one:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if how == "silent":
                return
            one.sendall(self._wrong if how == "rejected" else self._rq)
            assert _received(one) == (3 if how == "rejected" else 2), how
            if how in {"rejected", "dropped"}:
                return
            text = b"%05d%010d" % (self._number, self._count)
            sent = {"echoed": self._echo, "refused": self._refused}.get(how, self._asked).replace(MARK, text)
            if how == "cut":
                one.sendall(sent[:-9])
                return
            one.sendall(sent)
            if how == "aborted":
                one.sendall(ABORT)
                return
            answer = one.recv(1)
            assert answer == b"\4", how
            one.sendall(RELEASE_RQ)
            read = b""
            while not read.endswith(RELEASE_RP):
                chunk = one.recv(65536)
                assert chunk, how
                read = read[-16:] + chunk

    def run(self) -> None:
        """Told on standard input how many; a line when they are done."""
        for line in sys.stdin:
            for _ in range(int(line)):
                self.one()
            print("done", flush=True)


@dataclass
class Left:
    """What the server has in hand while nobody is there. `memory` in MB."""

    memory: float
    descriptors: int
    threads: int
    series: frozenset[str]


class Soak:
    """A server and its peers; a context manager."""

    def __init__(self, folder: Path) -> None:
        (folder / "current.toml").write_text(REGISTRY)
        self.server = Serving(folder, SETTINGS)

    def __enter__(self) -> Self:
        self.server.start()
        self._workers = [
            subprocess.Popen(
                [sys.executable, "-m", __name__, str(self.server.port), str(number)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(WORKERS)
        ]
        return self

    def __exit__(self, *exc: object) -> None:
        for worker in self._workers:
            with worker:
                worker.kill()
        self.server.end()

    def run(self, count: int) -> None:
        """So many associations."""
        for worker in self._workers:
            assert worker.stdin is not None
            worker.stdin.write(f"{count // WORKERS}\n")
            worker.stdin.flush()
        for worker in self._workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "done\n"

    def _series(self) -> dict[str, float]:
        text = httpx.get(f"{self.server.http}/metrics", timeout=60).text
        return {
            f"{sample.name} {sorted(sample.labels.items())}": sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.labels.get("outcome") != "slowed"  # whether anybody is depends on the machine
        }

    def counted(self) -> Counter[str]:
        """Associations and connections that ended, by outcome."""
        found: Counter[str] = Counter()
        for name, value in self._series().items():
            if name.startswith("plscp_associations_total"):
                found[name.split("'outcome', '")[1].split("'")[0]] += int(value)
        return found

    def left(self, descriptors: int = 0) -> Left:
        """What is there once no connection is; with at most so many descriptors, which may take a moment."""
        assert self.server.process is not None
        proc = Path(f"/proc/{self.server.process.pid}")

        def held() -> list[Path]:
            return list((proc / "fd").iterdir())

        if descriptors:
            until(lambda: len(held()) <= descriptors, f"{descriptors} descriptors")
        memory = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("VmRSS"))
        threads = len(list((proc / "task").iterdir()))
        return Left(int(memory.split()[1]) / 1024, len(held()), threads, frozenset(self._series()))


if __name__ == "__main__":
    Worker(int(sys.argv[1]), int(sys.argv[2])).run()
