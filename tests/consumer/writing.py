"""Records as the relay writes them, made with the record models and written with plain kafka-python."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

from kafka import KafkaAdminClient, KafkaProducer
from kafka.structs import OffsetAndMetadata, TopicPartition

from plscp.records.parts import (
    Identifier,
    Match,
    Occurred,
    Part,
    PatientChange,
    PatientRecord,
    Sender,
    StudyReference,
)
from plscp.records.values import AdministrationRecord, EntryRecord
from plscp.templates.log_entries import LogContext
from plscp.templates.substance import SubstanceAdministered

OWN, OTHER = "11111111-0000-0000-0000-000000000000", "22222222-0000-0000-0000-000000000000"
BARRIER = "org.plscp.relay.started.v1"
ENTRY = "org.plscp.procedure-log.entry.v1"
ADMINISTRATION = "org.plscp.medication-administration.v1"
PATIENT = "org.plscp.patient.changed.v1"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Written(NamedTuple):
    """A record to write."""

    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    key: bytes | None = b"HOSPITAL|4711"
    partition: int = 0


def record(kind: str, value: bytes | None, position: int, *, store: str = OWN, partition: int = 0) -> Written:
    """One with the headers of the contract."""
    headers: list[tuple[str, bytes | None]] = [
        ("ce_specversion", b"1.0"),
        ("ce_type", kind.encode()),
        ("store", store.encode()),
        ("ce_id", f"{store[:1]}-{position}".encode()),
        ("ce_time", NOON.isoformat().encode()),
        ("position", b"%d" % position),
    ]
    return Written(value, headers, partition=partition)


def patient(position: int, *, store: str = OWN, partition: int = 0) -> Written:
    """A patient's change: the shortest of all records."""
    change = PatientChange(
        what="patient.changed",
        id="4711",
        issuer="HOSPITAL",
        key="HOSPITAL|4711",
        other_ids=[],
        former_ids=[],
        placeholder="",
    )
    value = PatientRecord(
        type=PATIENT, event_id=f"{store[:1]}-{position}", position=position, recorded=NOON, source="http", change=change
    )
    return record(PATIENT, text(value), position, store=store, partition=partition)


def barrier(*, store: str = OWN, partition: int = 0) -> Written:
    """The relay's mark: no position, no key."""
    headers: list[tuple[str, bytes | None]] = [("ce_type", BARRIER.encode()), ("store", store.encode())]
    return Written(b'{"store":"x"}', headers, None, partition)


def logged(position: int, entry: Any) -> Written:
    """An entry of a Procedure Log."""
    entry = entry.model_copy(update={"kind": entry.kind, "template": entry.template})
    study = StudyReference(study_instance_uid="1.2.3", study_id="S1", accession_number="A1", location="lab-1")
    return record(
        ENTRY,
        text(EntryRecord(type=ENTRY, **_accepted(position), study=study, context=LogContext(), entry=entry)),
        position,
    )


def administered(position: int, entry: SubstanceAdministered) -> Written:
    """An administration of a Substance Administration Log."""
    value = AdministrationRecord(type=ADMINISTRATION, **_accepted(position), study=None, entry=entry)
    return record(ADMINISTRATION, text(value), position)


def text(value: Part) -> bytes:
    """As it is published: without what was not given."""
    return value.model_dump_json(exclude_unset=True).encode()


def _accepted(position: int) -> dict[str, Any]:
    return {
        "event_id": f"{OWN[:1]}-{position}",
        "request_id": "r",
        "entry_index": 0,
        "entry_count": 1,
        "position": position,
        "recorded": NOON,
        "sender": Sender(ae_title="HEMO1", location="lab-1", address="192.0.2.1"),
        "findings": [],
        "same_content_as": None,
        "observation_uid": None,
        "patient": Identifier(id="4711", issuer="HOSPITAL"),
        "occurred": Occurred(
            time=NOON, until=None, text="20260301120000", basis="own", synchronized=True, clock_difference_seconds=None
        ),
        "match": Match(rule="1", status="0000", warnings=[], registry_position=1, given={}, found={}, candidates=[]),
    }


def new_topic(broker: str, partitions: int = 1, name: str = "") -> str:
    """Make a topic that no other test knows."""
    name = name or f"consume-{uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=broker)
    admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}})
    admin.close()
    return name


def write(broker: str, topic: str, records: Iterable[Written]) -> None:
    """Append in this order."""
    producer = KafkaProducer(bootstrap_servers=broker)
    for each in records:
        producer.send(topic, each.value, each.key, each.headers, each.partition)
    producer.flush()
    producer.close()


def committed(broker: str, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """What a consumer group has committed, as an administrator sees it."""
    admin = KafkaAdminClient(bootstrap_servers=broker)
    try:
        found: dict[TopicPartition, OffsetAndMetadata] = admin.list_group_offsets(group).get(group, {})
        return found
    finally:
        admin.close()


def done(broker: str, group: str) -> int:
    """How many records a consumer group has committed, of all partitions together."""
    return sum(at.offset for at in committed(broker, group).values())
