"""An example of each type of published record."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel

from plscp.records import parts as r
from plscp.records import values as v
from plscp.records.example_entries import UID, WHEN, amount, code, entries
from plscp.templates.log_entries import LogContext
from plscp.templates.observation_context import DeviceObserver, Observer
from plscp.templates.substance import SubstanceAdministered
from plscp.templates.values import Coded, CodeValue, Text

STORE: Final = "6f1c4b3e-0d51-4b0e-9a8f-3f1f8a6f2d10"
NOW: Final = datetime(2026, 3, 1, 14, 30, tzinfo=UTC)
STUDY: Final = f"{UID}.1"


def examples() -> Iterator[tuple[str, str, Any]]:
    """CloudEvents type, name of the example and the value, typed."""
    for kind, name, value in _examples():
        value.type = kind
        yield kind, name, value


def _examples() -> Iterator[tuple[str, str, Any]]:
    for made in entries():
        yield r.ENTRY_TYPE, made.kind, _entry_record(made)
    yield r.ENTRY_TYPE, "reduced", _reduced()
    yield r.ADMINISTRATION_TYPE, "substance_administered", _administration()
    yield r.REFUSED_TYPE, "does-not-match-template", _refusal()
    for what in ("opened", "updated", "closed", "cancelled"):
        yield f"org.plscp.study.{what}.v1", what, _study(what)
    yield "org.plscp.patient.changed.v1", "changed", _patient("changed")
    yield "org.plscp.patient.merged.v1", "merged", _patient("merged")
    yield r.BARRIER, "barrier", r.RelayStarted(store=STORE)


def as_json(value: BaseModel) -> Any:
    """As it is published: without what was not given."""
    return value.model_dump(mode="json", exclude_unset=True)


# --- records ---

_PATIENT: Final = r.Identifier(id="4711", issuer="HOSPITAL")
_STUDY: Final = r.StudyReference(study_instance_uid=STUDY, study_id="S1", accession_number="A1", location="lab-1")
_REQUEST: Final = "0b8a6c52d0d34c1c"
_RECEIVED: Final[dict[str, Any]] = {
    "position": 42,
    "recorded": NOW + timedelta(milliseconds=640),
    "request_id": _REQUEST,
    "sender": r.Sender(ae_title="HEMO1", location="lab-1", address="192.0.2.17"),
}
_ACCEPTED: Final[dict[str, Any]] = {
    **_RECEIVED,
    "event_id": f"{_REQUEST}-0",
    "entry_index": 0,
    "entry_count": 1,
    "same_content_as": None,
    "findings": [],
    "patient": _PATIENT,
    "observation_uid": None,
    "occurred": r.Occurred(
        time=NOW, until=None, text=WHEN.text, basis="own", synchronized=True, clock_difference_seconds=0.21
    ),
}


def _match(rule: str, given: dict[str, str], found: dict[str, str], what: str) -> r.Match:
    candidates = [r.Candidate(what=what, why_not="")]
    return r.Match(
        rule=rule, status="0000", warnings=[], registry_position=17, given=given, found=found, candidates=candidates
    )


def _entry_record(entry: Any) -> v.EntryRecord:
    found = {"study_instance_uid": STUDY, "patient_id": "4711", "location": "lab-1"}
    observer = Observer(
        type=Coded(value="121007", scheme="DCM", meaning="Device"),
        device=DeviceObserver(uid=Text(text=f"{UID}.9"), name=Text(text="Recorder 2")),
    )
    return v.EntryRecord(
        **_ACCEPTED,
        study=_STUDY,
        match=_match("1", {"study_instance_uid": STUDY}, found, STUDY),
        context=LogContext(observers=[observer], room=Text(text="Lab 1")),
        entry=entry,
    )


def _reduced() -> r.ReducedRecord:
    kept = ("event_id", "request_id", "position", "recorded", "occurred", "patient")
    return r.ReducedRecord(
        **{name: _ACCEPTED[name] for name in kept}, study=_STUDY, reduced="too-large", dataref="/api/v1/events/42"
    )


def _administration() -> v.AdministrationRecord:
    entry = SubstanceAdministered(
        kind="substance_administered",
        template="",
        administered=WHEN,
        product_names=["Heparin"],
        route=code(("47625008", "SCT")),
        operators=[CodeValue(value="N-117", scheme="99STAFF", meaning="Nurse 117")],
        device_id="PUMP-3",
        dose=amount("5000", "[iU]"),
    )
    match = _match("patient", {"patient_id": "4711"}, {"id": "4711"}, "HOSPITAL|4711")
    return v.AdministrationRecord(**_ACCEPTED, study=None, match=match, entry=entry)


def _refusal() -> r.RefusalRecord:
    reason = "(363704007, SCT) is missing"
    return r.RefusalRecord(
        **_RECEIVED,
        event_id=f"{_REQUEST}-r",
        findings=[
            r.PublishedFinding(code="missing-row", reason=reason, path="6", template="TID3108", row="2", refuse=True)
        ],
        status="C102",
        status_name="does-not-match-template",
        comment=f"TID3108 r2 {reason} at 6",
        sop_class="1.2.840.10008.1.40",
        match=None,
        dataref="/api/v1/quarantine/3f6c0a9d2b4e8f71",
    )


def _study(what: str) -> r.StudyRecord:
    ended = NOW if what in {"closed", "cancelled"} else None
    opened = None if what in {"updated", "cancelled"} else NOW - timedelta(hours=1)
    change = r.StudyChange(
        what=f"study.{'scheduled' if what == 'updated' else what}",
        study_instance_uid=STUDY,
        study_id="S1",
        accession_number="A1",
        patient=_PATIENT,
        location="lab-1",
        status={"opened": "open", "updated": "scheduled"}.get(what, what),
        opened=opened,
        closed=ended,
        stays=[r.Stay(location="lab-1", arrived=opened, left=ended)] if opened else [],
        steps=[],
    )
    return r.StudyRecord(event_id="8d1e5c0a77b14f0b-0", position=17, recorded=NOW, source="http", change=change)


def _patient(what: str) -> r.PatientRecord:
    prior = r.Identifier(id="TEMP-1", issuer="HOSPITAL")
    merged = {"merged": prior, "former_ids": [prior]} if what == "merged" else {"former_ids": []}
    change = r.PatientChange(
        what=f"patient.{what}",
        id="4711",
        issuer="HOSPITAL",
        key="HOSPITAL|4711",
        other_ids=[],
        placeholder="",
        **merged,
    )
    return r.PatientRecord(event_id="8d1e5c0a77b14f0c-0", position=18, recorded=NOW, source="http", change=change)
