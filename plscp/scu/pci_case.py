"""A percutaneous coronary intervention of twenty minutes, as four devices of one lab would report it.

The recorder names everything, the X-ray system its study, the injector nothing but its location, the tablet the patient.
Four things go wrong on purpose, as they do in real labs: an outdated Study Instance UID, a patient whom nobody knows, an
entry without a mandatory row, and an operator who may not.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from typing import Any, Final, Literal
from uuid import NAMESPACE_OID, uuid5

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from plscp.content.model import Code, Numeric
from plscp.errors import CommandError
from plscp.scu import requests as r
from plscp.scu.encoding import data_set
from plscp.scu.requests import ProcedureLogRequest, SubstanceAdministrationRequest
from plscp.scu.sending import Answer, ScuAssociation
from plscp.templates import clinical_entries as clinical
from plscp.templates import log_entries as log
from plscp.templates.entries import AnyEntry, entry_item
from plscp.templates.substance import SubstanceAdministered
from plscp.templates.values import Coded, CodeValue, Moment, ObjectReference

Log = Sequence[tuple[float, Sequence[AnyEntry]]]
"""What one device logs: seconds into the case, and the entries of one request."""
Amounts = Mapping[str, tuple[str, str]]
"""Numbers with their UCUM units, by the member of the typed entry."""

HEMO, XRAY, INJECTOR, TABLET = "HEMO1", "XRAY1", "INJECT1", "TABLET1"
DEVICES: Final = {
    HEMO: "haemodynamic recorder: gives study, patient, Study ID and location",
    XRAY: "X-ray system: gives its Study Instance UID",
    INJECTOR: "contrast injector: gives nothing but its location",
    TABLET: "tablet for medications: gives Patient ID and Admission ID",
}
DURATION: Final = 1200.0
"""Seconds that the case takes at speed 1."""
NO_AMOUNTS: Final[Amounts] = {}
FinalStatus = Literal["COMPLETED", "DISCONTINUED"]
SCHEDULED_EMPTY: Final = (
    "AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription", "ScheduledProcedureStepID",
    "ScheduledProcedureStepDescription",
)  # fmt: skip
PERFORMED_EMPTY: Final = (
    "PatientName", "PatientBirthDate", "PatientSex", "PerformedStationName", "PerformedProcedureStepDescription",
    "PerformedProcedureTypeDescription", "PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime",
)  # fmt: skip
PERFORMED_SEQUENCES: Final = (
    "ReferencedPatientSequence", "ProcedureCodeSequence", "PerformedProtocolCodeSequence", "PerformedSeriesSequence",
    "PerformedProcedureStepDiscontinuationReasonCodeSequence",
)  # fmt: skip
"""Attributes of Type 2 of a procedure step that stay empty."""
XA_IMAGE: Final = "1.2.840.10008.5.1.4.1.1.12.1"


def member(group: int, name: str) -> Coded:
    """A member of a context group of PS3.16, by its keyword."""
    found: Any = getattr(getattr(codes, f"cid{group}"), name)
    return r.coded(found.value, found.scheme_designator, found.meaning)


def made_uid(*parts: object) -> str:
    """A UID that is the same for the same parts."""
    return f"2.25.{uuid5(NAMESPACE_OID, '/'.join(map(str, parts))).int}"


HEPARIN, LIDOCAINE, NITROGLYCERIN, VERAPAMIL = (
    member(10, name) for name in ("Heparin", "LidocaineContainingProduct", "Nitroglycerin", "Verapamil")
)
IOHEXOL: Final = member(12, "Iohexol")
CORONARY: Final = "CoronaryArtery"
LAD: Final = "ProximalLeftAnteriorDescendingCoronaryArtery"
PTCA_BALLOON: Final = "PercutaneousTransluminalAngioplastyBalloon"
NURSE, CARDIOLOGIST = "Okafor^Ngozi", "Reyes^Ana"
MAY: Final = r.code("N1001", "L", NURSE)
MAY_NOT: Final = r.code("T2002", "L", "Trainee^Tom")
SHEATH, CATHETER, WIRE, BALLOON, STENT, CONTRAST = (
    r.code(value, "99PLSCP", meaning)
    for value, meaning in (
        ("SH-6F-11", "Radial sheath 6F 11 cm"),
        ("GC-EBU35-6F", "Guiding catheter EBU 3.5 6F"),
        ("GW-014-190", "Guide wire 0.014 in 190 cm"),
        ("BC-25-15", "Balloon catheter 2.5 x 15 mm"),
        ("DES-30-18", "Drug eluting stent 3.0 x 18 mm"),
        ("CM-350-100", "Iohexol 350 100 mL"),
    )
)
"""The department's stock, by codes of its own."""


