"""Topics with everything that a consumer meets, and what each example consumer must make of it: the same as `consume`."""

import json
import signal
import subprocess
import threading
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple
from uuid import uuid4

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from plscp.cli import demo
from plscp.consumer import Event, consume
from plscp.records.examples import as_json, examples
from plscp.records.parts import BARRIER
from plscp.records.schemas import TOPICS
from plscp.records.values import RECORDS
from plscp.scu.pci_case import CaseSubject, pci_case, play, registry_file
from plscp.scu.sending import RemoteScp, ScuAssociation
from tests.consumer.writing import OTHER, Written, barrier, done, record, write
from tests.kafkaread import read_all
from tests.serving import Serving, until

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "consumers"
MAKES_TOPICS = {"auto.create.topics.enable": "true"}
"""Of a broker: as most of them are set, who asks for a topic that is not there makes it."""
IDLE_MS = 60_000
"""Where nothing comes for so long, a test gives up."""

Line = dict[str, Any]


class Mixed(NamedTuple):
    """Topics, and what `consume` gives of them, in the common form of the examples."""

    broker: str
    topics: list[str]
    lines: list[Line]

    @property
    def records(self) -> int:
        """How many records there are, barriers and repeats too."""
        consumer = KafkaConsumer(bootstrap_servers=self.broker)
        places = [TopicPartition(topic, each) for topic in self.topics for each in consumer.partitions_for_topic(topic)]
        ends: dict[TopicPartition, int] = consumer.end_offsets(places)
        consumer.close()
        return sum(ends.values())

    def repeated(self) -> None:
        """Some of every topic once more, byte for byte, and a barrier: what is read next has nothing new."""
        for topic in self.topics:
            found = read_all(self.broker, topic.rpartition(".")[0])
            here = [each for each in found if each.topic == topic]
            again = [Written(r.raw.value, r.raw.headers, r.raw.key, r.partition) for r in here[-1:] + here[:3]]
            write(self.broker, topic, [*again, barrier()])


def mixed(broker: str, folder: Path) -> Mixed:
    """The demo's case through a real server and its relay; of another store every example of the contract; barriers and repeats."""
    prefix = f"mixed-{uuid4().hex[:8]}"
    (folder / "current.toml").write_text(
        registry_file(CaseSubject(), datetime.now(UTC) - timedelta(minutes=5)), "utf-8"
    )
    with Serving(folder, demo._settings(broker).replace(f'"{demo.PREFIX}"', f'"{prefix}"')) as server:

        def connect(device: str) -> ScuAssociation:
            return ScuAssociation(RemoteScp("127.0.0.1", server.port, calling=device))

        play(pci_case(), connect, speed=1000, told=lambda _: None)
        kept = server.get("/api/v1/events", kind="all", limit=1000)["events"]
        published = sum(each["type"] in RECORDS for each in kept)
        until(lambda: len(read_all(broker, prefix)) == published, "the relay")
        assert server.stop() == 0
    of = {kind: f"{prefix}.{name}" for name, (_, _, kinds) in TOPICS.items() for kind in kinds}
    made = defaultdict[str, list[Written]](list)
    for number, (kind, _, value) in enumerate(examples(), 1):
        if kind != BARRIER:
            content = as_json(value) | {"position": number, "event_id": f"2-{number}"}
            made[of[kind]].append(record(kind, json.dumps(content).encode(), number, store=OTHER))
    later = json.loads(made[f"{prefix}.procedure-log"][0].value or b"")
    later["entry"] = {"kind": "robot_moved", "axis": [1, {"x": 2}], "track": "." * 300_000}
    for position in range(number + 1, number + 7):  # together more than clients fetch of a partition at once
        later |= {"position": position, "event_id": f"2-{position}"}
        made[f"{prefix}.procedure-log"].append(record(later["type"], json.dumps(later).encode(), position, store=OTHER))
    for topic, records in made.items():
        write(broker, topic, [barrier(store=OTHER), *records])
    found = Mixed(broker, sorted({*made, f"{prefix}.quarantine"}), [])
    ids = {each.headers["store"] + each.headers["ce_id"] for each in read_all(broker, prefix)}
    found.repeated()
    with consume(broker, topics=found.topics, group=prefix, consumer_timeout_ms=IDLE_MS) as events:
        for event in events:
            assert isinstance(event, Event)
            found.lines.append(line(event))
            if len(found.lines) == len(ids):
                break
    return found


def line(event: Event) -> Line:
    """The common form: what a consumer needs first."""
    study, patient, entry = (getattr(event.data, name, None) for name in ("study", "patient", "entry"))
    return {
        "topic": event.topic,
        "position": event.position,
        "id": event.id,
        "type": event.type,
        "key": event.key,
        "study": study.study_instance_uid if study else "",
        "patient": patient.id if patient else "",
        "kind": entry.kind if entry else "",
    }


def in_order(lines: Sequence[Line]) -> dict[tuple[str, str], list[Line]]:
    """By topic and key: within each, their order is promised."""
    found = defaultdict[tuple[str, str], list[Line]](list)
    for each in lines:
        found[each["topic"], each["key"]].append(each)
    return dict(found)


def printed(command: Sequence[str], broker: str, group: str, records: int, **popen: Any) -> list[str]:
    """The lines of a program that reads for a group until it has committed so many records and is sent SIGINT."""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, **popen
    ) as process:
        limit = threading.Timer(300, process.kill)
        limit.start()
        try:
            said = Queue[tuple[str, str]]()
            reader = threading.Thread(target=lambda: said.put(process.communicate()))
            reader.start()
            until(
                lambda: process.poll() is not None or done(broker, group) == records,
                "all to be committed",
                200,
            )
            process.send_signal(signal.SIGINT)
            out, complaint = said.get(timeout=120)
            reader.join(60)
        finally:
            limit.cancel()
            process.kill()
    assert process.returncode in {0, 130}, complaint
    return out.splitlines()


def agrees(command: Sequence[str], topics: Mixed, *, waits: bool = True, **popen: Any) -> None:
    """Hold an example against `consume`: all of it; and, begun again, nothing of what is only repeated.

    Args:
        waits: also told a topic that is not there, which it does not make.
    """
    group = f"group-{uuid4().hex[:8]}"
    missing = [f"{group}.later"] if waits else []
    whole = [*command, topics.broker, group, *topics.topics, *missing]
    found = [json.loads(each) for each in printed(whole, topics.broker, group, topics.records, **popen)]
    assert in_order(found) == in_order(topics.lines)
    topics.repeated()
    assert printed(whole, topics.broker, group, topics.records, **popen) == []
    assert not {*missing} & topics_of(topics.broker)


def topics_of(broker: str) -> set[str]:
    """Names of all topics."""
    admin = KafkaAdminClient(bootstrap_servers=broker)
    found = set[str](admin.list_topics())
    admin.close()
    return found
