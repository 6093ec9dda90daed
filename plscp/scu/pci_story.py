"""What happens in the PCI case: each device's log, as (seconds into the case, entries of one request)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from plscp.content.model import ContentItem
from plscp.scu import entries as say
from plscp.scu.building import Administration

Log = Sequence[tuple[float, Sequence[ContentItem]]]

HEPARIN, LIDOCAINE, NITROGLYCERIN, VERAPAMIL = (
    say.concept(10, name) for name in ("Heparin", "LidocaineContainingProduct", "Nitroglycerin", "Verapamil")
)
IOHEXOL: Final = say.concept(12, "Iohexol")
CORONARY: Final = "CoronaryArtery"
LAD: Final = "ProximalLeftAnteriorDescendingCoronaryArtery"
NURSE, CARDIOLOGIST = "Okafor^Ngozi", "Reyes^Ana"
MAY: Final = ("N1001", "L", NURSE)
MAY_NOT: Final = ("T2002", "L", "Trainee^Tom")
SHEATH, CATHETER, WIRE, BALLOON, STENT = (
    ("SH-6F-11", "Radial sheath 6F 11 cm"),
    ("GC-EBU35-6F", "Guiding catheter EBU 3.5 6F"),
    ("GW-014-190", "Guide wire 0.014 in 190 cm"),
    ("BC-25-15", "Balloon catheter 2.5 x 15 mm"),
    ("DES-30-18", "Drug eluting stent 3.0 x 18 mm"),
)


def _shot(millilitres: str, rate: str) -> ContentItem:
    volume, flow = ("VolumeAdministered", millilitres, "mL"), ("RateOfAdministration", rate, "mL/s")
    return say.administered("ContrastAdministered", IOHEXOL, "IntracoronaryRoute", volume, flow)


def _inflated(
    attempt: int, pressure: str, seconds: str, device: str = "PercutaneousTransluminalAngioplastyBalloon"
) -> ContentItem:
    parameters = ("AngioplastyInflationPressure", pressure, "atm"), ("AngioplastyInflationDuration", seconds, "s")
    return say.intervention("AngioplastyBalloonInflated", LAD, attempt, device, *parameters)


RECORDER: Final[Log] = (
    (0, [say.status("PatientAdmittedToProcedureRoom"), say.staff("PersonnelArrived", CARDIOLOGIST)]),
    (25, [say.status("PatientInformedConsentGiven"), say.status("NilPerOsNPOStatusConfirmed")]),
    (50, [say.status("PatientAssistedToTable"), say.status("PatientConnectedToContinuousMonitoring")]),
    (70, [say.staff("PersonnelArrived", NURSE)]),
    (90, [say.equipment("EquipmentReady", "Haemodynamic recorder 1")]),
    (120, [say.action("StartProcedureAction", "CatheterizationOfLeftHeart", 1, CARDIOLOGIST)]),
    (140, [say.status("PatientPreppedAndDraped")]),
    (185, [say.consumable("ConsumableTakenFromInventory", SHEATH, "L-1101"),
           say.device("DeviceAppliedToPatient", "Sheath", "RadialArtery", SHEATH[1], (("Length", "110"),), 1)]),
    (210, [say.note("TechNote", "Right radial access at first puncture")]),
    (270, [say.consumable("ConsumableTakenFromInventory", CATHETER, "L-2202"),
           say.device("DeviceAtSiteOfInterest", "GuidingCatheter", CORONARY, CATHETER[1], item_id=1)]),
    (285, [say.action("StartProcedureAction", "CoronaryArteriography", 2)]),
    (460, [say.action("EndProcedureAction", "CoronaryArteriography", 2)]),
    (470, [say.note("PhysicianNote", "Proximal LAD 85 percent stenosis, TIMI 2 flow; PCI ad hoc")]),
    (480, [say.action("StartProcedureAction", "PercutaneousTransluminalBalloonAngioplasty", 3, CARDIOLOGIST)]),
    (510, [say.consumable("ConsumableTakenFromInventory", WIRE, "L-3303"),
           say.device("DeviceInsertedIntoSheath", "GuideWire", CORONARY, WIRE[1], (("Length", "1900"),), 3)]),
    (550, [say.device("DeviceCrossedLesion", "GuideWire", CORONARY, WIRE[1], item_id=3),
           say.intervention("GuidewireCrossingLesionSuccessful", LAD, 1, "GuideWire")]),
    (590, [say.consumable("ConsumableTakenFromInventory", BALLOON, "L-4404")]),
    (610, [_inflated(1, "10", "20")]),
    (620, [say.status("PatientReportsChestPain")]),
    (632, [say.intervention("AngioplastyBalloonDeflated", LAD, 1, "PercutaneousTransluminalAngioplastyBalloon")]),
    (670, [say.status("PatientReportsNoPain")]),
    (690, [say.action("EndProcedureAction", "PercutaneousTransluminalBalloonAngioplasty", 3),
           say.action("StartProcedureAction", "StentPlacement", 4, CARDIOLOGIST)]),
    (710, [say.consumable("ConsumableTakenFromInventory", STENT, "L-5505")]),
    (760, [say.intervention("DeviceDeployed", LAD, 2, "Stent", ("AngioplastyInflationPressure", "14", "atm")),
           say.device("DeviceUsed", "Stent", CORONARY, STENT[1], (("Diameter", "3.0"), ("Length", "18")), 4, deployed=True)]),
    (850, [say.action("EndProcedureAction", "StentPlacement", 4)]),
    (870, [say.note("PhysicianNote", "No residual stenosis, TIMI 3 flow")]),
    (960, [say.device("DeviceWithdrawnRemoved", "Sheath", "RadialArtery", SHEATH[1], item_id=1), say.status("HemostasisAchieved")]),
    (1050, [say.action("EndProcedureAction", "CatheterizationOfLeftHeart", 1)]),
    (1080, [say.note("NursingNote", "Radial band on, distal pulse present")]),
    (1110, [say.status("PatientDisconnectedFromContinuousMonitoring"), say.staff("PersonnelDeparted", CARDIOLOGIST)]),
    (1180, [say.status("PatientTransferredToCCU")]),
)  # fmt: skip


def xray(study: str) -> Log:
    """What the X-ray system logs; `study` makes the UIDs of its images."""
    return (
        (80, [say.equipment("EquipmentReady", "X-ray system 1")]),
        (300, [say.acquired(study, 1, 62, (-30, 25))]),
        (340, [say.acquired(study, 2, 58, (0, -30))]),
        (380, [say.acquired(study, 3, 60, (45, 0))]),
        (420, [say.acquired(study, 4, 71, (-30, -25))]),
        (570, [say.acquired(study, 5, 30, (0, 35))]),
        (615, [say.acquired(study, 6, 24, (0, 35))]),
        (780, [say.acquired(study, 7, 33, (0, 35))]),
        (840, [say.acquired(study, 8, 64, (-30, 25)), say.acquired(study, 9, 59, (0, 35))]),
        (900, [say.note("TechNote", "Dose area product 24.5 Gy.cm2, fluoroscopy 6.2 min")]),
    )


INJECTOR_LOG: Final[Log] = (
    (150, [say.equipment("EquipmentReady", "Injector 1, iohexol 350 loaded")]),
    *((at, [_shot(volume, "4")]) for at, volume in ((301, "8"), (341, "7"), (381, "8"), (421, "8"))),
    (571, [_shot("4", "3")]),
    (781, [_shot("5", "3")]),
    (841, [_shot("8", "4"), _shot("7", "4")]),
    (930, [say.consumable("RemainingConsumableDisposed", ("CM-350-100", "Iohexol 350 100 mL"), "L-6606")]),
)


def _drug(
    what: tuple[str, str, str], route: str, *parameters: tuple[str, str, str], happened: str = "DrugAdministered"
) -> ContentItem:
    return say.administered(happened, what, route, *parameters, by=NURSE)


TABLET_LOG: Final[Log] = (
    (180, [_drug(LIDOCAINE, "SubcutaneousRoute", ("VolumeAdministered", "2", "mL"), ("Concentration", "10", "mg/mL"))]),
    (215, [_drug(VERAPAMIL, "IntraArterialRoute", ("UndilutedDoseAdministered", "2.5", "mg"))]),
    (240, [_drug(HEPARIN, "IntravenousRoute", ("UndilutedDoseAdministered", "5000", "[iU]"))]),
    (485, [_drug(HEPARIN, "IntravenousRoute", ("UndilutedDoseAdministered", "3000", "[iU]"))]),
    (640, [_drug(NITROGLYCERIN, "IntravenousRoute", ("RateOfAdministration", "20", "ug/min"), happened="DrugStart")]),
    (800, [_drug(NITROGLYCERIN, "IntracoronaryRoute", ("UndilutedDoseAdministered", "200", "ug"))]),
    (830, [_drug(NITROGLYCERIN, "IntravenousRoute", ("VolumeAdministered", "1.2", "mL"), happened="DrugEnd")]),
)


def administrations(of: Administration) -> Sequence[tuple[float, Administration, int, str]]:
    """What the tablet reports for the medication record: (seconds, administration, expected status, why).

    Args:
        of: operator and patient, for each to start from.
    """
    dose = say.concept(3410, "UndilutedDoseAdministered")

    def given(product: str, route: str, amount: str, units: str) -> Administration:
        return replace(of, product_name=product, route=say.concept(11, route), parameters=((dose, amount, units),))

    heparin = given("Heparin 5000 IU", "IntravenousRoute", "5000", "[iU]")
    ticagrelor = given("Ticagrelor 180 mg", "OralRoute", "180", "mg")
    stranger = replace(heparin, patient_id="9999-0000", patient_name="Nobody^Knows", admission_id="")
    return (
        (230, stranger, 0xC110, "another patient's wristband was scanned, whom nobody knows"),
        (241, heparin, 0, ""),
        (260, given("Midazolam 1 mg", "IntravenousRoute", "1", "mg"), 0, ""),
        (486, given("Heparin 3000 IU", "IntravenousRoute", "3000", "[iU]"), 0, ""),
        (530, replace(ticagrelor, operator=MAY_NOT), 0xC10E, "the trainee may not add to the medication record"),
        (540, ticagrelor, 0, ""),
        (765, replace(of, product_name=STENT[1], package_identifier="(01)04012345678901(10)L-5505", notes="Implanted, proximal LAD"), 0, ""),
        (1090, given("Acetylsalicylic acid 100 mg", "OralRoute", "100", "mg"), 0, ""),
    )  # fmt: skip


AFTER_DILATATION: Final = _inflated(3, "18", "12")
"""What the recorder sends with the study's old UID."""
INCOMPLETE: Final = say.intervention("DeviceDeployed", LAD, None, "Stent")
"""An intervention without its mandatory row 4."""