def _quantities(amounts: Amounts) -> dict[str, Any]:
    return {name: r.quantity(*amount) for name, amount in amounts.items()}


def status(name: str) -> log.PatientEvent:
    return log.PatientEvent(event=member(3402, name))


def note(kind: str, words: str) -> log.Note:
    return log.Note(type=member(3401, kind), text=words)


def staff(action: str, name: str) -> log.StaffAction:
    return log.StaffAction(action=member(3404, action), person=name)


def equipment(happened: str, which: str) -> log.EquipmentEvent:
    return log.EquipmentEvent(event=member(3427, happened), equipment=which)


def action(what: str, procedure: str, item_id: int, physician: str = "") -> log.ProcedureAction:
    by = [r.person(physician, concept=member(7453, "Performing"))] if physician else []
    which = member(3405, procedure)
    return log.ProcedureAction(action=member(3421, what), procedure=which, item_id=r.text(str(item_id)), performers=by)


def acquired(study: str, run: int, frames: int, angles: tuple[int, int]) -> log.ImageAcquired:
    """An angiographic run; angles in degrees, primary and secondary."""
    return log.ImageAcquired(
        image=ObjectReference(sop_class_uid=XA_IMAGE, sop_instance_uid=made_uid(study, "run", run)),
        series_instance_uid=r.text(made_uid(study, "series")),
        modality=r.coded("XA", "DCM", "X-Ray Angiography"),
        number_of_frames=r.quantity(str(frames), "{frames}"),
        image_type=r.text("ORIGINAL\\PRIMARY\\SINGLE PLANE"),
        primary_angle=r.quantity(str(angles[0]), "deg"),
        secondary_angle=r.quantity(str(angles[1]), "deg"),
    )


def consumable(happened: str, stock: CodeValue, lot: str) -> log.Consumable:
    return log.Consumable(
        action=member(3408, happened),
        material=stock,
        description=r.text(stock.meaning),
        lot=r.text(lot),
        quantity=r.quantity("1", "1"),
    )


def drug(happened: str, what: Coded, route: str, amounts: Amounts, by: str = NURSE) -> clinical.DrugAdministered:
    return clinical.DrugAdministered(
        action=member(3409, happened),
        drug=what,
        route=member(11, route),
        administered_by=r.person(by) if by else None,
        **_quantities(amounts),
    )


def shot(millilitres: str, rate: str) -> clinical.DrugAdministered:
    amounts = {"volume": (millilitres, "mL"), "rate": (rate, "mL/s")}
    return drug("ContrastAdministered", IOHEXOL, "IntracoronaryRoute", amounts, by="")


def device(  # noqa: PLR0917  # one argument per row of the template
    happened: str, what: str, site: str, stock: CodeValue, item_id: int = 0, sizes: Amounts = NO_AMOUNTS,
    intent: Coded | None = None,
) -> clinical.DeviceUsed:  # fmt: skip
    return clinical.DeviceUsed(
        action=member(3422, happened),
        device=member(3429, what),
        material=r.text(stock.meaning),
        site=member(3630, site),
        intent=intent,
        qualifiers=log.Qualifiers(action_item_ids=[r.text(str(item_id))]) if item_id else None,
        **_quantities(sizes),
    )


