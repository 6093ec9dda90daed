"""The log's lines about refused requests: why, and what to do, for whoever stands at the console; nothing of what was sent."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydicom.dataset import Dataset
from structlog.testing import capture_logs

from plscp.matching import comments
from plscp.matching.model import Device
from plscp.service.profile import Profile
from plscp.service.refusals import HINTS, Refusals, hint
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from tests.events import NOTE, at, coded, encoded, note, now, procedural, substance, text
from tests.rawscu import RawScu
from tests.service.conftest import Running

PEL, SAL = PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[Any]]:
    """What is logged."""
    with capture_logs() as found:
        yield found


def answer(scu: RawScu, dataset: Dataset, sop_class: str = PEL) -> int:
    """Send one request; the status of its answer."""
    scu.send(sop_class, encoded(dataset))
    return scu.response().status


def refused(lines: list[Any]) -> list[Any]:
    """The lines about refused requests."""
    return [line for line in lines if line["event"] == "request-refused"]


def test_a_line_says_status_reason_place_and_what_to_do(ours: Running, lines: list[Any]) -> None:
    """At warning; with association and Message ID, and the name under which the quarantine has it."""
    with ours.scu("MOBILE") as scu:
        assert answer(scu, procedural([note(now())])) == 0xC103
    [line] = refused(lines)
    assert line["log_level"] == "warning"
    assert line["calling_ae"] == "MOBILE"
    assert (line["status"], line["meaning"]) == ("C103", "cannot-match-to-current-study")
    assert line["comment"] == comments.NOTHING_GIVEN
    assert line["hint"] == "devices.MOBILE.location is missing, or have it send Patient ID or Performed Location"
    assert line["quarantine"] == ours.store.quarantine()[0].id
    assert line["address"] == "127.0.0.1"
    assert line["association"]
    assert line["message_id"] > 0


def test_the_same_again_is_one_line_and_then_a_number(lines: list[Any]) -> None:
    """The first at once; its repeats as `more`, at most once a minute; another reason, device or address is another line."""
    clock = [0.0]
    server = Running("ours")
    server.handlers.refusals = Refusals(lambda: clock[0])
    server.start()
    try:
        with server.scu("MOBILE") as scu:
            for _ in range(5):
                answer(scu, procedural([note(now())]))
            assert len(refused(lines)) == 1
            answer(scu, procedural([note(now())], patient="QXQ-1"))
        with server.scu("HEMO1") as scu:
            answer(scu, procedural([note(now())], patient="QXQ-1"))
        assert len(refused(lines)) == 3
        server.handlers.refusals.flush()
        assert len(refused(lines)) == 3
        clock[0] = 61.0
        server.handlers.refusals.flush()
        [more] = refused(lines)[3:]
        assert (more["calling_ae"], more["more"], more["comment"]) == ("MOBILE", 4, comments.NOTHING_GIVEN)
    finally:
        server.stop()


WRONG = at(
    coded(
        "CONTAINS",
        ("122090", "DCM", "Intervention Action"),
        ("122061", "DCM", "Start"),
        text("HAS PROPERTIES", NOTE, "QXQ"),
    ),
    now(),
)
"""An intervention (TID 3108) without what its rows 2 and 4 ask for."""
# (what is sent, SOP Class, calling AE title, words of the line)
LINES = [
    (procedural([note(now())], location="QXQ ROOM"), PEL, "HEMO1", ["C103", comments.UNKNOWN_LOCATION, "[locations]"]),
    (procedural([note(now())], study="1.2.9.9.9"), PEL, "MOBILE", ["C103", comments.UNKNOWN_STUDY, "plscp study open"]),
    (procedural([note(now())]), PEL, "HEMO1", ["C103", comments.NONE_AT_LOCATION, "open the study in LAB1"]),
    (procedural([note(now())], patient="QXQ-2"), PEL, "MOBILE", ["C103", comments.UNKNOWN_PATIENT, "plscp study open"]),
    (procedural([note(now() + timedelta(hours=1))]), PEL, "HEMO1", ["C103", "clock", "compare the times that HEMO1 sent"]),
    (substance(now(), patient="QXQ-3"), SAL, "NODRUGS", ["0124", 'devices.NODRUGS.sop_classes lacks "substance-']),
    (substance(now(), patient="QXQ-3"), SAL, "HEMO1", ["C110", comments.PATIENT_NOT_KNOWN, "plscp patient add"]),
    (procedural([WRONG]), PEL, "HEMO1", ["C102", "TID3108 r", "at 2"]),
]  # fmt: skip


@pytest.mark.parametrize("row", LINES, ids=[str(row[3]) for row in LINES])
def test_each_reason_has_its_words(ours: Running, lines: list[Any], row: tuple[Dataset, str, str, list[str]]) -> None:
    """A person reads what was wrong and what to do; nothing of the request is in the line."""
    sent, sop_class, calling, words = row
    with ours.scu(calling) as scu:
        answer(scu, sent, sop_class)
    [line] = refused(lines)
    for word in words:
        assert word in " ".join(map(str, line.values())), line
    assert "QXQ" not in str(line)


def test_a_store_that_fails_is_said_once(ours: Running, lines: list[Any]) -> None:
    """Not kept: no quarantine to look at, and the hint says that nothing is lost."""
    ours.break_store()
    with ours.scu() as scu:
        for _ in range(3):
            assert answer(scu, procedural([note(now())])) == 0x0110
    [line] = refused(lines)
    assert "store-unavailable" in line["comment"]
    assert "nothing is lost" in line["hint"]
    assert "quarantine" not in line


def test_every_refusing_comment_of_matching_has_a_hint_or_needs_none() -> None:
    """Those without one are contradictions and old entries: only the case itself can tell what is right."""
    without = {value for name, value in vars(comments).items() if name.isupper()} - set(HINTS)
    assert without == {
        comments.EXPIRED, comments.TOO_OLD, comments.SEVERAL_WITH_STUDY_ID, comments.ENTRIES_IN_TWO,
        comments.STUDY_ID_CONTRADICTS, comments.LOCATION_CONTRADICTS,
        comments.NOT_STARTED_ELSEWHERE, comments.LEFT_ALREADY, comments.KNOWN_ELSEWHERE, comments.COERCED,
        comments.SYNCHRONIZATION, comments.KNOWN_OF_ANOTHER, comments.NO_PATIENT_GIVEN, comments.ADMISSION_AMBIGUOUS,
        comments.ADMISSION_DIFFERS, comments.NAME_DIFFERS,
    }  # fmt: skip


def test_a_hint_names_settings_as_they_are() -> None:
    """A device that `[devices]` lacks is to be added; what a hint calls a setting is one."""
    from plscp.config import Settings  # noqa: PLC0415

    device = Device("NOBODY1")
    quoted = Profile(Device("CATH LAB.1"), configured=False)
    assert "--device" in hint(0x0124, "", [], Profile(Device(""), configured=False), PEL)
    assert 'add [devices."CATH LAB.1"] with' in hint(0xC103, comments.NOTHING_GIVEN, [], quoted, PEL)
    taken_out = Profile(device, sop_classes=frozenset(), configured=False)
    assert hint(0x0124, "", [], taken_out, PEL) == "add [devices.NOBODY1] to the settings"
    assert "add [devices.NOBODY1] " in hint(0xC103, comments.NOTHING_GIVEN, [], Profile(device, configured=False), PEL)
    tables = set(Settings.model_fields)
    for key in HINTS:
        status, comment = (key, "") if isinstance(key, int) else (0xC103, key)
        text = hint(status, comment, [], Profile(device), PEL)
        assert text
        assert text.isascii()
        assert "\n" not in text
        for table in re.findall(r"\[(\w+)", text) + re.findall(r"\b([a-z]+)\.[A-Z]+1?\.", text):
            assert table in tables
