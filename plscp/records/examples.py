"""An example of each type of published record."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel

from plscp.publish.envelope import BARRIER
from plscp.records import values as r
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
    entry_type = "org.plscp.procedure-log.entry.v1"
    for made in entries():
        yield entry_type, made.kind, _entry_record(made)
    yield entry_type, "reduced", _reduced()
    yield "org.plscp.medication-administration.v1", "substance_administered", _administration()
    yield "org.plscp.request.refused.v1", "does-not-match-template", _refusal()
    for what in ("opened", "updated", "closed", "cancelled"):
        yield f"org.plscp.study.{what}.v1", what, _study(what)
    yield "org.plscp.patient.changed.v1", "changed", _patient("changed")
    yield "org.plscp.patient.merged.v1", "merged", _patient("merged")
    yield BARRIER, "barrier", r.RelayStarted(store=STORE)


def as_json(value: BaseModel) -> Any:
    """As it is published: without what was not given."""
    return value.model_dump(mode="json", exclude_unset=True)


# --- records ---

_PATIENT: Final = r.Identifier(id="4711", issuer="HOSPITAL")
_SENDER: Final = r.Sender(ae_title="HEMO1", location="lab-1", address="192.0.2.17")
_STUDY: Final = r.StudyReference(study_instance_uid=STUDY, study_id="S1", accession_number="A1", location="lab-1")


def _common() -> dict[str, Any]:
    request = "0b8a6c52d0d34c1c"
    return {
        "event_id": f"{request}-0",
        "request_id": request,
        "entry_index": 0,
        "entry_count": 1,
        "position": 42,
        "recorded": NOW + timedelta(milliseconds=640),
        "same_content_as": None,
        "findings": [],
        "patient": _PATIENT,
        "sender": _SENDER,
        "observation_uid": None,
        "occurred": r.Occurred(
            time=NOW,
            until=None,
            text=WHEN.text,
            basis="own",
            synchronized=True,
            clock_difference_seconds=0.21,
        ),
    }


def _match(rule: str, given: dict[str, str], found: dict[str, str], what: str) -> r.Match:
    return r.Match(
        rule=rule,
        status="0000",
        warnings=[],
        registry_position=17,
        given=given,
        found=found,
        candidates=[r.Candidate(what=what, why_not="")],
    )


def _entry_record(entry: Any) -> r.EntryRecord:
    found = {"study_instance_uid": STUDY, "patient_id": "4711", "location": "lab-1"}
    return r.EntryRecord(
        **_common(),
        study=_STUDY,
        match=_match("1", {"study_instance_uid": STUDY}, found, STUDY),
        context=LogContext(
            observers=[
                Observer(
                    type=Coded(value="121007", scheme="DCM", meaning="Device"),
                    device=DeviceObserver(uid=Text(text=f"{UID}.9"), name=Text(text="Recorder 2")),
                )
            ],
            room=Text(text="Lab 1"),
        ),
        entry=entry,
    )


def _reduced() -> r.ReducedRecord:
    common = _common()
    return r.ReducedRecord(
        **{name: common[name] for name in ("event_id", "request_id", "position", "recorded", "occurred", "patient")},
        study=_STUDY,
        reduced="too-large",
        dataref="/api/v1/events/42",
    )


def _administration() -> r.AdministrationRecord:
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
    given = {"patient_id": "4711"}
    return r.AdministrationRecord(
        **_common(), study=None, match=_match("patient", given, {"id": "4711"}, "HOSPITAL|4711"), entry=entry
    )


def _refusal() -> r.RefusalRecord:
    common = _common()
    finding = r.PublishedFinding(
        code="missing-row",
        reason="(363704007, SCT) is missing",
        path="6",
        template="TID3108",
        row="2",
        refuse=True,
    )
    return r.RefusalRecord(
        event_id=f"{common['request_id']}-r",
        **{name: common[name] for name in ("request_id", "position", "recorded", "sender")},
        findings=[finding],
        status="C102",
        status_name="does-not-match-template",
        comment="TID3108 r2 (363704007, SCT) is missing at 6",
        sop_class="1.2.840.10008.1.40",
        match=None,
        dataref="/api/v1/quarantine/3f6c0a9d2b4e8f71",
    )


def _study(what: str) -> r.StudyRecord:
    ended = NOW if what in {"closed", "cancelled"} else None
    opened = None if what in {"updated", "cancelled"} else NOW - timedelta(hours=1)
    return r.StudyRecord(
        event_id="8d1e5c0a77b14f0b-0",
        position=17,
        recorded=NOW,
        source="http",
        change=r.StudyChange(
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
        ),
    )


def _patient(what: str) -> r.PatientRecord:
    prior = r.Identifier(id="TEMP-1", issuer="HOSPITAL")
    merged = {"merged": prior, "former_ids": [prior]} if what == "merged" else {"former_ids": []}
    return r.PatientRecord(
        event_id="8d1e5c0a77b14f0c-0",
        position=18,
        recorded=NOW,
        source="http",
        change=r.PatientChange(
            what=f"patient.{what}",
            id="4711",
            issuer="HOSPITAL",
            key="HOSPITAL|4711",
            other_ids=[],
            placeholder="",
            **merged,
        ),
    )