def intervention(happened: str, attempt: int, used: str, amounts: Amounts = NO_AMOUNTS) -> clinical.Intervention:
    site = member(3604, LAD)
    return clinical.Intervention(
        action=member(3412, happened),
        site=clinical.InterventionSite(**site.model_dump()),
        attempt=r.text(str(attempt)),
        devices=[clinical.InterventionDevice(**member(3411, used).model_dump(), primary=member(230, "Yes"))],
        **_quantities(amounts),
    )


def inflated(attempt: int, pressure: str, seconds: str) -> clinical.Intervention:
    amounts = {"inflation_pressure": (pressure, "atm"), "inflation_duration": (seconds, "s")}
    return intervention("AngioplastyBalloonInflated", attempt, PTCA_BALLOON, amounts)


RECORDER_LOG: Final[Log] = (
    (0, [status("PatientAdmittedToProcedureRoom"), staff("PersonnelArrived", CARDIOLOGIST)]),
    (25, [status("PatientInformedConsentGiven"), status("NilPerOsNPOStatusConfirmed")]),
    (50, [status("PatientAssistedToTable"), status("PatientConnectedToContinuousMonitoring")]),
    (70, [staff("PersonnelArrived", NURSE)]),
    (90, [equipment("EquipmentReady", "Haemodynamic recorder 1")]),
    (120, [action("StartProcedureAction", "CatheterizationOfLeftHeart", 1, CARDIOLOGIST)]),
    (140, [status("PatientPreppedAndDraped")]),
    (185, [consumable("ConsumableTakenFromInventory", SHEATH, "L-1101"),
           device("DeviceAppliedToPatient", "Sheath", "RadialArtery", SHEATH, 1, {"length": ("110", "mm")})]),
    (210, [note("TechNote", "Right radial access at first puncture")]),
    (270, [consumable("ConsumableTakenFromInventory", CATHETER, "L-2202"),
           device("DeviceAtSiteOfInterest", "GuidingCatheter", CORONARY, CATHETER, 1)]),
    (285, [action("StartProcedureAction", "CoronaryArteriography", 2)]),
    (460, [action("EndProcedureAction", "CoronaryArteriography", 2)]),
    (470, [note("PhysicianNote", "Proximal LAD 85 percent stenosis, TIMI 2 flow; PCI ad hoc")]),
    (480, [action("StartProcedureAction", "PercutaneousTransluminalBalloonAngioplasty", 3, CARDIOLOGIST)]),
    (510, [consumable("ConsumableTakenFromInventory", WIRE, "L-3303"),
           device("DeviceInsertedIntoSheath", "GuideWire", CORONARY, WIRE, 3, {"length": ("1900", "mm")})]),
    (550, [device("DeviceCrossedLesion", "GuideWire", CORONARY, WIRE, 3),
           intervention("GuidewireCrossingLesionSuccessful", 1, "GuideWire")]),
    (590, [consumable("ConsumableTakenFromInventory", BALLOON, "L-4404")]),
    (610, [inflated(1, "10", "20")]),
    (620, [status("PatientReportsChestPain")]),
    (632, [intervention("AngioplastyBalloonDeflated", 1, PTCA_BALLOON)]),
    (670, [status("PatientReportsNoPain")]),
    (690, [action("EndProcedureAction", "PercutaneousTransluminalBalloonAngioplasty", 3),
           action("StartProcedureAction", "StentPlacement", 4, CARDIOLOGIST)]),
    (710, [consumable("ConsumableTakenFromInventory", STENT, "L-5505")]),
    (760, [intervention("DeviceDeployed", 2, "Stent", {"inflation_pressure": ("14", "atm")}),
           device("DeviceUsed", "Stent", CORONARY, STENT, 4, {"diameter": ("3.0", "mm"), "length": ("18", "mm")},
                  r.coded("121155", "DCM", "Deployment"))]),
    (850, [action("EndProcedureAction", "StentPlacement", 4)]),
    (870, [note("PhysicianNote", "No residual stenosis, TIMI 3 flow")]),
    (960, [device("DeviceWithdrawnRemoved", "Sheath", "RadialArtery", SHEATH, 1), status("HemostasisAchieved")]),
    (1050, [action("EndProcedureAction", "CatheterizationOfLeftHeart", 1)]),
    (1080, [note("NursingNote", "Radial band on, distal pulse present")]),
    (1110, [status("PatientDisconnectedFromContinuousMonitoring"), staff("PersonnelDeparted", CARDIOLOGIST)]),
    (1180, [status("PatientTransferredToCCU")]),
)  # fmt: skip
INJECTOR_LOG: Final[Log] = (
    (150, [equipment("EquipmentReady", "Injector 1, iohexol 350 loaded")]),
    *((at, [shot(volume, "4")]) for at, volume in ((301, "8"), (341, "7"), (381, "8"), (421, "8"))),
    (571, [shot("4", "3")]),
    (781, [shot("5", "3")]),
    (841, [shot("8", "4"), shot("7", "4")]),
    (930, [consumable("RemainingConsumableDisposed", CONTRAST, "L-6606")]),
)
TABLET_LOG: Final[Log] = tuple(
    (at, [drug(happened, what, route, amounts)])
    for at, happened, what, route, amounts in (
        (180, "DrugAdministered", LIDOCAINE, "SubcutaneousRoute", {"volume": ("2", "mL"), "concentration": ("10", "mg/mL")}),
        (215, "DrugAdministered", VERAPAMIL, "IntraArterialRoute", {"dose": ("2.5", "mg")}),
        (240, "DrugAdministered", HEPARIN, "IntravenousRoute", {"dose": ("5000", "[iU]")}),
        (485, "DrugAdministered", HEPARIN, "IntravenousRoute", {"dose": ("3000", "[iU]")}),
        (640, "DrugStart", NITROGLYCERIN, "IntravenousRoute", {"rate": ("20", "ug/min")}),
        (800, "DrugAdministered", NITROGLYCERIN, "IntracoronaryRoute", {"dose": ("200", "ug")}),
        (830, "DrugEnd", NITROGLYCERIN, "IntravenousRoute", {"volume": ("1.2", "mL")}),
    )
)  # fmt: skip


