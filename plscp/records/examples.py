"""An example of each type of published record, and of each kind of entry: what its table demands, and what is said here beside it."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel

from plscp.content.codes import Key, meaning_of
from plscp.content.model import Numeric
from plscp.records import parts as r
from plscp.records import values as v
from plscp.templates.compiled import CompiledRow, CompiledTemplate
from plscp.templates.entries import ENTRY_KINDS, EntryKind, Untyped
from plscp.templates.log_entries import LogContext
from plscp.templates.observation_context import DeviceObserver, Observer
from plscp.templates.rows import M, Term
from plscp.templates.substance import SubstanceAdministered
from plscp.templates.values import Amount, Coded, CodeValue, Entry, Item, Moment, ObjectReference, Text

STORE: Final = "6f1c4b3e-0d51-4b0e-9a8f-3f1f8a6f2d10"
NOW: Final = datetime(2026, 3, 1, 14, 30, tzinfo=UTC)
UID: Final = "1.2.826.0.1.3680043.9.7.1"
WHEN: Final = Moment(text="20260301143000.000000+0000", precision="fraction")
STUDY: Final = f"{UID}.1"
EXAMPLE_OBSERVER: Final = (f"{UID}.9", "Recorder 2")
"""UID and name of the device that reports."""


def examples() -> Iterator[tuple[str, str, Any]]:
    """CloudEvents type, name of the example and the value, typed."""
    for kind, name, value in _examples():
        value.type = kind
        yield kind, name, value


def _examples() -> Iterator[tuple[str, str, Any]]:
    records = {made.kind: _entry_record(made) for made in entries()}
    for kind, record in records.items():
        yield r.ENTRY_TYPE, kind, record
    kept = {name: _ACCEPTED[name] for name in ("event_id", "request_id", "position", "recorded", "occurred", "patient")}
    too_large = r.ReducedRecord(**kept, study=_STUDY, reduced="too-large", dataref="/api/v1/events/42")
    yield r.ENTRY_TYPE, "reduced", too_large
    match = _match("patient", {"patient_id": "4711"}, {"id": "4711"}, "HOSPITAL|4711")
    given = v.AdministrationRecord(**_ACCEPTED, study=None, match=match, entry=administration())
    yield r.ADMINISTRATION_TYPE, "substance_administered", given
    withdrawn = r.WithdrawnRecord(event_id=f"{_MOVE.id}-0", position=57, recorded=NOW, correction=_MOVE)
    yield r.WITHDRAWN_TYPE, "withdrawn", withdrawn
    before = records["drug_administered"]
    whole = {name: getattr(before, name) for name in before.model_fields_set - {"type"}}
    assigned = v.AssignedRecord(**whole | {"event_id": f"{_MOVE.id}-1", "position": 58}, correction=_MOVE)
    yield r.ASSIGNED_TYPE, "assigned", assigned
    yield r.REFUSED_TYPE, "does-not-match-template", _refusal()
    for what in ("opened", "updated", "closed", "cancelled"):
        yield f"org.plscp.study.{what}.v1", what, _study(what)
    for what in ("changed", "merged"):
        yield f"org.plscp.patient.{what}.v1", what, _patient(what)
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
        device=DeviceObserver(uid=Text(text=EXAMPLE_OBSERVER[0]), name=Text(text=EXAMPLE_OBSERVER[1])),
    )
    return v.EntryRecord(
        **_ACCEPTED,
        study=_STUDY,
        match=_match("1", {"study_instance_uid": STUDY}, found, STUDY),
        context=LogContext(observers=[observer], room=Text(text="Lab 1")),
        entry=entry,
    )


def administration() -> SubstanceAdministered:
    """What was given, of a Substance Administration: accepted without a finding under a strict profile."""
    return SubstanceAdministered(
        kind="substance_administered",
        template="",
        administered=WHEN,
        product_names=["Heparin"],
        route=code(("47625008", "SCT")),
        operators=[CodeValue(value="N-117", scheme="99STAFF", meaning="Nurse 117")],
        device_id="PUMP-3",
        dose=amount("5000", "[iU]"),
    )


_MOVE: Final = r.Correction(
    id="5d0c9a1e7b3f2468",
    event_id=f"{_REQUEST}-0",
    event_position=42,
    moved_from=r.EventPlace(study_instance_uid=f"{UID}.4", patient=r.Identifier(id="4712", issuer="HOSPITAL")),
    moved_to=r.EventPlace(study_instance_uid=STUDY, patient=_PATIENT),
    who="operate",
    why="the recorder still had the previous patient's study",
)


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


# --- entries ---

_STENT, _LEFT_MAIN = ("65818007", "SCT"), ("1256091001", "SCT")
_SAID: Final[Mapping[str, str | Key]] = {
    "note.type": ("121172", "DCM"),
    "note.text": "Sheath removed",
    "specimen_obtained.collection": ("82078001", "SCT"),
    "patient_event.event": ("122023", "DCM"),
    "staff_action.action": ("122041", "DCM"),
    "staff_action.person": "Doe^Jane",
    "equipment_event.event": ("122048", "DCM"),
    "equipment_event.equipment": "Injector 2",
    "procedure_action.action": ("121130", "DCM"),
    "procedure_action.procedure": ("103716009", "SCT"),
    "procedure_action.item_id": "STEP-2",
    "image_acquired.image": "1.2.840.10008.5.1.4.1.1.12.1",
    "image_acquired.series_instance_uid": f"{UID}.2",
    "image_acquired.modality": ("XA", "DCM"),
    "image_acquired.number_of_frames": ("72", "1"),
    "waveform_acquired.waveform": "1.2.840.10008.5.1.4.1.1.9.2.1",
    "waveform_acquired.modality": ("HD", "DCM"),
    "waveform_acquired.duration": ("10", "s"),
    "object_referenced.purpose": ("122073", "DCM"),
    "object_referenced.object": "1.2.840.10008.5.1.4.1.1.7",
    "consumable.action": ("122076", "DCM"),
    "consumable.material": _STENT,
    "consumable.description": "Stent 3.5 x 18 mm",
    "consumable.serial_number": "1234567",
    "consumable.lot": "24-0815",
    "consumable.quantity": ("1", "1"),
    "consumable.billing_code": ("4711", "99SHOP"),
    "lesion_identified.lesion": "1",
    "lesion_identified.site": _LEFT_MAIN,
    "lesion_identified.stenosis": ("80", "%"),
    "lesion_identified.stenosis.phase": ("128955008", "SCT"),
    "lesion_identified.timi_flow": ("371864007", "SCT"),
    "drug_administered.action": ("122083", "DCM"),
    "drug_administered.drug": ("84812008", "SCT"),
    "drug_administered.route": ("47625008", "SCT"),
    "drug_administered.dose": ("5000", "[iU]"),
    "drug_administered.administered_by": "Doe^Jane",
    "device_used.action": ("371876007", "SCT"),
    "device_used.device": _STENT,
    "device_used.diameter": ("3.5", "mm"),
    "device_used.length": ("18", "mm"),
    "device_used.site": ("41801008", "SCT"),
    "intervention.action": ("122305", "DCM"),
    "intervention.site": _LEFT_MAIN,
    "intervention.attempt": "1",
    "intervention.devices": _STENT,
    "intervention.inflation_pressure": ("14", "atm"),
    "intervention.inflation_duration": ("20", "s"),
    "complication.complication": ("44808001", "SCT"),
    "measurement.measured": ("8867-4", "LN"),
    "measurement.quantity": ("72", "{H.B.}/min"),
    "coded_measurement.measured": ("882-1", "LN"),
    "coded_measurement.result": ("112144000", "SCT"),
    "coded_finding.finding": ("396339007", "SCT"),
    "coded_finding.severity": ("24484000", "SCT"),
    "coded_finding.site": _LEFT_MAIN,
    "impression.type": ("121073", "DCM"),
    "impression.text": "Good result",
    "percutaneous_entry.action": ("444850002", "SCT"),
    "percutaneous_entry.laterality": ("24028007", "SCT"),
    "oxygen_administration.action": ("121161", "DCM"),
    "oxygen_administration.support": ("371907003", "SCT"),
    "oxygen_administration.oxygen_rate": ("2", "l/min"),
    "circulatory_support.action": ("121157", "DCM"),
    "circulatory_support.support": ("129113006", "SCT"),
    "ventilation.action": ("121168", "DCM"),
    "ventilation.support": ("371785003", "SCT"),
    "pacing.action": ("121166", "DCM"),
    "pacing.support": ("344994008", "SCT"),
    "patient_assessment.assessment": ("61746007", "SCT"),
    "patient_assessment.systolic_pressure": ("128", "mm[Hg]"),
    "patient_assessment.diastolic_pressure": ("76", "mm[Hg]"),
    "patient_assessment.heart_rate": ("72", "{H.B.}/min"),
    "patient_assessment.body_temperature": ("36.8", "Cel"),
    "patient_assessment.blood_gas_saturation": ("97", "%"),
    "patient_assessment.blood_gas_saturation.concept": ("20564-1", "LN"),
    "patient_assessment.respiration_rate": ("14", "/min"),
    "patient_assessment.pulse_strengths": ("3", "{0:4}"),
    "patient_assessment.pain_score": ("2", "{1:10}"),
    "patient_assessment.cardiac_rhythm": ("10:9232", "MDC"),
    "ecg_st_assessment.analysis": ("258181008", "SCT"),
    "ecg_st_assessment.st_changes": ("-150", "uV"),
    "ecg_st_assessment.st_changes.lead": ("2:3", "MDC"),
}
"""By kind and member: a text, a SOP Class, a code, or a number with its UCUM unit; `concept` where a row allows several."""
_MEANINGS: Final[Mapping[Key, str]] = {
    ("4711", "99SHOP"): "Stent, drug eluting",
    ("8867-4", "LN"): "Heart rate",
    ("882-1", "LN"): "ABO and Rh group",
    ("112144000", "SCT"): "Blood group A",
}


def entries() -> list[Any]:
    """One entry of each kind: accepted without a finding under a strict profile."""
    return [*map(_entry, ENTRY_KINDS.values()), _untyped()]


def code(key: Key) -> CodeValue:
    """A code with its meaning."""
    return CodeValue(value=key[0], scheme=key[1], meaning=_MEANINGS.get(key) or meaning_of(key) or key[0])


def amount(text: str, unit: str) -> Amount:
    """A number with its UCUM unit."""
    return Amount(text=text, value=float(text), unit=code((unit, "UCUM")))


def _entry(kind: EntryKind) -> Entry:
    own = {"kind": kind.kind, "template": kind.head.identifier, "observation_datetime": WHEN}
    own[kind.value] = _value(f"{kind.kind}.{kind.value}", kind.row)
    said, concept = _SAID.get(f"{kind.kind}.{kind.concept}"), kind.row.row.concept
    key = said if isinstance(said, tuple) else (concept.value, concept.scheme) if isinstance(concept, Term) else None
    assert key is not None, kind.kind
    own[kind.concept] = code(key)
    return kind.model(**own, **_members(kind.row.below, kind.kind))


def _members(template: CompiledTemplate, path: str) -> dict[str, Any]:
    rows = [row for row in template.rows if not row.within]
    made = {row: _item(row, f"{path}.{row.name}") for row in rows if f"{path}.{row.name}" in _SAID}
    missing = [row.name for row in rows if row.row.req == M and row.refuses("req") and row not in made]
    assert not missing, (path, missing)
    return {row.name: [item] if row.many else item for row, item in made.items()}


def _item(row: CompiledRow, place: str) -> Any:
    value = _value(place, row)
    members = _members(row.below, place)
    concept = _SAID.get(f"{place}.concept")
    if isinstance(concept, tuple):
        members["concept"] = code(concept)
    if isinstance(value, str):
        return row.model(text=value, **members)
    return row.model(**{name: getattr(value, name) for name in value.model_fields_set}, **members)


def _value(place: str, row: CompiledRow) -> Any:
    said = _SAID[place]
    if isinstance(said, str):
        return said if row.holds is str else ObjectReference(sop_class_uid=said, sop_instance_uid=f"{UID}.3")
    return amount(*said) if row.holds is Numeric else code(said)


def _untyped() -> Untyped:
    item = Item(
        relationship="CONTAINS",
        value_type="PNAME",
        concept=CodeValue(value="TOLD", scheme="99SHOP", meaning="Relative informed"),
        text="Doe^John",
        observation_datetime=WHEN,
    )
    return Untyped(kind="untyped", template="", item=item)
