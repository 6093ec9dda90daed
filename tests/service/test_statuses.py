"""Every status of contract sections 2 and 3, reached by its cause through a real association (PS3.4 P.2.2.4, P.3.2.4)."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from pydicom.dataset import Dataset

from plscp.matching.changes import put_patient
from plscp.matching.registry import Registry
from plscp.metrics import Metrics
from plscp.service.keeper import RegistryKeeper
from plscp.statuses import PROCEDURAL_EVENT_LOGGING as PEL
from plscp.statuses import STATUSES, SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE
from plscp.statuses import SUBSTANCE_ADMINISTRATION_LOGGING as SAL
from tests import events
from tests.rawscu import SYNTAXES, command_set, n_action
from tests.service.conftest import POLICY, Running

U1, U2, U3 = (f"1.2.826.0.1.3680043.9.3811.5.{n}" for n in (1, 2, 3))


def note(**ids: str) -> Dataset:
    return events.procedural([events.note(events.now())], **ids)


def without(dataset: Dataset, *keywords: str) -> Dataset:
    for keyword in keywords:
        delattr(dataset, keyword)
    return dataset


def with_values(dataset: Dataset, **values: Any) -> Dataset:
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def wrong_template(**ids: str) -> Dataset:
    """An intervention (TID 3108) without its attempt identifier (row 4) and site (row 2)."""
    entry = events.coded("CONTAINS", ("122090", "DCM", "Intervention Action"), ("122061", "DCM", "Start"))
    return events.procedural([events.at(entry, events.now())], **ids)


def deep(levels: int) -> Dataset:
    """A note with so many levels of concept modifiers."""
    inner = events.text("HAS CONCEPT MOD", events.NOTE, "x")
    for _ in range(levels):
        outer = events.text("HAS CONCEPT MOD", events.NOTE, "x")
        outer.ContentSequence = [inner]
        inner = outer
    entry = events.note(events.now())
    entry.ContentSequence = [inner]
    return events.procedural([entry], study=U1)


def room(server: Running) -> None:
    """LAB1: study 1 of P1 is open; LAB2: study 2 of P2 is open."""
    server.study(U1, "P1", location="LAB1", study_id="S1")
    server.study(U2, "P2", location="LAB2", study_id="S2")


class Row(NamedTuple):
    """One row: what is sent and what must come out."""

    name: str
    status: int
    data: Callable[[], Dataset | bytes]
    sop_class: str = PEL
    calling: str = "HEMO1"
    comment: str = ""
    study: str = ""
    patient: str = ""
    prepare: Callable[[Running], None] = room


def two_open_in_lab1(server: Running) -> None:
    server.study(U1, "P1", location="LAB1")
    server.study(U3, "P1", location="LAB1")


def closed_long_ago(server: Running) -> None:
    opened, closed = (events.now(-hours * 3600).isoformat() for hours in (5, 4))
    server.study(U1, "P1", location="LAB1", status="closed", opened=opened, closed=closed)


def cancelled(server: Running) -> None:
    server.study(U1, "P1", location="LAB1", status="cancelled")


def scheduled_and_open(server: Running) -> None:
    server.study(U1, "P1", location="LAB1")
    server.study(U3, "P1", status="scheduled")


def known_patient(server: Running) -> None:
    server.patient("P1", name="Doe^Jane")


def broken(server: Running) -> None:
    room(server)
    known_patient(server)
    server.break_store()


ROWS = [
    Row("2-5: rule 1", 0x0000, lambda: note(study=U1), study=U1, patient="P1"),
    Row("3: rule 3", 0x0000, lambda: note(patient="P1", study_id="S1"), study=U1, patient="P1"),
    Row("3: rule 4", 0x0000, lambda: note(patient="P2"), calling="MOBILE", study=U2, patient="P2"),
    Row("3: rule 5", 0x0000, lambda: note(study_id="S1", location="Lab 1"), study=U1, patient="P1"),
    Row("3: rule 6", 0x0000, lambda: note(location="Lab 1"), study=U1, patient="P1"),
    Row("3: rule 7", 0x0000, note, study=U1, patient="P1"),
    Row("3: B101", 0xB101, lambda: note(study=U1, frame="1.2.3"), study=U1, patient="P1"),
    Row("3: B102 by rule 3", 0xB102, lambda: note(study="1.2.9", patient="P1", study_id="S1"), study=U1, patient="P1"),
    Row("3: B102 by rule 2a", 0xB102, lambda: note(study=U3, location="Lab 1"), study=U1, prepare=scheduled_and_open),
    Row("3: B104 by S", 0xB104, lambda: note(study=U1, study_id="S9"), study=U1, patient="P1"),
    Row("3: B104 by setting", 0xB104, lambda: note(study=U1, patient="P2"), calling="LOGGED", study=U1, patient="P1"),
    Row("3: B102 goes before B101", 0xB102, lambda: note(study="1.2.9", patient="P1", frame="1.2.3"), study=U1),
    Row("3: rule 2, closed", 0xC101, lambda: note(study=U1), prepare=closed_long_ago, comment="clos"),
    Row("3: rule 2, cancelled", 0xC101, lambda: note(study=U1), prepare=cancelled, comment="cancel"),
    Row("2-7: a mandatory row is missing", 0xC102, lambda: wrong_template(study=U1), comment="TID3108"),
    Row("2-5: too deep", 0xC102, lambda: deep(40)),
    Row(
        "2-7: an entry without Observation DateTime",
        0xC102,
        lambda: events.procedural([without(events.note(events.now()), "ObservationDateTime")], study=U1),
    ),
    Row("3: none", 0xC103, lambda: note(location="Lab 9"), calling="MOBILE"),
    Row("3: several", 0xC103, note, prepare=two_open_in_lab1),
    Row("3: U unknown, patient not named", 0xC103, lambda: note(study="1.2.9")),
    Row("3: location is not the device's", 0xC103, lambda: note(location="Lab 2")),
    Row("3: P contradicts", 0xC104, lambda: note(study=U1, patient="P2")),
    Row("3: S contradicts by place", 0xC104, lambda: note(location="Lab 1", study_id="S2")),
    Row("2-5: no data set", 0x0120, Dataset),
    Row("2-6: all of P.2-2 absent, strict", 0x0120, lambda: without(note(), "PatientID"), calling="STRICT"),
    Row("2-6: a Type 1 attribute is absent", 0x0120, lambda: without(events.substance(events.now(), patient="P1"),
        "SubstanceAdministrationDateTime"), sop_class=SAL, calling="TABLET"),
    Row("2-6: a Type 1 attribute is empty", 0x0121, lambda: with_values(events.substance(events.now(), patient="P1"),
        SubstanceAdministrationDateTime=""), sop_class=SAL, calling="TABLET"),
    Row("2-6: a Study Instance UID that is none", 0x0115, lambda: events.encoded(note(study="1.2.9")).replace(b"1.2.9", b"1.2.x")),
    Row("2-5: too large", 0x0213, lambda: events.procedural(
        [events.note(events.now(n / 1000), "x" * 1000) for n in range(100)], study=U1)),
    Row("2-4: not allowed", 0x0124, lambda: events.substance(events.now(), patient="P1"), sop_class=SAL,
        calling="NODRUGS", comment="SOP Class"),
    Row("3: patient by ID", 0x0000, lambda: events.substance(events.now(), patient="P1"), sop_class=SAL,
        calling="TABLET", prepare=known_patient),
    Row("3: patient unknown", 0xC110, lambda: events.substance(events.now(), patient="P9"), sop_class=SAL, calling="TABLET"),
    Row("3: operator not allowed", 0xC10E, lambda: events.substance(events.now(), patient="P1",
        operator=("N9", "L", "Nobody")), sop_class=SAL, calling="TABLET", prepare=known_patient),
    Row("3: operator allowed elsewhere", 0xC10E, lambda: events.substance(events.now(), patient="P1",
        operator=("N2002", "L", "Other")), sop_class=SAL, calling="TABLET", prepare=known_patient),
    Row("2-10: store away, procedural", 0x0110, lambda: note(study=U1), prepare=broken, comment="send again"),
    Row("2-10: store away, substance", 0xC111, lambda: events.substance(events.now(), patient="P1"), sop_class=SAL,
        calling="TABLET", prepare=broken, comment="send again"),
]  # fmt: skip


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_status_by_its_cause(running: Running, row: Row) -> None:
    """Each cause gets its status; Success and Warning name study and patient, a failure has no reply."""
    row.prepare(running)
    with running.scu(row.calling) as scu:
        data = row.data()
        wire = data if isinstance(data, bytes) else events.encoded(data) if data else b""
        answer = scu.request(row.sop_class, wire)
    assert f"{answer.status:04X}" == f"{row.status:04X}", answer.comment
    info = STATUSES[row.status]
    assert answer.comment.isascii()
    assert len(answer.comment) <= 64
    assert bool(answer.comment) == (info.comment and row.status != 0)
    assert row.comment.lower() in answer.comment.lower()
    for identifier in ("P1", "P2", "P9", U1, U2, "S9"):
        assert identifier not in answer.comment, "identifiers of the request do not belong in an Error Comment"
    if info.performed and row.sop_class == PEL:
        reply = answer.reply()
        assert answer.command.ActionTypeID == 1
        assert reply.StudyInstanceUID == row.study
        assert reply.PatientID == (row.patient or "P1")
    else:
        assert not answer.data


class CommandRow(NamedTuple):
    """One row about the command set, by our acceptor."""

    name: str
    status: int
    command: bytes
    data: bool = True


def other(tag: int, value: bytes) -> bytes:
    """An N-ACTION-RQ with one element changed."""
    rest = n_action(1, PEL)[12:]
    kept, start = [], 0
    while start < len(rest):
        length = int.from_bytes(rest[start + 4 : start + 8], "little")
        found = int.from_bytes(rest[start : start + 2], "little") << 16 | int.from_bytes(
            rest[start + 2 : start + 4], "little"
        )
        kept.append((found, value if found == tag else rest[start + 8 : start + 8 + length]))
        start += 8 + length
    return command_set(kept)


COMMANDS = [
    CommandRow("0: another operation", 0x0211, other(0x00000100, b"\x40\x01")),
    CommandRow("0: a mistyped Action Type ID", 0x0212, other(0x00001008, b"\x01")),
    CommandRow("1: another SOP Class", 0x0118, other(0x00000003, SAL.encode())),
    CommandRow("2: an invalid instance", 0x0117, n_action(1, PEL, instance="1.2.03")),
    CommandRow("2: another instance", 0x0112, n_action(1, PEL, instance="1.2.3")),
    CommandRow(
        "2: the other class's instance", 0x0119, n_action(1, PEL, instance=SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE)
    ),
    CommandRow("3: another action", 0x0123, n_action(1, PEL, action=2)),
    CommandRow("3: no action", 0x0123, n_action(1, PEL, action=None)),
]


@pytest.mark.parametrize("row", COMMANDS, ids=lambda row: row.name)
def test_status_of_the_command_set(ours: Running, row: CommandRow) -> None:
    """Steps 0 to 3 answer each fault of the command set with its status."""
    room(ours)
    with ours.scu() as scu:
        answer = scu.request(PEL, events.encoded(note(study=U1)), command=row.command)
    assert f"{answer.status:04X}" == f"{row.status:04X}"
    assert not answer.data


def test_absent_instance_is_accepted_when_lenient_and_refused_when_strict(ours: Running) -> None:
    """Requested SOP Instance UID absent: lenient logs with a finding, strict answers 0112H."""
    room(ours)
    command = n_action(1, PEL, instance=None)
    with ours.scu() as scu:
        assert scu.request(PEL, events.encoded(note(study=U1)), command=command).status == 0
    with ours.scu("STRICT") as scu:
        assert scu.request(PEL, events.encoded(note(study=U1)), command=command).status == 0x0112


def test_missing_attributes_are_listed(ours: Running) -> None:
    """0120H carries the tags of what is missing in Attribute Identifier List (0000,1005)."""
    with ours.scu("STRICT") as scu:
        answer = scu.request(PEL, events.encoded(without(note(), "PatientID", "StudyID")))
    assert answer.status == 0x0120
    listed = answer.command.AttributeIdentifierList
    assert [int(tag) for tag in listed] == [0x00100020, 0x00200010]


def test_the_overview_says_why_where_the_answer_may_not(ours: Running) -> None:
    """0115H and 0120H have no Error Comment: who asks the server what a device was refused for last is told all the same."""
    said = {}
    with ours.scu("STRICT") as scu:
        for data in (note(study="1.2.9"), without(note(), "PatientID")):
            wire = events.encoded(data).replace(b"1.2.9", b"1.2.x")
            assert not scu.request(PEL, wire).comment
            last = ours.handlers.devices.last["STRICT"]
            said[f"{last.status:04X}"] = last.comment
    assert said == {
        "0115": "not one valid value of UI at (0020,000D)",
        "0120": "attribute is absent at (0010,0020)",
    }


def test_processing_failure_has_an_error_id(running: Running) -> None:
    """0110H tells by Error ID (0000,0903) what failed."""
    broken(running)
    with running.scu() as scu:
        answer = scu.request(PEL, events.encoded(note(study=U1)))
    assert (answer.status, answer.command.ErrorID) == (0x0110, 1)


def test_a_registry_that_cannot_be_caught_up_with_is_a_failure_at_once(running: Running) -> None:
    """Another server has changed it, and the change cannot be read: 0110H, and nothing waits for that request's sign of life."""
    room(running)
    another = RegistryKeeper(running.store, Registry())
    another.catch_up()
    asyncio.run(another.change(lambda registry: put_patient(registry, {"id": "P9"}, POLICY, datetime.now(UTC)), "http"))
    running.store.unreadable = True
    with running.scu() as scu:
        answer = scu.request(PEL, events.encoded(note(study=U1)))
    assert (answer.status, answer.comment) == (0x0110, "not recorded, please send again: store-unavailable")
    assert not running.keeper.registry.life.expected(U1, "LAB1")


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_reply_in_the_contexts_transfer_syntax(ours: Running, syntax: str) -> None:
    """The Action Reply is encoded as its presentation context says."""
    room(ours)
    with ours.scu(syntax=syntax) as scu:
        answer = scu.request(PEL, events.encoded(note(study=U1), syntax))
    assert answer.status == 0
    assert answer.reply(syntax).StudyInstanceUID == U1