def xray_log(study: str) -> Log:
    """What the X-ray system logs; `study` makes the UIDs of its images."""
    return (
        (80, [equipment("EquipmentReady", "X-ray system 1")]),
        (300, [acquired(study, 1, 62, (-30, 25))]),
        (340, [acquired(study, 2, 58, (0, -30))]),
        (380, [acquired(study, 3, 60, (45, 0))]),
        (420, [acquired(study, 4, 71, (-30, -25))]),
        (570, [acquired(study, 5, 30, (0, 35))]),
        (615, [acquired(study, 6, 24, (0, 35))]),
        (780, [acquired(study, 7, 33, (0, 35))]),
        (840, [acquired(study, 8, 64, (-30, 25)), acquired(study, 9, 59, (0, 35))]),
        (900, [note("TechNote", "Dose area product 24.5 Gy.cm2, fluoroscopy 6.2 min")]),
    )


@dataclass(frozen=True)
class CaseSubject:
    """Whom and what the case is about; the SCP should know all of it, as `registry_file` writes it."""

    study_instance_uid: str = made_uid("pci-case", "study")
    study_id: str = "PCI-0815"
    accession_number: str = "A-20815"
    patient_id: str = "4711-0815"
    issuer: str = "HOSP"
    patient_name: str = "Demo^Patient"
    admission_id: str = "V-90210"
    location: str = "LAB1"


