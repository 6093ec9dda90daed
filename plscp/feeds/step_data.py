"""The data sets of a Modality Performed Procedure Step: what an N-CREATE and an N-SET say (PS3.4 Tables F.7.2-1 and F.7.2-2).

What names patient, study and step is checked strictly. All else that is missing or odd is left out and noted: old modalities must not
be refused for what nothing rests on. A strict profile asks for every Type 1 attribute of the step itself as well.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple, cast

from plscp.content.elements import Elements, items_of, tag_text, text_of, undecoded
from plscp.content.syntax import is_ui
from plscp.errors import MissingAttribute, MissingAttributeValue, Refused
from plscp.findings import Finding
from plscp.matching.match_context import SentIssuer
from plscp.matching.step_changes import StepStudy
from plscp.matching.steps import IN_PROGRESS, StepStatus
from plscp.matching.times import instant
from plscp.service.profile import Profile

MODALITY: Final = 0x00080060
STUDY_INSTANCE_UID, STUDY_ID, ACCESSION_NUMBER = 0x0020000D, 0x00200010, 0x00080050
PATIENT_ID, ISSUER_OF_PATIENT_ID = 0x00100020, 0x00100021
ISSUER_QUALIFIERS, UNIVERSAL_ENTITY_ID = 0x00100024, 0x00400032
TIMEZONE_OFFSET: Final = 0x00080201
STATION_AE_TITLE, STATION_NAME, LOCATION = 0x00400241, 0x00400242, 0x00400243
START_DATE, START_TIME, END_DATE, END_TIME = 0x00400244, 0x00400245, 0x00400250, 0x00400251
STATUS, STEP_ID, SCHEDULED, DISCONTINUED_FOR = 0x00400252, 0x00400253, 0x00400270, 0x00400281
CODE_VALUE, CODING_SCHEME = 0x00080100, 0x00080102

_NEEDED: Final = (STEP_ID, STATION_AE_TITLE, START_DATE, START_TIME, MODALITY)
"""Type 1 of an N-CREATE on which nothing rests here."""
_STATUSES: Final = frozenset({IN_PROGRESS, "COMPLETED", "DISCONTINUED"})
_UNFIT: Final = re.compile(r"[\\\x00-\x1f\x7f]")
_DATE: Final = re.compile(r"\d{8}", re.ASCII)
_TIME: Final = re.compile(r"\d{4}(\d\d(\.\d{1,6})?)?", re.ASCII)


class StepData(NamedTuple):
    """What an N-CREATE or an N-SET says, before the patient's issuer and the place are looked up.

    Attributes:
        status: None where it is not among what is set.
        issuer: as it was sent.
        time: when the step began or, of an N-SET, ended, in UTC; None where it was not stated, or cannot be used.
        location, station_name: Performed Location and Performed Station Name, as sent.
        reason: why it was discontinued: Code Value and Coding Scheme Designator, ``110514^DCM``.
    """

    status: StepStatus | None
    studies: tuple[StepStudy, ...]
    patient_id: str
    issuer: SentIssuer
    time: datetime | None
    station_ae_title: str = ""
    location: str = ""
    station_name: str = ""
    reason: str = ""


def created_step(elements: Elements, profile: Profile, arrival: datetime, notes: list[str]) -> StepData:
    """Read an N-CREATE's data set.

    Args:
        notes: gets what was left out because it cannot be used; no identifiers.

    Raises:
        Refused: 0120H, 0121H, 0106H for what names patient, study or status.
    """
    missing = [tag for tag in (SCHEDULED, STATUS) if tag not in elements]
    empty = [tag for tag in (STATUS,) if tag in elements and not text_of(elements, tag)]
    items = items_of(elements.get(SCHEDULED))
    if SCHEDULED in elements and not items:
        empty.append(SCHEDULED)
    if any(STUDY_INSTANCE_UID not in item for item in items):
        missing.append(STUDY_INSTANCE_UID)
    elif not all(text_of(item, STUDY_INSTANCE_UID) for item in items):
        empty.append(STUDY_INSTANCE_UID)
    if profile.strict:
        missing += [tag for tag in (*_NEEDED, PATIENT_ID) if tag not in elements]
        empty += [tag for tag in _NEEDED if tag in elements and not text_of(elements, tag)]
    if missing:
        raise MissingAttribute(sorted(missing))
    if empty:
        raise MissingAttributeValue(sorted(empty))
    if text_of(elements, STATUS) != IN_PROGRESS:
        raise _invalid("a step is created IN PROGRESS")
    patient_id, issuer = _patient(elements)
    return StepData(
        status=IN_PROGRESS,
        studies=_studies(elements, items, notes),
        patient_id=patient_id,
        issuer=issuer,
        station_ae_title=_short(elements, STATION_AE_TITLE, 16, notes),
        location=_short(elements, LOCATION, 64, notes),
        station_name=_short(elements, STATION_NAME, 64, notes),
        time=_moment(elements, (START_DATE, START_TIME), profile, arrival, notes),
    )


def step_update(elements: Elements, profile: Profile, arrival: datetime, notes: list[str]) -> StepData:
    """Read an N-SET's data set; arguments as of `created_step`.

    Raises:
        Refused: 0121H, 0106H for a status, or for the end of a final one where the profile is strict; 0120H is no status of an
            N-SET (PS3.7 10.1.3.1.9).
    """
    status = text_of(elements, STATUS)
    if STATUS in elements and not status:
        raise MissingAttributeValue([STATUS])
    if status and status not in _STATUSES:
        raise _invalid("no Performed Procedure Step Status")
    ended = [END_DATE, END_TIME] if profile.strict and status not in {"", IN_PROGRESS} else []
    if empty := [tag for tag in ended if not text_of(elements, tag)]:
        raise MissingAttributeValue(empty)
    patient_id, issuer = _patient(elements)
    reasons = items_of(elements.get(DISCONTINUED_FOR)) if status == "DISCONTINUED" else []
    codes = [f"{text_of(item, CODE_VALUE)[:16]}^{text_of(item, CODING_SCHEME)[:16]}" for item in reasons[:1]]
    return StepData(
        status=cast("StepStatus", status) if status else None,
        studies=tuple(StepStudy(text_of(item, STUDY_INSTANCE_UID)) for item in items_of(elements.get(SCHEDULED))),
        patient_id=patient_id,
        issuer=issuer,
        time=_moment(elements, (END_DATE, END_TIME), profile, arrival, notes),
        reason="".join(codes),
    )


def _invalid(why: str) -> Refused:
    return Refused(0x0106, [Finding("invalid-attribute-value", why, refuse=True)])


def _patient(elements: Elements) -> tuple[str, SentIssuer]:
    """Patient ID and its issuer; an identifier that is none names nobody for certain."""
    qualifiers = next(iter(items_of(elements.get(ISSUER_QUALIFIERS))), {})
    said = []
    for within, tag in ((elements, PATIENT_ID), (elements, ISSUER_OF_PATIENT_ID), (qualifiers, UNIVERSAL_ENTITY_ID)):
        found, text = within.get(tag), text_of(within, tag)
        if (found is not None and undecoded(found)) or _is_unfit(text, 64):
            raise _invalid("Patient ID or its issuer is not valid")
        said.append(text)
    return said[0], SentIssuer(*said[1:])


def _is_unfit(text: str, length: int) -> bool:
    return len(text) > length or _UNFIT.search(text) is not None


def _short(elements: Elements, tag: int, length: int, notes: list[str]) -> str:
    """A text, or empty and a note where it is none that may be used."""
    text = text_of(elements, tag)
    if _is_unfit(text, length):
        notes.append(f"{tag_text(tag)} is not valid and left out")
        return ""
    return text


def _studies(elements: Elements, items: Sequence[Elements], notes: list[str]) -> tuple[StepStudy, ...]:
    """The studies, each once, in the order in which they are named; Study ID is the step's own."""
    found: dict[str, StepStudy] = {}
    for item in items:
        uid = text_of(item, STUDY_INSTANCE_UID)
        if not is_ui(uid):
            raise _invalid("Study Instance UID is no UID")
        accession = _short(item, ACCESSION_NUMBER, 64, notes)
        if uid not in found or (accession and not found[uid].accession_number):
            found[uid] = StepStudy(uid, accession)
    study_id = _short(elements, STUDY_ID, 16, notes)
    alone = len(found) == 1  # of several studies it is nobody's for certain
    return tuple(study._replace(study_id=study_id if alone else "") for study in found.values())


def _moment(
    elements: Elements, tags: tuple[int, int], profile: Profile, arrival: datetime, notes: list[str]
) -> datetime | None:
    """A date and a time of at least minutes as UTC, by the rules for the times of events (contract section 3, Time)."""
    day, clock = tags
    date_text = text_of(elements, day).replace(".", "")  # as before 1993
    time_text = text_of(elements, clock).replace(":", "")
    if profile.device.times == "untrusted" or not (date_text or time_text):
        return None
    if _DATE.fullmatch(date_text) and _TIME.fullmatch(time_text):
        try:
            return instant(
                date_text + time_text,
                request_offset=text_of(elements, TIMEZONE_OFFSET),
                device_zone=profile.zone,
                server_zone=profile.server_zone,
                arrival=arrival,
                tolerance=profile.policy.clock_tolerance,
            ).earliest
        except ValueError:
            pass
    notes.append(f"the time {tag_text(day)} cannot be used: that of arrival counts")
    return None
