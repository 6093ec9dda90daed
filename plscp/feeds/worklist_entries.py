"""What a Modality Worklist says (PS3.4 Annex K): identifiers of C-FIND responses to scheduled studies, and these to registry changes.

An entry is one Scheduled Procedure Step; a study may have several. The Study ID is the Requested Procedure ID, as modalities take it over.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from plscp.content.elements import Elements, items_of, text_of, undecoded
from plscp.content.model import Bounds
from plscp.content.reader import decode
from plscp.content.syntax import is_ui
from plscp.errors import InvalidBody, Refused
from plscp.matching.changes import end_study, plan_patient, plan_study
from plscp.matching.hospital import is_whose, place_of, require_nobody_else
from plscp.matching.plan import Plan
from plscp.matching.records import PatientId
from plscp.matching.registry import Issuers
from plscp.matching.times import instant
from plscp.scu.worklist import WORKLIST

BOUNDS: Final = Bounds(data_set=1 << 16, depth=8, elements=2000, value=1 << 14)
"""Of one identifier."""
CANCELLED: Final = frozenset({"CANCELED", "CANCELLED", "DISCONTINUED"})
"""Values of Scheduled Procedure Step Status with which worklists list what will not be done."""
STUDY_ID_CHARACTERS: Final = 16
_DEMOGRAPHICS: Final = ("name", "birth_date", "sex")

_STUDY_INSTANCE_UID, _ACCESSION_NUMBER, _REQUESTED_PROCEDURE_ID = 0x0020000D, 0x00080050, 0x00401001
_PATIENT_NAME, _PATIENT_ID, _BIRTH_DATE, _SEX = 0x00100010, 0x00100020, 0x00100030, 0x00100040
_ISSUER, _QUALIFIERS, _UNIVERSAL_ENTITY_ID = 0x00100021, 0x00100024, 0x00400032
_OFFSET, _STEPS = 0x00080201, 0x00400100
_STATION, _START_DATE, _START_TIME, _STEP_ID = 0x00400001, 0x00400002, 0x00400003, 0x00400009
_STATION_NAME, _LOCATION, _STATUS = 0x00400010, 0x00400011, 0x00400020


@dataclass(frozen=True)
class WorklistEntry:
    """One entry.

    Attributes:
        patient: its ID and issuer as they were given; empty where there is none.
        stations: Scheduled Station AE Titles.
        places: what else says where it is to be: Scheduled Procedure Step Location, Scheduled Station Name.
        planned: UTC; None where it is not said.
        notes: what is wrong without keeping the entry from being taken; a line each, without patients.
    """

    study_instance_uid: str
    step_id: str
    patient: PatientId
    name: str
    birth_date: str
    sex: str
    study_id: str
    accession_number: str
    stations: tuple[str, ...]
    places: tuple[str, ...]
    planned: datetime | None
    cancelled: bool
    raw: bytes = field(repr=False, compare=False, default=b"")
    notes: tuple[str, ...] = ()


def read_entry(
    raw: bytes, transfer_syntax: str, issuers: Issuers, *, device_zone: str | None, server_zone: str, arrival: datetime
) -> WorklistEntry:
    """Read the identifier of one response.

    Args:
        device_zone, server_zone: of times, where the entry has no Timezone Offset From UTC: the worklist's, else the server's.
        arrival: UTC; decides between the readings of a repeated hour.

    Raises:
        InvalidBody: it does not decode, has no Study Instance UID, or an identifier in it does not decode. One line, without patients.
    """
    try:
        root = decode(raw, transfer_syntax, calling_ae="", sop_class=WORKLIST, bounds=BOUNDS).root.elements
    except Refused as error:
        raise InvalidBody(f"the entry does not decode: {error}") from None
    step = next(iter(items_of(root.get(_STEPS))), {})
    study = _identifying(root, _STUDY_INSTANCE_UID, "Study Instance UID")
    if not is_ui(study):
        raise InvalidBody(f"Study Instance UID: {'not a UID (PS3.5 9.1)' if study else 'is missing'}")
    patient = PatientId(_identifying(root, _PATIENT_ID, "Patient ID"), _issuer(root, issuers))
    notes: list[str] = []
    planned = None
    day, clock = _readable(step, _START_DATE), _readable(step, _START_TIME).replace(":", "")
    try:
        if day:
            planned = instant(
                day.replace(".", "") + clock,
                request_offset=_readable(root, _OFFSET),
                device_zone=device_zone,
                server_zone=server_zone,
                arrival=arrival,
                tolerance=timedelta(days=1),
            ).earliest
    except ValueError as error:
        notes.append(f"Scheduled Procedure Step Start Date and Time: {error}: not taken")
    study_id = _identifying(root, _REQUESTED_PROCEDURE_ID, "Requested Procedure ID")
    if len(study_id) > STUDY_ID_CHARACTERS:
        notes.append(
            f"Requested Procedure ID has more than {STUDY_ID_CHARACTERS} characters: the study gets no Study ID"
        )
        study_id = ""
    return WorklistEntry(
        study_instance_uid=study,
        step_id=text_of(step, _STEP_ID)[:64],
        patient=patient,
        name=_readable(root, _PATIENT_NAME),
        birth_date=_readable(root, _BIRTH_DATE),
        sex=_readable(root, _SEX),
        study_id=study_id,
        accession_number=_identifying(root, _ACCESSION_NUMBER, "Accession Number"),
        stations=tuple(filter(None, map(str.strip, _readable(step, _STATION).split("\\")))),
        places=tuple(filter(None, (_readable(step, _LOCATION), _readable(step, _STATION_NAME)))),
        planned=planned,
        cancelled=_readable(step, _STATUS) in CANCELLED,
        raw=raw,
        notes=tuple(notes),
    )


def _identifying(elements: Elements, tag: int, name: str) -> str:
    """A text that identifies. Raises InvalidBody: it does not decode; a guess could be another patient's."""
    if _is_undecoded(elements, tag):
        raise InvalidBody(f"{name}: does not decode in the character set that the entry names")
    return text_of(elements, tag)