@dataclass(frozen=True)
class Request:
    """One N-ACTION request of the case; the DateTimes of its content are set when it is sent.

    Attributes:
        at: seconds into the case.
        device: calling AE title.
        expect: the status that an SCP of the demo's settings answers.
        why: what is special about it, or empty.
    """

    at: float
    device: str
    content: ProcedureLogRequest | SubstanceAdministrationRequest
    expect: int = 0
    why: str = ""

    @property
    def sop_class(self) -> str:
        """SOP Class UID."""
        return self.content.sop_class

    @property
    def count(self) -> int:
        """How many entries it holds."""
        return len(self.content.entries) if isinstance(self.content, ProcedureLogRequest) else 1

    @property
    def label(self) -> str:
        """What happened, in a few words."""
        if isinstance(self.content, ProcedureLogRequest):
            return ", ".join(map(label, self.content.entries))
        return self.content.administration.product_names[0]

    def dataset(self, when: datetime) -> Dataset:
        """Action Information whose last DateTime is `when`."""
        made = self.content.dataset(check=False)
        r.stamp(made, when)
        return made


def label(entry: AnyEntry) -> str:
    """What a log entry says, in a few words of its codes."""
    item = entry_item(entry)
    value, concept = item.value, item.concept.meaning if item.concept else item.value_type
    if isinstance(value, str):
        return f"{concept}: {value}"
    meaning = value.meaning if isinstance(value, Code) else ""
    named = f"{concept}: {meaning}" if meaning else concept
    if isinstance(entry, log.PatientEvent | clinical.Intervention):
        named = meaning
    amounts = [child.value for child in item.children if isinstance(child.value, Numeric)]
    return f"{named} {_amount(amounts[0])}".rstrip() if amounts else named


def _amount(value: Numeric) -> str:
    units = re.sub(r"[][{}]", "", value.units.value) if value.units is not None and value.units.value != "1" else ""
    return f"{value.text} {units}" if units else ""


def pci_case(subject: CaseSubject | None = None) -> list[Request]:
    """The case's requests in the order of their times."""
    who = subject or CaseSubject()
    procedure = log.ProcedureContext(
        description=r.text("Coronary angiography and PCI"),
        intent=member(3629, "TherapeuticIntent"),
        priority=member(3414, "UrgentProcedure"),
    )

    def observed_by(name: str, model: str, **more: Any) -> log.LogContext:
        return r.device_observer(made_uid("device", name), name, model, **more)

    study: dict[str, Any] = {"study_instance_uid": who.study_instance_uid}
    xray = study | {"context": observed_by(XRAY, "Angiography system", procedure=procedure)}
    recorder = {
        **study,
        "patient_id": who.patient_id,
        "study_id": who.study_id,
        "performed_location": who.location,
        "context": observed_by(HEMO, "Haemodynamic recorder", procedure=procedure),
    }
    injector = {"performed_location": who.location, "context": observed_by(INJECTOR, "Contrast injector")}
    tablet = {"patient_id": who.patient_id, "context": r.person_observer(NURSE)}
    made = [
        Request(at, name, ProcedureLogRequest(entries=entries, **given))
        for name, given, device_log in (
            (HEMO, recorder, RECORDER_LOG),
            (XRAY, xray, xray_log(who.study_instance_uid)),
            (INJECTOR, injector, INJECTOR_LOG),
            (TABLET, tablet, TABLET_LOG),
        )
        for at, entries in device_log
    ]
    made += _administrations(who)
    # The recorder's entry after dilatation comes with the UID that the study had before; the other one lacks its row 4.
    old = recorder | {"study_instance_uid": made_uid(who.study_instance_uid, "rescheduled")}
    rescheduled = ProcedureLogRequest(entries=[inflated(3, "18", "12")], **old)
    made.append(Request(800, HEMO, rescheduled, 0xB102, "the recorder still has the study's old UID"))
    incomplete = intervention("DeviceDeployed", 2, "Stent").model_copy(update={"attempt": None})
    without_row_4 = ProcedureLogRequest(entries=[incomplete], **recorder)
    made.append(Request(755, HEMO, without_row_4, 0xC102, "the attempt identifier is missing"))
    return sorted(made, key=lambda request: request.at)


