"""What `plscp match` is told: the same rules, identifiers, times and devices as a request's, nothing stored, no clock measured."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from plscp.errors import InvalidBody
from plscp.matching import changes, comments
from plscp.matching.model import Device, Instant, Operator, Policy
from plscp.matching.registry import Locations, Registry
from plscp.service.clock import ClockDifferences
from plscp.service.explain_match import as_dt, explain_match
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.store import open_store

POLICY = Policy(patient_id_issuer="HOSP")
PROFILES = {
    "": Profile(Device(""), POLICY, sop_classes=frozenset()),  # as of all whom the settings do not name
    "HEMO1": Profile(Device("HEMO1", ("LAB1",)), POLICY, zone="Asia/Tokyo"),
    "LOGS1": Profile(Device("LOGS1", ("LAB1",)), POLICY, sop_classes=frozenset({PROCEDURAL_EVENT_LOGGING})),
    "PUMP1": Profile(Device("PUMP1", ("LAB1",)), POLICY, operators=(Operator("N1", "L"),)),
    "STRICT": Profile(Device("STRICT"), POLICY, strict=True),
}
HOUR = timedelta(hours=1)


@pytest.fixture
def asked(tmp_path: Path) -> Any:
    """Asks a registry in which P1's study 1.1 was opened in LAB1 two hours ago, with admission V1; keeps the clocks."""
    store = open_store(f"sqlite:///{tmp_path / 'plscp.db'}")
    began = datetime.now(UTC) - 2 * HOUR
    registry = Registry(Locations({"LAB1": ["Lab 1"]}))
    keeper = RegistryKeeper(store, registry, policy=POLICY)
    body = {"study_instance_uid": "1.1", "patient": {"id": "P1"}, "location": "LAB1", "status": "open"}
    visit = {"id": "V1", "patient": {"id": "P1"}}
    for planner, said in ((changes.put_study, body), (changes.put_admission, visit)):
        for record in planner(registry, said, POLICY, began):
            registry.apply(registry.position + 1, int(began.timestamp() * 1e6), record.change)
    clocks = ClockDifferences()

    def ask(**query: str) -> dict[str, Any]:
        return explain_match(keeper, lambda ae: PROFILES.get(ae) or Profile(Device(ae), POLICY), clocks, query)

    ask.clocks = clocks  # type: ignore[attr-defined]
    yield ask
    store.close()


def iso(ago: timedelta) -> str:
    """So long ago, ISO 8601 to the second."""
    return (datetime.now(UTC) - ago).isoformat(timespec="seconds")


def measure(asked: Any, ae_title: str, behind: timedelta) -> None:
    """The device's clock is measured by two requests."""
    now = datetime.now(UTC)
    for second in (2, 1):
        arrival = now - timedelta(seconds=second)
        stamped = arrival - behind
        moment = Instant("", stamped, stamped, "own")
        asked.clocks.measure(ae_title, [moment], arrival, POLICY.clock_tolerance)


def test_a_time_is_asked_for_and_the_clock_counts_as_measured(asked: Any) -> None:
    """An entry of an hour ago by place: unknown clock and arrival agree; a slow one and none there then do not; without place no clock."""
    now = asked(ae_title="HEMO1")
    assert (now["status"], now["rule"], now["clock"]) == ("0000", "7", {"state": "unknown", "difference_seconds": None})
    before = asked(ae_title="HEMO1", at=iso(3 * HOUR))
    assert (before["status"], before["comment"]) == ("C103", comments.NONE_THEN_ONE_NOW)
    assert "clock" in before["hint"]
    measure(asked, "HEMO1", timedelta(0))
    known = asked(ae_title="HEMO1", at=iso(HOUR))
    assert (known["study_instance_uid"], known["clock"]["state"]) == ("1.1", "known")
    assert known["occurred"]["clock_difference_seconds"] == 0
    measure(asked, "SLOW", 7 * HOUR)
    slow = asked(ae_title="SLOW", location="Lab 1", at=iso(7 * HOUR))
    assert (slow["status"], slow["comment"]) == ("C103", comments.TOO_OLD_BY_A_SLOW_CLOCK)
    assert "clock" not in asked(study_instance_uid="1.1", ae_title="HEMO1")