def _readable(elements: Elements, tag: int) -> str:
    """A text that identifies nobody; empty where it does not decode."""
    return "" if _is_undecoded(elements, tag) else text_of(elements, tag)


def _is_undecoded(elements: Elements, tag: int) -> bool:
    return tag in elements and undecoded(elements[tag])


def _issuer(root: Elements, issuers: Issuers) -> str:
    """The assigning authority of the Patient ID: (0010,0021), else the Universal Entity ID of (0010,0024).

    Raises:
        InvalidBody: they name different ones (contract section 3).
    """
    qualifiers = next(iter(items_of(root.get(_QUALIFIERS))), {})
    named = _identifying(root, _ISSUER, "Issuer of Patient ID")
    universal = _identifying(qualifiers, _UNIVERSAL_ENTITY_ID, "Universal Entity ID")
    if named and universal and issuers.spell(named) != issuers.spell(universal):
        raise InvalidBody(
            "Issuer of Patient ID and its qualifiers name two authorities: [issuers] may lack that they are one"
        )
    return named or universal


# --- studies ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScheduledStudy:
    """What all entries of one study say together; the earliest that is not cancelled says where and when it begins.

    Attributes:
        entries: at least one, the earliest first; none that is cancelled before one that is not.
    """

    entries: tuple[WorklistEntry, ...]

    @property
    def first(self) -> WorklistEntry:
        """The entry that says when the study begins."""
        return self.entries[0]

    @property
    def cancelled(self) -> bool:
        """Whether none of its steps will be done."""
        return self.first.cancelled

    def said(self, name: str) -> str:
        """A value that need not stand in every entry."""
        return next((value for entry in self.entries if (value := getattr(entry, name))), "")


def by_study(entries: Iterable[WorklistEntry]) -> list[ScheduledStudy]:
    """The studies of a worklist, each entry once, in the order in which they were answered."""
    together: dict[str, dict[WorklistEntry, None]] = {}
    for entry in entries:  # two queries may find the same
        together.setdefault(entry.study_instance_uid, {})[entry] = None

    def when(entry: WorklistEntry) -> tuple[bool, bool, float, str]:
        planned = entry.planned
        return entry.cancelled, planned is None, planned.timestamp() if planned else 0.0, entry.step_id

    return [ScheduledStudy(tuple(sorted(of_one, key=when))) for of_one in together.values()]


def plan_scheduled(
    plan: Plan, said: ScheduledStudy, locations_of: Callable[[str], Sequence[str]], *, renewed: bool
) -> None:
    """Plan what a worklist says of one study.

    What is known of a patient goes before what the worklist says, since the hospital's registration knows it sooner; of a study that was
    opened only what is not known is taken, and one that is cancelled stays so.

    Args:
        locations_of: the locations of a device, by its AE title.
        renewed: the worklist listed it as cancelled before: then it is scheduled again.

    Raises:
        Conflict: the registry forbids it: as a rule the study stands under another patient, or a new one would come
            under somebody who is visibly another than the entry names.
        InvalidBody: a value cannot be taken, or the entries name different patients.
    """
    first, uid = said.first, said.first.study_instance_uid
    patient, known = first.patient.as_json(), plan.view.study(uid)
    if said.cancelled:
        if known is not None and known.status == "scheduled":
            end_study(plan, uid, "cancelled")
        return
    if known is not None and known.status == "cancelled" and not renewed:
        return
    if len({entry.patient for entry in said.entries}) > 1:
        raise InvalidBody("entries of one study name different patients")
    body: dict[str, Any] = {"study_instance_uid": uid}
    if plan.usable(first.patient.id) or known is None:
        body["patient"] = patient
    if plan.usable(first.patient.id):
        _plan_patient(plan, said)
        if known is None or not is_whose(plan, patient, known.patient):
            require_nobody_else(plan, {name: said.said(name) for name in _DEMOGRAPHICS} | patient)
    if known is None or known.status == "cancelled":
        body["status"] = "scheduled"
    begun = known is not None and known.status in {"open", "closed"}
    for name in ("study_id", "accession_number"):
        if (value := said.said(name)) and not (begun and getattr(known, name)):
            body[name] = value
    if not begun:
        if first.planned is not None:
            body["planned"] = first.planned
        if place := _place(plan, first, locations_of):
            body["location"] = place
    plan_study(plan, body)


def _plan_patient(plan: Plan, said: ScheduledStudy) -> None:
    known = plan.known(*said.first.patient)
    current = known.current if known is not None else said.first.patient
    body = {
        name: value
        for name in _DEMOGRAPHICS
        if (value := said.said(name)) and not (known is not None and getattr(known, name))
    }
    if known is None or body:
        plan_patient(plan, body | current.as_json(), anew=False)


def _place(plan: Plan, entry: WorklistEntry, locations_of: Callable[[str], Sequence[str]]) -> str:
    """Where it is to be: the one location of the stations, else the first name of them or of the place that a `[locations]` entry lists."""
    places = {plan.view.place(place) for station in entry.stations for place in locations_of(station)}
    names = (*(places if len(places) == 1 else ()), *entry.stations, *entry.places)
    return place_of(plan, names)
