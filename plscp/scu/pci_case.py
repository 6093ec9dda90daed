"""A percutaneous coronary intervention of twenty minutes, as four devices of one lab would report it.

The recorder names everything, the X-ray system its study, the injector nothing but its location, the tablet the patient.
Four things go wrong on purpose, as they do in real labs: an outdated Study Instance UID, a patient whom nobody knows, an
entry without a mandatory row, and an operator who may not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Final

from pydicom.dataset import Dataset

from plscp.content.model import Code, ContentItem, Numeric
from plscp.scu import entries as say
from plscp.scu import pci_story as story
from plscp.scu.building import Administration, Given, procedural, substance
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING

HEMO, XRAY, INJECTOR, TABLET = "HEMO1", "XRAY1", "INJECT1", "TABLET1"
DEVICES: Final = {
    HEMO: "haemodynamic recorder: gives study, patient, Study ID and location",
    XRAY: "X-ray system: gives its Study Instance UID",
    INJECTOR: "contrast injector: gives nothing but its location",
    TABLET: "tablet for medications: gives Patient ID and Admission ID",
}
DURATION: Final = 1200.0
"""Seconds that the case takes at speed 1."""


@dataclass(frozen=True)
class Subject:
    """Whom and what the case is about; the SCP should know all of it, as `registry_file` writes it."""

    study_instance_uid: str = say.made_uid("pci-case", "study")
    study_id: str = "PCI-0815"
    accession_number: str = "A-20815"
    patient_id: str = "4711-0815"
    issuer: str = "HOSP"
    patient_name: str = "Demo^Patient"
    admission_id: str = "V-90210"
    location: str = "LAB1"


@dataclass(frozen=True)
class Request:
    """One N-ACTION request of the case.

    Attributes:
        at: seconds into the case.
        device: calling AE title.
        entries: what happened; for a Substance Administration, the one administration.
        expect: the status that an SCP of the demo's settings answers.
        why: what is special about it, or empty.
    """

    at: float
    device: str
    given: Given
    context: Sequence[ContentItem]
    entries: Sequence[ContentItem] | Administration
    expect: int = 0
    why: str = ""

    @property
    def sop_class(self) -> str:
        """SOP Class UID."""
        return (
            SUBSTANCE_ADMINISTRATION_LOGGING if isinstance(self.entries, Administration) else PROCEDURAL_EVENT_LOGGING
        )

    @property
    def count(self) -> int:
        """How many entries it holds."""
        return 1 if isinstance(self.entries, Administration) else len(self.entries)

    @property
    def label(self) -> str:
        """What happened, in a few words."""
        if isinstance(self.entries, Administration):
            return self.entries.product_name
        return ", ".join(_label(entry) for entry in self.entries)

    def dataset(self, when: datetime) -> Dataset:
        """Action Information whose last DateTime is `when`."""
        if isinstance(self.entries, Administration):
            return substance(self.entries, when)
        return procedural(self.given, self.context, self.entries, when)


def _label(entry: ContentItem) -> str:
    value, concept = entry.value, entry.concept.meaning if entry.concept else entry.value_type
    if isinstance(value, str):
        return f"{concept}: {value}"
    meaning = value.meaning if isinstance(value, Code) else ""
    named = f"{concept}: {meaning}" if meaning else concept
    if concept in {"Patient Status or Event", "Intervention Action"}:
        named = meaning
    amounts = [child.value for child in entry.children if isinstance(child.value, Numeric)]
    return f"{named} {_amount(amounts[0])}".rstrip() if amounts else named


def _amount(value: Numeric) -> str:
    units = value.units.value.strip("[]{}") if value.units is not None and value.units.value != "1" else ""
    return f"{value.text} {units}" if units else ""


def pci_case(subject: Subject | None = None) -> list[Request]:
    """The case's requests in the order of their times.

    Args:
        subject: whom and what it is about.
    """
    who = subject or Subject()
    full = Given(who.study_instance_uid, who.patient_id, who.study_id, who.location)
    room = Given(performed_location=who.location)
    about = say.procedure_context("Coronary angiography and PCI")
    recorder = [*say.device_observer("HEMO1", "Haemodynamic recorder"), *about]
    xray = [*say.device_observer("XRAY1", "Angiography system"), *about]
    injector, tablet = say.device_observer("INJECT1", "Contrast injector"), say.person_observer(story.NURSE)
    patient = Given(patient_id=who.patient_id)
    made = [Request(at, HEMO, full, recorder, entries) for at, entries in story.RECORDER]
    made += [
        Request(at, XRAY, Given(who.study_instance_uid), xray, entries)
        for at, entries in story.xray(who.study_instance_uid)
    ]
    made += [Request(at, INJECTOR, room, injector, entries) for at, entries in story.INJECTOR_LOG]
    made += [Request(at, TABLET, patient, tablet, entries) for at, entries in story.TABLET_LOG]
    by_nurse = Administration("", story.MAY, who.patient_id, who.issuer, who.patient_name, who.admission_id)
    made += [
        Request(at, TABLET, Given(), (), administration, expect, why)
        for at, administration, expect, why in story.administrations(by_nurse)
    ]
    old = replace(full, study_instance_uid=say.made_uid(who.study_instance_uid, "rescheduled"))
    made.append(
        Request(
            800, HEMO, old, recorder, [story.AFTER_DILATATION], 0xB102, "the recorder still has the study's old UID"
        )
    )
    made.append(Request(755, HEMO, full, recorder, [story.INCOMPLETE], 0xC102, "the attempt identifier is missing"))
    return sorted(made, key=lambda request: request.at)


def by_device(requests: Sequence[Request]) -> dict[str, list[Request]]:
    """Each device's requests, in order."""
    ordered = sorted(requests, key=lambda request: (request.device, request.at))
    return {device: list(group) for device, group in groupby(ordered, key=lambda request: request.device)}


def registry_file(subject: Subject, opened: datetime) -> str:
    """The registry file (TOML) that makes the case's patient, admission and study known, the study open since `opened`."""
    who = subject
    return f"""\
patients = [
  {{ id = "{who.patient_id}", issuer = "{who.issuer}", name = "{who.patient_name}", birth_date = "1957-03-12", sex = "F" }},
]
admissions = [
  {{ id = "{who.admission_id}", issuer = "{who.issuer}", patient = {{ id = "{who.patient_id}", issuer = "{who.issuer}" }}, location = "{who.location}", status = "active" }},
]
studies = [
  {{ study_instance_uid = "{who.study_instance_uid}", study_id = "{who.study_id}", accession_number = "{who.accession_number}", patient = {{ id = "{who.patient_id}", issuer = "{who.issuer}" }}, location = "{who.location}", status = "open", opened = "{opened.isoformat(timespec="milliseconds")}" }},
]
"""