def test_asking_measures_no_clock(asked: Any) -> None:
    """However often."""
    for _ in range(3):
        assert asked(ae_title="HEMO1", at=iso(HOUR))["clock"]["state"] == "unknown"


@pytest.mark.parametrize(
    ("text", "dt"),
    [
        ("2024-05-14T10:30", "202405141030"),
        ("2024-05-14 10:30:15.25Z", "20240514103015.25+0000"),
        ("2024-05-14T10:30:15+02:00", "20240514103015+0200"),
        ("20240514103015-0500", "20240514103015-0500"),
        (" soon ", "soon"),
    ],
)
def test_iso_8601_becomes_a_dt(text: str, dt: str) -> None:
    """With the precision and offset that it has."""
    assert as_dt(text) == dt


def test_a_time_without_offset_is_in_the_devices_zone(asked: Any) -> None:
    """As a DateTime that it stamps is."""
    occurred = asked(ae_title="HEMO1", at="2024-05-14T10:30:00")["occurred"]
    assert (occurred["basis"], occurred["time"]) == ("device", datetime(2024, 5, 14, 1, 30, tzinfo=UTC))


@pytest.mark.parametrize("text", ["soon", "2024-13-01T00:00", "99999999", "2024-05-14T10:30:00+19:00"])
def test_what_is_no_time_is_said(asked: Any, text: str) -> None:
    """In one line, without the text."""
    with pytest.raises(InvalidBody, match=r"^at: not|^at: offset"):
        asked(at=text)


SUBSTANCE = {"sop_class": "substance-administration-logging"}


@pytest.mark.parametrize(
    ("query", "status", "rule", "comment"),
    [
        ({"patient_id": "P1"}, "0000", "patient", ""),
        ({"admission_id": "V1"}, "0000", "admission", ""),
        ({"patient_id": "P2"}, "C110", "", comments.PATIENT_NOT_KNOWN),
        (
            {"patient_id": "P1", "ae_title": "PUMP1", "operator": "N2^L"},
            "C10E",
            "patient",
            comments.OPERATOR_NOT_ALLOWED,
        ),
        ({"patient_id": "P1", "ae_title": "PUMP1", "operator": "N1^L"}, "0000", "patient", ""),
        ({"patient_id": "P1", "ae_title": "LOGS1"}, "0124", "", ""),
        ({"patient_id": "P1", "at": "29990101"}, "0115", "", "more than a day later than its arrival"),
        ({"patient_id": "P1", "ae_title": "STRICT", "at": "20240101"}, "0115", "", "not dated to the minute"),
    ],
)
def test_administrations(asked: Any, query: dict[str, str], status: str, rule: str, comment: str) -> None:
    """Steps 4, 7, 8 and 9 of a Substance Administration."""
    found = asked(**SUBSTANCE, **query)
    assert (found["status"], found["rule"], found["comment"]) == (status, rule, comment)
    assert bool(found["hint"]) == (status in {"0124", "C110", "C10E"})


def test_every_identifier_of_a_log_counts(asked: Any) -> None:
    """Issuer, its qualifiers, Study ID, location and frame."""
    assert asked(patient_id="P1", issuer="NOWHERE")["comment"] == comments.ISSUER_NOT_LISTED
    assert asked(patient_id="P1", issuer_universal_entity_id="1.9")["comment"] == comments.ISSUER_NOT_LISTED
    assert asked(study_instance_uid="1.1", frame="1.9")["status"] == "B101"
    assert asked(study_id="S9", patient_id="P1", location="LAB1")["rule"] == "4"
    assert asked(location="Lab 1")["rule"] == "6"
