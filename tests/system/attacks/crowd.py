"""`make crowd`: sixteen honest associations while 10,000 hostile connections of every kind in the attack table come and go at once."""

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.servers import STUDIES
from tests import tls
from tests.serving import Serving
from tests.system.attacks import surgery
from tests.system.attacks.attackers import ATTACKS, Attack, prepare
from tests.system.attacks.honest import Clock, Window
from tests.system.attacks.running import FLOOR, HANDOVERS, SETTINGS
from tests.system.attacks.target import Peer, Target

REGISTRY: Final = "".join(
    f'[[studies]]\nstudy_instance_uid = "{uid}"\nstatus = "open"\npatient = {{ id = "{patient}", issuer = "HOSP" }}\n'
    for uid, patient in STUDIES
)
CONNECTIONS: Final = 10_000
AT_ONCE: Final = 2
"""Attackers of a kind at a time, but for those whose attack is their number."""
NUMBERS: Final = {"300 connections of one address": 110, "80 associations of one address": 60}
"""More than one address may have: beyond that the server turns them away."""
LIFE_SECONDS: Final = 4.0
"""Until a hostile connection that the server lets live goes by itself: every deadline of the server has passed by then."""
RATIO: Final = 3.0


class Enough(Exception):
    """All connections of this kind were made."""


class Wave(Target):
    """The server as one attacker of a kind sees it; all of a kind share a number of connections and what they have seen."""

    def __init__(self, told: dict[str, Any], index: int, numbers: "itertools.count[int]", seen: Counter[str]) -> None:
        super().__init__(told["port"], told["secure_port"], f"{1 + index}.1", 1)
        self._numbers, self._each, self.answers = numbers, told["each"], seen

    async def connect(self, addresses: int = 4, *, secure: bool = False) -> Peer:
        """A further connection; raises Enough where all were made."""
        if self.answers["connections"] >= self._each:
            raise Enough
        self.answers["connections"] += 1
        return await super().connect(addresses, secure=secure)


async def attacking(told: dict[str, Any]) -> dict[str, Counter[str]]:
    """Every kind at once, until each has made its connections; what each of them has seen."""
    found: dict[str, Counter[str]] = {attack.name: Counter() for attack in ATTACKS}

    async def one(attack: Attack, index: int, numbers: "itertools.count[int]") -> None:
        while True:
            wave = Wave(told, index, numbers, found[attack.name])
            try:
                async with asyncio.timeout(LIFE_SECONDS):
                    await attack.attacker(wave)
            except Enough:
                return
            except (OSError, TimeoutError) as end:
                wave.note("gone" if isinstance(end, TimeoutError) else "closed")
            finally:
                wave.leave()

    async with asyncio.TaskGroup() as group:
        for index, attack in enumerate(ATTACKS):
            numbers = itertools.count()
            for _ in range(NUMBERS.get(attack.name, AT_ONCE)):
                group.create_task(one(attack, index, numbers))
    return found


@dataclass
class Crowd:
    """What came of it.

    Attributes:
        before, during, after: the honest associations' answers.
        seen: by kind of attack: connections, and what came back in the words of `Peer.answer`.
        seconds: how long the attack took.
        processor: the server's seconds of it.
    """

    before: Window
    during: Window
    after: Window
    seen: dict[str, Counter[str]]
    seconds: float
    processor: float

    def missing(self) -> dict[str, str]:
        """Kinds whose attackers have not seen what the table of attacks says."""
        return {
            attack.name: attack.answered
            for attack in ATTACKS
            if attack.answered and not self.seen[attack.name][attack.answered]
        }

    @property
    def connections(self) -> int:
        """How many hostile ones there were."""
        return sum(seen["connections"] for seen in self.seen.values())


def used(process: "subprocess.Popen[str]") -> float:
    """Seconds of processor of a process so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple[Serving, int]]:
    """A server for both, and its port for TLS."""
    (folder / "current.toml").write_text(REGISTRY)
    tls.write(folder)
    server = Serving(folder, SETTINGS.replace("max_associations = 250", "max_associations = 1000"))
    with server:
        lines = [json.loads(line) for line in server.lines if line.startswith("{")]
        [port] = [line["port"] for line in lines if line["event"] == "listening" and line.get("tls")]
        yield server, port


def crowd(server: Serving, secure_port: int, *, connections: int, seconds: float, niceness: int) -> Crowd:
    """Measure before, have them come and go, measure after."""
    told = {"port": server.port, "secure_port": secure_port, "each": -(-connections // len(ATTACKS))}
    command = [sys.executable, "-m", "tests.system.attacks.crowd", "attacking", str(niceness), json.dumps(told)]
    with Clock(server.port, surgery.__name__) as clock:
        clock.window(1.0)  # what the server sees for the first time takes longer
        before = clock.window(seconds)
        assert server.process is not None
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as attackers:
            assert attackers.stdout is not None
            assert attackers.stdout.readline() == "ready\n"
            spent, began = used(server.process), time.monotonic()
            said = attackers.stdout.readline()
            ended = time.monotonic()
            spent = used(server.process) - spent
        during = clock.between(began, ended)
        after = clock.window(seconds)
    seen = {name: Counter(counts) for name, counts in json.loads(said).items()}
    return Crowd(before, during, after, seen, ended - began, spent)


def main() -> int:
    """Print the table; 1 where the honest noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--seconds", type=float, default=20.0, help="of the windows before and after")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="plscp-crowd-") as folder, served(Path(folder)) as (server, secure_port):
        found = crowd(server, secure_port, connections=args.connections, seconds=args.seconds, niceness=10)
    kinds = Table(title=f"{found.connections} hostile connections in {found.seconds:.0f} s")
    for column in ("attack", "connections", "seen"):
        kinds.add_column(column, justify="right" if column == "connections" else "left")
    missing = found.missing()
    for name, counts in found.seen.items():
        said = ", ".join(f"{count} {what}" for what, count in counts.most_common(6) if what != "connections")
        kinds.add_row(name, str(counts["connections"]), said + (f"; NOT {missing[name]}" if name in missing else ""))
    times = Table(title=f"{surgery.ASSOCIATIONS} honest associations, {surgery.PACE} requests a second each, load real")
    for column in ("", "answers", "p50 ms", "p99 ms", "woken late, p99 ms", "statuses"):
        times.add_column(column, justify="right")
    for name, one in (("before", found.before), ("during", found.during), ("after", found.after)):
        statuses = " ".join(f"{status:04X}" for status in sorted(one.statuses))
        times.add_row(
            name, str(one.answers), *(f"{each * 1000:.1f}" for each in (one.p50, one.p99, one.late)), statuses
        )
    console = Console(width=160)
    console.print(kinds)
    console.print(times)
    calm = found.before.p99
    allowed = max(RATIO * calm, FLOOR, HANDOVERS * found.during.late)
    print(
        f"p99 {found.during.p99 / calm:.1f} times that of calm, {found.during.p99 * 1000:.1f} of at most {allowed * 1000:.1f} ms; "
        f"the server took {found.processor / found.seconds * 100:.0f} % of a core"
    )
    honest = found.before.statuses | found.during.statuses | found.after.statuses
    return int(bool(missing) or honest != {0} or found.during.p99 > allowed)


if __name__ == "__main__":
    if sys.argv[1:2] == ["attacking"]:
        os.nice(int(sys.argv[2]))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        prepare()
        print("ready", flush=True)
        print(json.dumps(asyncio.run(attacking(json.loads(sys.argv[3])))), flush=True)
    else:
        sys.exit(main())