def _administrations(who: CaseSubject) -> Iterator[Request]:
    """What the tablet reports for the medication record."""

    def given(  # noqa: PLR0917  # a line of the record
        at: float, product: str, route: str = "", dose: str = "", unit: str = "", expect: int = 0, why: str = "",
        *, by: CodeValue = MAY, to: CaseSubject = who, **more: str,
    ) -> Request:  # fmt: skip
        administration = SubstanceAdministered(
            administered=Moment(text=""),
            product_names=[product],
            route=member(11, route) if route else None,
            dose=r.amount(dose, unit) if dose else None,
            operators=[by],
            patient_name=to.patient_name,
            admission_id=to.admission_id,
            **more,
        )
        content = SubstanceAdministrationRequest(
            patient_id=to.patient_id, issuer_of_patient_id=to.issuer, administration=administration
        )
        return Request(at, TABLET, content, expect, why)

    stranger = CaseSubject(patient_id="9999-0000", issuer=who.issuer, patient_name="Nobody^Knows", admission_id="")
    wristband = "another patient's wristband was scanned, whom nobody knows"
    trainee = "the trainee may not add to the medication record"
    heparin = "Heparin 5000 IU", "IntravenousRoute", "5000", "[iU]"
    ticagrelor = "Ticagrelor 180 mg", "OralRoute", "180", "mg"
    yield given(230, *heparin, 0xC110, wristband, to=stranger)
    yield given(241, *heparin)
    yield given(260, "Midazolam 1 mg", "IntravenousRoute", "1", "mg")
    yield given(486, "Heparin 3000 IU", "IntravenousRoute", "3000", "[iU]")
    yield given(530, *ticagrelor, 0xC10E, trainee, by=MAY_NOT)
    yield given(540, *ticagrelor)
    yield given(765, STENT.meaning, package_identifier="(01)04012345678901(10)L-5505", notes="Implanted, proximal LAD")
    yield given(1090, "Acetylsalicylic acid 100 mg", "OralRoute", "100", "mg")


def by_device(requests: Sequence[Request]) -> dict[str, list[Request]]:
    """Each device's requests, in order."""
    ordered = sorted(requests, key=lambda request: (request.device, request.at))
    return {device: list(group) for device, group in groupby(ordered, key=lambda request: request.device)}


def registry_file(subject: CaseSubject, opened: datetime) -> str:
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


def _clock(moment: datetime) -> tuple[str, str]:
    """DA and TM in UTC."""
    utc = moment.astimezone(UTC)
    return utc.strftime("%Y%m%d"), utc.strftime("%H%M%S.%f")


def step_begun(subject: CaseSubject, station: str, moment: datetime) -> Dataset:
    """The N-CREATE of a Modality Performed Procedure Step: every attribute of Type 1 and 2 (PS3.4 Table F.7.2-1).

    Args:
        station: AE title of the X-ray system.
        moment: when it began.
    """
    day, clock = _clock(moment)
    scheduled = data_set(
        StudyInstanceUID=subject.study_instance_uid,
        ReferencedStudySequence=[],
        ScheduledProtocolCodeSequence=[],
        **dict.fromkeys(SCHEDULED_EMPTY, ""),
    )
    return data_set(
        ScheduledStepAttributesSequence=[scheduled],
        PatientID=subject.patient_id,
        IssuerOfPatientID=subject.issuer,
        PerformedProcedureStepID="1",
        PerformedStationAETitle=station,
        PerformedLocation=subject.location,
        PerformedProcedureStepStartDate=day,
        PerformedProcedureStepStartTime=clock,
        TimezoneOffsetFromUTC="+0000",
        PerformedProcedureStepStatus="IN PROGRESS",
        Modality="XA",
        StudyID=subject.study_id,
        **dict.fromkeys(PERFORMED_EMPTY, ""),
        **{keyword: [] for keyword in PERFORMED_SEQUENCES},
    )