@pytest.mark.parametrize(
    ("patient", "charset", "expected"),
    [("P1", "", None), ("Pé", "ISO_IR 100", "ISO_IR 100"), ("Pé", "ISO_IR 192", "ISO_IR 192"), ("Pé", "", "ISO_IR 192"),
     ("P王", "ISO_IR 100", "ISO_IR 192")],
)  # fmt: skip
def test_character_set_of_the_reply(running: Running, patient: str, charset: str, expected: str | None) -> None:
    """The reply uses the request's character set if the Patient ID fits it, else UTF-8; none for ASCII."""
    running.study(U1, patient, location="LAB1")
    data = note(study=U1)
    if charset:
        data.SpecificCharacterSet = charset
    with running.scu() as scu:
        answer = scu.request(PEL, events.encoded(data))
    assert answer.status == 0
    reply = answer.reply()
    assert reply.get("SpecificCharacterSet") == expected
    assert reply.PatientID == patient


def test_every_status_of_the_table_has_a_row() -> None:
    """No status that plscp can answer is without a test here."""
    here = {row.status for row in ROWS} | {row.status for row in COMMANDS}
    elsewhere = {0x0210: "tests/dicom: Message ID outstanding", 0x0114: "not used"}
    assert set(STATUSES) - here - set(elsewhere) == set()


