"""Server, relay and broker are killed at random moments under load: nothing acknowledged is lost, nothing is twice."""

import contextlib
import itertools
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plscp.local.kafka import LocalBroker, free_port
from plscp.relay.process import LAST_PAUSE
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.kafkaread import Read, read_all
from tests.rawscu import Aborted, Closed, RawScu, Rejected
from tests.seed import SEED
from tests.serving import Serving, until

MOMENTS = int(os.environ.get("PLSCP_TEST_KILLS", "30"))
SENDERS = 6
STUDIES = [f"1.2.826.0.1.3680043.9.3811.7.{number}" for number in range(1, 4)]

SETTINGS = """
[dicom]
port = {port}
max_associations_per_address = 200
[store]
url = "sqlite:///{folder}/plscp.db"
[kafka]
bootstrap_servers = ["{kafka}"]
topic_prefix = "{prefix}"
[http]
port = {http}
[registry]
file = "{folder}/current.toml"
[devices]
"""


KINDS = ("new", "new", "known", "log", "equal")
"""How a request is repeated on purpose: not at all; by entries with Observation UIDs in a longer one; by entries without; as a whole."""


@dataclass
class Sender:
    """One device: sends uniquely numbered events, repeats each until it is acknowledged, and some on purpose after that."""

    name: str
    study: str
    port: int
    stop: threading.Event
    acknowledged: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def requests(self) -> Iterator[tuple[list[str], bytes]]:
        """The words of each request's entries, and its data set."""
        for number in itertools.count(1):
            kind = random.choice(KINDS)
            words = [f"{self.name} {kind} {number} {n}" for n in range(random.choice((2, 2, 5)))]
            entries = [events.note(events.now(n / 1000), each) for n, each in enumerate(words)]
            if kind == "known":
                for n, entry in enumerate(entries):
                    entry.ObservationUID = f"1.2.826.0.1.3680043.9.3811.9.{self.name[3:]}.{number}.{n}"
            parts = {"new": [1], "equal": [1, 1]}.get(kind, [1, len(words)])
            for part in parts:
                yield words[:part], events.encoded(events.procedural(entries[:part], study=self.study))

    def run(self) -> None:
        """Until told to stop; a pending request is repeated until it is answered."""
        requests = self.requests()
        pending: tuple[list[str], bytes] | None = None
        while not self.stop.is_set() or pending:
            with (
                contextlib.suppress(OSError, Closed, Aborted, Rejected, AssertionError),
                RawScu("127.0.0.1", self.port, calling=self.name, timeout=60) as scu,
            ):
                while not self.stop.is_set() or pending:
                    if pending is None:
                        pending = next(requests)
                        self.sent += pending[0]
                    self.stop.wait(0.01)
                    answer = scu.request(PROCEDURAL_EVENT_LOGGING, pending[1])
                    if answer.status == 0:
                        self.acknowledged += pending[0]
                        pending = None
                    elif answer.status not in {0x0110, 0x0213}:
                        self.refused.append(f"{answer.status:04X} {answer.comment}")
                        pending = None
            self.stop.wait(0.05)


def relay_pid(server: Serving) -> int:
    """Process id of the relay: the server's one child."""
    assert server.process is not None
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    return int(until(lambda: children.read_text().split(), "the relay process", LAST_PAUSE + 60)[0])


