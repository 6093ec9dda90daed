"""One attack after the other on one server, with the honest association's clock beside it."""

import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events, tls
from tests.rawscu import Closed, Response
from tests.serving import Serving, open_study, until
from tests.system.attacks.attackers import ATTACKS, Attack
from tests.system.attacks.honest import STUDY, Clock
from tests.system.attacks.target import Target

SETTINGS = """
[dicom]
port = 0
max_associations = 250
unknown_devices = "accept"
first_pdu_deadline = "PT1S"
pdu_deadline = "PT1S"
message_deadline = "PT2S"
[dicom.tls]
port = 0
certificate = "{folder}/server.pem"
private_key = "{folder}/server.key"
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[registry]
file = "{folder}/current.toml"
[operators]
policy = "any"
"""
REGISTRY = open_study(STUDY)
RATIO = 5.0
PATIENCE = 60.0
"""Seconds until an attack has had its effect, on a machine that has much else to do."""
HANDOVERS = 5
"""Between threads and processes for each answer: clock, event loop, writer, event loop, clock."""
FLOOR = 0.020
"""Seconds. The scheduler may hold back each hand-over for a slice of 3 to 4 ms: below this, figures tell of the machine. On one that
others load, too, it is as many times what it held back the clock itself, which is measured beside each answer."""
ONCE = {
    "association-aborted": "why",
    "association-rejected": "reason",
    "connection-closed": "reason",
    "peer-refused": "rule",
    "peer-slowed": "reason",
}
"""Events that are logged once for each cause and peer, and the field that names the cause."""


@dataclass
class Outcome:
    """What one attack did. Times in seconds, memory in MB; `counted` and `answered` as in `Attack`."""

    name: str
    calm: float
    p99: float
    grown: float
    statuses: set[int]
    counted: Counter[str]
    answered: Counter[str]
    lines: list[dict[str, Any]]
    allowed: float

    @property
    def held(self) -> bool:
        """Whether the honest association was answered as if nothing was the matter."""
        return self.p99 <= max(RATIO * self.calm, self.allowed)

    def repeated(self) -> list[tuple[str, ...]]:
        """Causes that were logged more than once for one peer."""
        seen = Counter(
            (line["event"], line[ONCE[line["event"]]], line["address"], line["calling_ae"])
            for line in self.lines
            if line["event"] in ONCE and "more" not in line  # how many more there were is said each minute
        )
        return [key for key, times in seen.items() if times > 1]