def test_entries_far_apart_in_time_are_told_from_late_ones(running: Running) -> None:
    """An event far in the future is logged by name with a finding, and never by place while the clock is not measured."""
    room(running)
    late = events.procedural([events.note(events.now() + timedelta(hours=1))], study=U1)
    placed = events.procedural([events.note(events.now() + timedelta(hours=2))])
    with running.scu() as scu:
        assert scu.request(PEL, events.encoded(late)).status == 0
        assert scu.request(PEL, events.encoded(placed)).status == 0xC103


def test_what_a_defect_of_ours_refuses_is_kept_as_it_is_answered(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect after the last check: what is said is what quarantine says."""
    room(running)
    counted = Metrics.noticed
    defects = [RuntimeError("a defect")]

    def fails_once(metrics: Metrics, finding: Any) -> None:
        if defects:
            raise defects.pop()
        counted(metrics, finding)

    monkeypatch.setattr(Metrics, "noticed", fails_once)
    noted = events.note(events.now())
    noted.ObservationDateTime = noted.ObservationDateTime[:12]
    with running.scu() as scu:
        answer = scu.request(PEL, events.encoded(events.procedural([noted], study=U3)))
    assert not defects
    assert answer.status == 0x0110
    [item] = running.store.quarantine()
    assert [outcome["status"] for outcome in item.outcomes] == [answer.status]


def test_a_defect_of_ours_in_the_decision_loses_nothing(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the device sent is in quarantine, and the room does not wait for its sign of life."""
    room(running)
    counted = Metrics.matched
    defects = [RuntimeError("a defect")]

    def fails_once(metrics: Metrics, rule: str, status: int) -> None:
        if defects:
            raise defects.pop()
        counted(metrics, rule, status)

    monkeypatch.setattr(Metrics, "matched", fails_once)
    data = events.procedural([events.note(events.now())], study=U1, location="LAB1")
    with running.scu() as scu:
        answer = scu.request(PEL, events.encoded(data))
        assert not defects
        assert answer.status == 0x0110
        [item] = running.store.quarantine()
        assert [outcome["status"] for outcome in item.outcomes] == [answer.status]
        with running.keeper.lock:
            assert not running.keeper.registry.life.expected(U1, "LAB1")
        assert scu.request(PEL, events.encoded(data)).status == 0
    assert running.store.quarantine(open_only=True) == []