@pytest.mark.kafka
@pytest.mark.slow
def test_kill_anything_at_any_moment_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """Every acknowledged entry is in the store once and, by the position rule, on Kafka once, in order per study."""
    print(f"seed {SEED}, {MOMENTS} kills")
    dice = random.Random(SEED)
    patients = "".join(
        f'[[studies]]\nstudy_instance_uid = "{uid}"\nstatus = "open"\n'
        f'patient = {{ id = "P{number}", issuer = "HOSP" }}\nlocation = "LAB{number}"\n'
        for number, uid in enumerate(STUDIES)
    )
    (tmp_path / "current.toml").write_text(patients)
    stop = threading.Event()
    with LocalBroker(tmp_path / "kafka") as broker:
        settings = SETTINGS + "".join(f"[devices.DEV{n}]\n" for n in range(SENDERS))
        port = free_port()
        settings = settings.replace("{port}", str(port)).replace("{http}", str(free_port()))
        settings = settings.replace("{kafka}", broker.address).replace("{prefix}", "torture")
        server = Serving(tmp_path, settings)
        senders = [Sender(f"DEV{n}", STUDIES[n % len(STUDIES)], port, stop) for n in range(SENDERS)]
        threads = [threading.Thread(target=sender.run, daemon=True) for sender in senders]
        server.start()
        try:
            for thread in threads:
                thread.start()
            for _ in range(MOMENTS):
                answered = sum(len(sender.acknowledged) for sender in senders)
                stop.wait(dice.uniform(0.05, 0.7))
                until(
                    lambda before=answered: sum(len(sender.acknowledged) for sender in senders) > before,  # type: ignore[misc]
                    "load between two kills",
                    120,
                )
                what = dice.choice(("server", "server", "relay", "relay", "broker"))
                if what == "server":
                    server.kill()
                    server.start()
                elif what == "relay":
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(relay_pid(server), signal.SIGKILL)
                else:
                    broker.kill()
                    broker.start()
            stop.set()
            for thread in threads:
                thread.join(120)
                assert not thread.is_alive(), "a sender has no answer"
            acknowledged = Counter(words for sender in senders for words in sender.acknowledged)
            sent = Counter(words for sender in senders for words in sender.sent)
            assert not [why for sender in senders for why in sender.refused]
            check(server, broker, acknowledged, sent)
        finally:
            stop.set()
            server.end()


def check_repeats(entries: list[dict[str, Any]], acknowledged: Counter[str], sent: Counter[str]) -> None:
    """Each entry is there as often as its kind says (contract section 1), and a further one says so."""
    of_words: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        of_words.setdefault(entry["entry"]["text"], []).append(entry)
    assert set(acknowledged) <= set(of_words) <= set(sent), (
        "what was acknowledged is stored, and nothing that was not sent"
    )
    for words, found in of_words.items():
        kind, first = words.split()[1], found[0]
        if kind in {"new", "known"}:
            assert len(found) == 1, f"{words} is in the store twice"
        elif kind == "log":
            assert acknowledged[words] <= len(found) <= sent[words], words
        else:  # an event of its own only where the first's answer is known to have arrived
            assert 1 <= len(found) <= sent[words], words
        for later in found[1:]:
            codes = {finding["code"]: finding.get("positions") for finding in later["findings"]}
            if kind == "log":
                assert codes["probable-repeat"] == [first["position"]], words
            else:
                assert later["same_content_as"] == first["event_id"], words


def check(server: Serving, broker: LocalBroker, acknowledged: Counter[str], sent: Counter[str]) -> None:
    """Store and topics against what the devices were told."""
    stored: list[tuple[int, str, str]] = []
    entries: list[dict[str, Any]] = []
    after = 0
    while page := server.get("/api/v1/events", after=after, limit=1000)["events"]:
        for event in page:
            after = event["position"]
            if "entry" in event:
                entries.append(event)
                stored.append((event["position"], event["study"]["study_instance_uid"], event["entry"]["text"]))
    check_repeats(entries, acknowledged, sent)

    def arrived() -> list[Read]:
        records = read_all(broker.address, "torture")
        return records if {record.position for record in records} >= {position for position, _, _ in stored} else []

    records = until(arrived, "all records on Kafka", 180)
    seen: dict[tuple[str, int], int] = {}
    published: list[tuple[int, str, str]] = []
    for record in records:
        place = (record.topic, record.partition)
        if record.position <= seen.get(place, 0):
            continue  # a raw repeat: dropped by its position
        seen[place] = record.position
        if record.topic.endswith("procedure-log"):
            value = record.value
            published.append((value["position"], value["study"]["study_instance_uid"], value["entry"]["text"]))
    assert sorted(published) == stored, "Kafka and the store differ"
    for study in STUDIES:
        positions = [position for position, uid, _ in published if uid == study]
        assert positions == sorted(positions), "out of order"
    print(
        f"{acknowledged.total()} acknowledged, {len(stored)} stored, {len(records)} raw records, {time.strftime('%X')}"
    )