class Field:
    """A server, its honest association and a process of attackers; a context manager.

    Args:
        niceness: of the attackers. Other machines do not take our cores: where answers are timed, attackers get what server and
            clock leave.
    """

    def __init__(self, folder: Path, *, niceness: int = 10) -> None:
        self._niceness = niceness
        (folder / "current.toml").write_text(REGISTRY)
        tls.write(folder)
        self._server = Serving(folder, SETTINGS)
        self._ends = contextlib.ExitStack()
        self._calmest = 0.005

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as ends:
            server = ends.enter_context(self._server)
            self.secure_port = self._listening_over_tls()
            self.clock = ends.enter_context(Clock(server.port))
            self._attackers = subprocess.Popen(
                [sys.executable, "-m", __name__, str(self._niceness)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            ends.callback(self._stop_attackers)
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ends.__exit__(*exc)  # type: ignore[arg-type]

    def _stop_attackers(self) -> None:
        with self._attackers as process:  # closes its standard input, which ends it
            process.kill()

    def _tell(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self._attackers.stdin is not None
        assert self._attackers.stdout is not None
        self._attackers.stdin.write(json.dumps(what) + "\n")
        self._attackers.stdin.flush()
        found: dict[str, Any] = json.loads(self._attackers.stdout.readline())
        return found

    def _listening_over_tls(self) -> int:
        lines = [json.loads(line) for line in self._server.lines if line.startswith("{")]
        [port] = [line["port"] for line in lines if line["event"] == "listening" and line.get("tls")]
        return int(port)

    def _served_over_tls(self) -> int:
        """The status that a device gets which comes over TLS now."""
        data = events.encoded(events.procedural([events.note(events.now())], study=STUDY, patient="P1"))

        def answered() -> Response | None:
            try:
                with tls.SecureScu("127.0.0.1", self.secure_port) as scu:
                    return scu.request(PROCEDURAL_EVENT_LOGGING, data)
            except (OSError, Closed):  # the machine stopped for longer than a first PDU may take
                return None

        status: int = until(answered, "an answer over TLS", PATIENCE).status
        return status

    def _memory(self) -> float:
        assert self._server.process is not None
        status = Path(f"/proc/{self._server.process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))

    def _counts(self) -> Counter[str]:
        """What the server has counted so far: `outcome reason` of associations, `status` of requests."""
        found: Counter[str] = Counter()
        for family in text_string_to_metric_families(httpx.get(f"{self._server.http}/metrics", timeout=60).text):
            for sample in family.samples:
                if sample.name == "plscp_associations_total":
                    found[f"{sample.labels['outcome']} {sample.labels['reason']}"] += int(sample.value)
                elif sample.name == "plscp_requests_total":
                    found[f"status {sample.labels['status']}"] += int(sample.value)
        return found

    def _calm(self, seconds: float) -> float:
        """p99 while nobody attacks: of the best window, as under attack, once the last attack is over."""
        best = self.clock.window(seconds).p99
        for _ in range(8):
            if best <= 2 * self._calmest:
                break
            best = min(best, self.clock.window(seconds / 4).p99)
        self._calmest = min(best, self._calmest)
        return best

    def beside(self, attack: Attack, act: Callable[[str], None]) -> None:
        """Do something while an attack is under way, told an address that attackers have, too.

        Args:
            act: is called once the attack has had an effect.
        """
        number = ATTACKS.index(attack)
        counts = self._counts()
        self._tell({"attack": number, "port": self.clock.port, "secure_port": self.secure_port, "strength": 1})
        until(lambda: (self._counts() - counts)[attack.counted], f"{attack.counted}: {attack.name}", PATIENCE)
        self.clock.window(1.0)  # and some debt has come together
        act(f"127.{1 + number}.1.1")
        self._tell({"stop": True})

    def attack(
        self, attack: Attack, *, seconds: float = 0.6, windows: int = 5, strength: int = 1, floor: float = FLOOR
    ) -> Outcome:
        """One attack, until the best of so many windows of so many seconds is one in which the server held.

        Everything else on a machine makes answers slower, never faster: so the best window is the one that tells of the server.
        """
        number = ATTACKS.index(attack)
        calm = self._calm(seconds)
        before, grown, first = self._memory(), 0.0, len(self._server.lines)
        counts = self._counts()
        self._tell({"attack": number, "port": self.clock.port, "secure_port": self.secure_port, "strength": strength})
        self.clock.window(seconds / 4)  # until all of them are there
        outcome: Outcome | None = None
        statuses: set[int] = set()
        for _ in range(windows):
            window = self.clock.window(seconds)
            statuses |= window.statuses
            if attack.secure:
                statuses.add(self._served_over_tls())
            grown = max(grown, self._memory() - before)
            if outcome is None or window.p99 < outcome.p99:
                outcome = Outcome(attack.name, calm, window.p99, grown, statuses, Counter(), Counter(), [], floor)
                outcome.allowed = max(floor, HANDOVERS * window.late)
            if outcome.held:
                break
        assert outcome is not None
        until(
            lambda: self._tell({"seen": True}).keys() >= {attack.answered} - {""},
            f"{attack.answered}: {attack.name}",
            PATIENCE,
        )
        outcome.answered = Counter(self._tell({"stop": True}))
        outcome.grown = max(grown, self._memory() - before)

        def counted() -> bool:
            outcome.counted = self._counts() - counts
            return bool(outcome.counted[attack.counted])

        until(counted, f"{attack.counted} to be counted: {attack.name}", PATIENCE)

        def logged() -> bool:
            outcome.lines = [json.loads(line) for line in self._server.lines[first:] if line.startswith("{")]
            return attack.logged in {line["event"] for line in outcome.lines}

        until(logged, f"{attack.logged} in the log: {attack.name}", PATIENCE)
        return outcome


async def _attacking() -> None:
    """The attackers' process: told on its standard input what to do, tells on its standard output what came back."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, lambda: lines.put_nowait(sys.stdin.readline()))
    task: asyncio.Task[None] | None = None
    target: Target | None = None
    while line := await lines.get():
        told = json.loads(line)
        if "attack" in told:
            attack = ATTACKS[told["attack"]]
            target = Target(told["port"], told["secure_port"], f"{1 + told['attack']}.1", told["strength"])
            task = loop.create_task(target.each(attack.count, attack.attacker))
        if "stop" in told and task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert target is not None
            target.leave()
        print(json.dumps(dict(target.answers) if target else {}), flush=True)


if __name__ == "__main__":
    os.nice(int(sys.argv[1]))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(_attacking())
