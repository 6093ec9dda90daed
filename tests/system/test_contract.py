"""The whole way: an event of every kind through a real association and real Kafka, and out of the consumer library as it went in."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import permutations
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest
from jsonschema import Draft202012Validator

from plscp.consumer import Event, Unreadable, consume
from plscp.records import values as published
from plscp.records.examples import entries
from plscp.records.parts import Identifier
from plscp.records.schemas import TOPICS, schema
from plscp.scu import requests as r
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.templates.substance import SubstanceAdministered
from tests.conftest import Broker
from tests.consumer.test_corrections import states
from tests.kafkaread import read_all
from tests.rawscu import RawScu
from tests.scu.test_requests import full
from tests.serving import Serving, until
from tests.templates.strategies import KINDS

SETTINGS = """
[dicom]
port = 0
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[log]
format = "json"
[kafka]
bootstrap_servers = ["BROKER"]
topic_prefix = "PREFIX"
partitions = 2
[locations.lab-1]
[devices.HEMO1]
location = "lab-1"
"""
STUDY, OTHER = "1.2.826.0.1.3680043.9.7.1", "1.2.826.0.1.3680043.9.7.2"
ISSUER = "HOSPITAL"
CONTEXT = r.device_observer("1.2.3", "Recorder", room=r.text("Lab 1"))
GIVEN = SubstanceAdministered(
    administered=r.moment(datetime.now(UTC)),
    product_names=["Heparin"],
    route=r.code("47625008", "SCT"),
    operators=[r.code("N-117", "99STAFF", "Nurse 117")],
    dose=r.amount("5000", "[iU]"),
    volume=r.amount("1", "ml"),
    device_id="PUMP-3",
    notes="through the sheath",
)


class Sent(NamedTuple):
    """What went in, what the broker holds, and what came out of the consumer library."""

    entries: list[Any]
    raw: list[Any]
    events: list[Event | Unreadable]


@pytest.fixture(scope="module")
def sent(kafka_broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    """One server, one association, every kind of entry twice: as the examples have it and with every row of its table."""
    prefix = f"contract-{uuid4().hex[:8]}"
    text = SETTINGS.replace("BROKER", kafka_broker.address).replace("PREFIX", prefix)
    now = r.moment(datetime.now(UTC))
    given = [*entries(), *map(full, KINDS)]
    for entry in given:
        (entry.item if entry.kind == "untyped" else entry).observation_datetime = now
    with Serving(tmp_path_factory.mktemp("server"), text) as server:
        body = {"patient": {"id": "4711", "issuer": ISSUER}, "location": "lab-1", "status": "open"}
        server.put(f"/api/v1/studies/{STUDY}", body).raise_for_status()
        with RawScu(server.host, server.port) as scu:
            for entry in given:
                request = r.ProcedureLogRequest(study_instance_uid=STUDY, context=CONTEXT, entries=[entry])
                assert scu.request(PROCEDURAL_EVENT_LOGGING, request.encode()).status == 0, entry.kind
            administration = r.SubstanceAdministrationRequest(
                patient_id="4711", issuer_of_patient_id=ISSUER, administration=GIVEN
            )
            assert scu.request(SUBSTANCE_ADMINISTRATION_LOGGING, administration.encode()).status == 0
            unknown = r.ProcedureLogRequest(study_instance_uid="1.2.3", context=CONTEXT, entries=given[:1])
            assert scu.request(PROCEDURAL_EVENT_LOGGING, unknown.encode()).status == 0xC103
        prior = {"prior": {"id": "TEMP-1", "issuer": ISSUER}}
        merge = f"{server.http}/api/v1/patients/4711/merge"
        httpx.post(merge, params={"issuer": ISSUER}, json=prior, timeout=60).raise_for_status()
        for uid, status in ((STUDY, "closed"), ("1.2.4", "scheduled"), ("1.2.4", "cancelled"), (OTHER, "open")):
            server.put(f"/api/v1/studies/{uid}", body | {"status": status}).raise_for_status()
        kept = corrected(server)
        position = server.get("/api/v1/status")["store"]["position"] - kept
        raw = until(
            lambda: found if len(found := read_all(kafka_broker.address, prefix)) == position else None, "the relay"
        )
        assert server.stop() == 0
    topics = [f"{prefix}.{name}" for name in TOPICS]
    with consume(kafka_broker.address, topics=topics, group=prefix, consumer_timeout_ms=60_000) as events:
        yield Sent(given, raw, [next(events) for _ in raw])


def corrected(server: Serving) -> int:
    """The first two entries are moved to another study, and the first of them back; how many proposals are kept and not published."""
    one, two = (event["position"] for event in server.get("/api/v1/events")["events"][:2])

    def post(path: str, said: dict[str, Any]) -> Any:
        done = httpx.post(f"{server.http}/api/v1/corrections{path}", json=said | {"why": "a slip"}, timeout=60)
        done.raise_for_status()
        return done.json()

    made = [post("", {"positions": [each], "to": {"study_instance_uid": OTHER}}) for each in (one, two)]
    post(f"/{made[0]['id']}/revert", {})
    return 3


def test_a_consumer_that_keeps_one_state_for_each_entry_ends_right(sent: Sent) -> None:
    """As contract section 4 has it, in whatever order the partitions are read; in each, the order is that of the positions."""
    events = [event for event in sent.events if isinstance(event, Event)]
    log = [event for event in events if event.topic.endswith("procedure-log")]
    partitions = {event.partition for event in log}
    first, second = sorted((event for event in log if event.type.endswith("entry.v1")), key=lambda e: e.position)[:2]
    ends = []
    for order in permutations(partitions):
        state = states(each for partition in order for each in log if each.partition == partition)
        ends.append([state[each.id].study.study_instance_uid for each in (first, second)])
        assert len(state) == len(sent.entries)
    assert ends == [[STUDY, OTHER]] * len(ends)
    for key in (STUDY, OTHER):
        positions = [event.position for event in log if event.key == key]
        assert positions == sorted(positions)
    moves = [(e.type.split(".")[-2], e.key) for e in sorted(log, key=lambda e: e.position) if "event." in e.type]
    there, back = [("withdrawn", STUDY), ("assigned", OTHER)], [("withdrawn", OTHER), ("assigned", STUDY)]
    assert moves == [*there, *there, *back]


def test_every_record_that_was_published_is_read_as_what_it_is(sent: Sent) -> None:
    """No record is unreadable, and every type there is was published."""
    assert [event for event in sent.events if not isinstance(event, Event)] == []
    assert {event.type for event in sent.events} == set(published.RECORDS)
    assert {type(event.data) for event in sent.events} == set(published.RECORDS.values())
    keys = {(each.topic, each.partition, each.offset, each.position, each.key) for each in sent.raw}
    assert {(e.topic, e.partition, e.offset, e.position, e.key) for e in sent.events if isinstance(e, Event)} == keys


def test_every_kind_of_entry_comes_out_equal_to_what_went_in(sent: Sent) -> None:
    """In the order sent, with the study, the patient and the context that it belongs to."""
    records = [event.data for event in sent.events if isinstance(event.data, published.EntryRecord)]
    assert [record.entry for record in sorted(records, key=lambda record: record.position)] == sent.entries
    assert {record.study.study_instance_uid for record in records} == {STUDY}
    assert {tuple(record.patient.model_dump().values()) for record in records} == {("4711", ISSUER)}
    assert all(
        record.context.room == CONTEXT.room and record.context.observers == CONTEXT.observers for record in records
    )


def test_an_administration_comes_out_equal_to_what_went_in(sent: Sent) -> None:
    """With the patient, and the issuer of the ID."""
    (record,) = [event.data for event in sent.events if isinstance(event.data, published.AdministrationRecord)]
    assert record.entry == GIVEN
    assert record.patient == Identifier(id="4711", issuer=ISSUER)


def test_every_record_is_valid_under_the_published_schema(sent: Sent) -> None:
    """As an independent validator sees the bytes on the broker, with what `ce_dataschema` names."""
    validators = {
        kind: Draft202012Validator(schema(kind), format_checker=Draft202012Validator.FORMAT_CHECKER)
        for kind in published.RECORDS
    }
    for record in sent.raw:
        kind = record.headers["ce_dataschema"].removeprefix("urn:plscp:schema:")
        assert [error.message for error in validators[kind].iter_errors(record.value)] == [], record.headers


def test_nothing_that_is_published_is_unknown_to_the_typed_records(sent: Sent) -> None:
    """Written out again, each is the JSON that was published: no member is passed over."""
    for record in sent.raw:
        typed = published.ADAPTERS[record.headers["ce_type"]].validate_python(record.value)
        again = typed.model_dump(mode="json", exclude_unset=True)
        assert _without_times(again) == _without_times(record.value)


def _without_times(value: Any) -> Any:
    """Moments as such: JSON may write the same one in several ways."""
    if isinstance(value, dict):
        return {name: _without_times(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_times(each) for each in value]
    if isinstance(value, str) and value.endswith("Z") and "T" in value:
        return datetime.fromisoformat(value)
    return value