def step_ended(status: FinalStatus, moment: datetime) -> Dataset:
    """The N-SET that ends a step at a moment (PS3.4 Table F.7.2-1)."""
    day, clock = _clock(moment)
    return data_set(
        PerformedProcedureStepStatus=status,
        PerformedProcedureStepEndDate=day,
        PerformedProcedureStepEndTime=clock,
        TimezoneOffsetFromUTC="+0000",
        PerformedSeriesSequence=[],
    )


@dataclass(frozen=True)
class Played:
    """One request of the case and what came of it; `sent` is the DateTime of its last entry."""

    request: Request
    answer: Answer
    sent: datetime

    @property
    def times(self) -> list[str]:
        """The DateTime of each entry, as sent."""
        return r.times(self.sent, self.request.count)

    @property
    def as_expected(self) -> bool:
        """Whether the answer is the one that the case is written for."""
        return self.answer.status == self.request.expect


def play(
    requests: Sequence[Request],
    connect: Callable[[str], ScuAssociation],
    *,
    speed: float,
    told: Callable[[Played], None],
    again: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> list[Played]:
    """Send every request at its time and wait for its answer before the device's next one.

    A device whose association ends associates again, and sends what was not answered again; in vain, it sends nothing more.

    Args:
        connect: makes the association of a calling AE title, not opened yet.
        speed: how many of the case's seconds pass in one; every DateTime is that of sending all the same.
        told: called with each answer, from the devices' threads, one at a time.
        again: told in words when a device associates again.
        stop: set it to end early, between two requests.

    Returns:
        What was sent, in the order of the answers.

    Raises:
        CommandError: a device gets no association at the beginning.
    """
    ending = stop or threading.Event()
    one_at_a_time = threading.Lock()
    played: list[Played] = []
    devices = by_device(requests)
    associations = {device: connect(device) for device in devices}

    def run(device: str, started: float) -> None:
        for request in devices[device]:
            if ending.wait(max(started + request.at / speed - time.monotonic(), 0)):
                return
            sent = datetime.now(UTC)
            send = partial(associations[device].send, request.dataset(sent), request.sop_class)
            answer = associations[device].until_answered(send, lambda why: again(f"{device}: {why}"), ending)
            with one_at_a_time:
                played.append(Played(request, answer, sent))
                told(played[-1])
            if answer.status is None:
                return

    with ExitStack() as opened:
        for association in associations.values():
            opened.enter_context(association)
        with ThreadPoolExecutor(len(devices), thread_name_prefix="device") as pool:
            started = time.monotonic()
            running = [pool.submit(run, device, started) for device in devices]
            try:
                for device_run in running:
                    device_run.result()
            except BaseException:
                ending.set()
                raise
    return played


def check(played: Sequence[Played], case: Sequence[Request]) -> None:
    """Raise CommandError, one line, unless every request of a case got the kind of answer that it was written for.

    A request that is written to be refused may be accepted by a laxer SCP.
    """
    silent = [one for one in played if one.answer.status is None]
    if silent or len(played) < len(case):
        why = f": {silent[0].answer.comment}" if silent else ""
        raise CommandError(f"{len(case) - len(played) + len(silent)} of {len(case)} requests got no answer{why}")
    refused = [one for one in played if not one.answer.performed and one.request.expect >> 12 != 0xC]
    if refused:
        first = refused[0].answer
        why = f": {first.comment}" if first.comment else ""
        raise CommandError(
            f"{len(refused)} of {len(case)} requests were refused, the first with {first.code} {first.name}{why}"
        )
