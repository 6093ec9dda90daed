"""What was found, given, used and done to the patient, and how the patient is (PS3.16 TID 3105 to 3115)."""

from collections.abc import Sequence
from typing import Literal

from plscp.content.codes import group, known
from plscp.content.model import Code, ContentItem
from plscp.templates.log_entries import HAS_INTENT, LESION, MATERIAL, STATUS_OR_EVENT, Qualifiers
from plscp.templates.observation_context import SPECIMEN_TYPE, Specimen
from plscp.templates.values import Amount, Coded, CodeValue, Entry, PersonName, Quantity, Reference, Text

from plscp.templates.measurements import (  # isort: skip
    DERIVATION, FINDING_SITE, LATERALITY, TOPOGRAPHICAL_MODIFIER, BloodPressure, Measured, MeasurementProperties,
    PulseStrength,
)  # fmt: skip
from plscp.templates.rows import (  # isort: skip
    CODE, HAS_ACQ_CONTEXT, HAS_CONCEPT_MOD, HAS_OBS_CONTEXT, HAS_PROPERTIES, IMAGE, MC, NUM, PNAME, TEXT, UC, Condition, M,
    Template, U, bcid, coded, dcid, dcm, dt, entry, entry_value, include, ln, named, row, sct, ucum,
)  # fmt: skip

PROCEDURE_SITE = sct("363704007", "Procedure site")
CORONARIES = group(3015) | {("41801008", "SCT")}  # Coronary artery
UNSURE = {(value, "SCT") for value in ("51114001", "128555001", "128556000", "373095005", "128558004")}
"""Artery; fistulas from a coronary artery to each chamber."""


def _at_coronary(_parent: ContentItem | None, siblings: Sequence[ContentItem]) -> bool | None:
    """Whether the Finding Site is a coronary artery; a code outside CID 3604 cannot be told."""
    site = coded(siblings, FINDING_SITE)
    return True if site in CORONARIES else False if site in group(3604) - UNSURE else None


CORONARY = Condition("IFF", "row 2 specifies a coronary artery", _at_coronary)


class LesionSite(Coded):
    """TID 3105 row 2 with the rows below it."""

    modifier: Coded | None = row("3", ">>", HAS_CONCEPT_MOD, CODE, TOPOGRAPHICAL_MODIFIER, "1", U, dcid(3019))


class Stenosis(Quantity):
    """TID 3105 row 5 with the rows below it."""

    phase: Coded = row(
        "6", ">>", HAS_CONCEPT_MOD, CODE, sct("129085009", "Catheterization Procedure Phase"), "1", M,
        sct("128955008", "Baseline Phase"),
    )  # fmt: skip
    derivation: Coded | None = row("7", ">>", HAS_CONCEPT_MOD, CODE, DERIVATION, "1", U, dcid(3745))


class LesionIdentified(Entry, head=Template("3105", "Lesion Identification and Properties")):
    """TID 3105 Lesion Identification and Properties."""

    kind: Literal["lesion_identified"] = "lesion_identified"
    concept: CodeValue = entry("1", TEXT, LESION)
    lesion: str = entry_value()
    site: LesionSite = row("2", ">", HAS_PROPERTIES, CODE, FINDING_SITE, "1", M, dcid(3604))
    risk: Coded | None = row("4", ">", HAS_PROPERTIES, CODE, dcm("121153", "Lesion Risk"), "1", U, dcid(3418))
    stenosis: Stenosis | None = row(
        "5", ">", HAS_PROPERTIES, NUM, sct("408715008", "Lumen Diameter Stenosis"), "1", U, units=ucum("%")
    )
    timi_flow: Coded | None = row(
        "8", ">", HAS_PROPERTIES, CODE, dcm("122109", "Baseline TIMI Flow"), "1", UC, dcid(3713), when=CORONARY
    )
    thrombus: Coded | None = row(
        "9", ">", HAS_PROPERTIES, CODE, dcm("122131", "Degree of Thrombus"), "1", U, dcid(3714)
    )
    margin: Coded | None = row(
        "10", ">", HAS_PROPERTIES, CODE, sct("129737002", "Lesion Margin Characteristics"), "1", U, dcid(3715)
    )
    vessel_morphology: list[Coded] = row(
        "11", ">", HAS_PROPERTIES, CODE, dcm("122134", "Vessel Morphology"), "1-n", U, dcid(3712)
    )
    calcification: Coded | None = row(
        "12", ">", HAS_PROPERTIES, CODE, dcm("122132", "Severity of Calcification"), "1", U, dcid(3716),
        inferred=["value"],
    )  # fmt: skip
    # IMAGE is no target of HAS PROPERTIES in PS3.3 Table A.35.7-2: noted, never refused.
    illustration: Reference | None = row(
        "13", ">", HAS_PROPERTIES, IMAGE, dt(dcm("121080", "Best illustration of finding")), "1", U, conflicts=True
    )
    qualifiers: Qualifiers | None = include("14", ">", Qualifiers, "1", U, verified=False)


class DrugAdministered(Entry, head=Template("3106", "Drugs/Contrast Administered")):
    """TID 3106 Drugs/Contrast Administered: a drug, contrast agent or infusate was given, started or ended."""

    kind: Literal["drug_administered"] = "drug_administered"
    action: CodeValue = entry("1", CODE, dcid(3409))
    drug: CodeValue = entry_value(bcid(10), bcid(12))
    material: Text | None = row("2", ">", HAS_PROPERTIES, TEXT, MATERIAL, "1", U)
    route: Coded | None = row(
        "3", ">", HAS_PROPERTIES, CODE, sct("410675002", "Route of administration"), "1", U, bcid(11)
    )
    # Row 4, which may repeat: each parameter of CID 3410 has a name, repetitions and extensions go to `parameters`.
    dose: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("122092", "Undiluted dose administered"), "1", U)
    volume: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("122091", "Volume administered"), "1", U)
    concentration: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("122093", "Concentration"), "1", U)
    rate: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("122094", "Rate of administration"), "1", U)
    duration: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("122095", "Duration of administration"), "1", U)
    volume_discarded: Quantity | None = row(
        "4", ">", HAS_PROPERTIES, NUM, dcm("122096", "Volume unadministered or discarded"), "1", U
    )
    quantity: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("121382", "Quantity administered"), "1", U)
    mass: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("121383", "Mass administered"), "1", U)
    parameters: list[Quantity] = row("4", ">", HAS_PROPERTIES, NUM, dcid(3410), "1-n", U)
    administered_by: PersonName | None = row(
        "5", ">", HAS_PROPERTIES, PNAME, dcm("121152", "Person administering drug/contrast"), "1", U
    )
    qualifiers: Qualifiers | None = include("6", ">", Qualifiers, "1", U)


class DeviceUsed(Entry, head=Template("3107", "Device Used")):
    """TID 3107 Device Used: a catheter, guide wire, stent or other device in or on the patient."""

    kind: Literal["device_used"] = "device_used"
    action: CodeValue = entry("1", CODE, dcid(3422))
    device: CodeValue = entry_value(bcid(3429))
    device_codes: list[Coded] = row("2", ">", HAS_PROPERTIES, CODE, dcm("121150", "Device Code"), "1-n", U)
    material: Text | None = row("3", ">", HAS_PROPERTIES, TEXT, MATERIAL, "1", U)
    # Row 4, which may repeat: the characteristics of CID 3423 have names, repetitions go to `characteristics`.
    diameter: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, sct("81827009", "Diameter"), "1", U)
    length: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, sct("410668003", "Length"), "1", U)
    characteristics: list[Quantity] = row("4", ">", HAS_PROPERTIES, NUM, dcid(3423), "1-n", U)
    site: Coded | None = row("5", ">", HAS_PROPERTIES, CODE, PROCEDURE_SITE, "1", U, bcid(3630))
    intent: Coded | None = row("6", ">", HAS_CONCEPT_MOD, CODE, HAS_INTENT, "1", U, dt(dcm("121155", "Deployment")))
    qualifiers: Qualifiers | None = include("7", ">", Qualifiers, "1", U)


class InterventionSite(Coded):
    """TID 3108 row 2 with the rows below it."""

    modifier: Coded | None = row("3", ">>", HAS_CONCEPT_MOD, CODE, TOPOGRAPHICAL_MODIFIER, "1", U, dcid(3019))


class InterventionDevice(Coded):
    """TID 3108 row 5 with the rows below it."""

    primary: Coded | None = row(
        "6", ">>", HAS_CONCEPT_MOD, CODE, dcm("122111", "Primary Intervention Device"), "1", MC, dcid(230),
        when=Condition("IF", "the device is primary for this lesion"),
    )  # fmt: skip


class Intervention(Entry, head=Template("3108", "Intervention")):
    """TID 3108 Intervention: what was done at a lesion, by which attempt and device."""

    kind: Literal["intervention"] = "intervention"
    concept: CodeValue = entry("1", CODE, dcm("122090", "Intervention Action"))
    action: CodeValue = entry_value(dcid(3412))
    site: InterventionSite = row("2", ">", HAS_PROPERTIES, CODE, PROCEDURE_SITE, "1", M, dcid(3604))
    attempt: Text = row("4", ">", HAS_PROPERTIES, TEXT, dcm("121154", "Intervention attempt identifier"), "1", M)
    devices: list[InterventionDevice] = row(
        "5", ">", HAS_PROPERTIES, CODE, sct("116682006", "Uses Equipment"), "1-n", U, bcid(3411)
    )
    # Row 7, which may repeat: two parameters of CID 3425 have names, the others and repetitions go to `parameters`.
    inflation_pressure: Quantity | None = row(
        "7", ">", HAS_PROPERTIES, NUM, sct("371851006", "Angioplasty Inflation pressure"), "1", U
    )
    inflation_duration: Quantity | None = row(
        "7", ">", HAS_PROPERTIES, NUM, sct("371852004", "Angioplasty Inflation duration"), "1", U
    )
    parameters: list[Quantity] = row("7", ">", HAS_PROPERTIES, NUM, dcid(3425), "1-n", U)
    # IMAGE is no target of HAS PROPERTIES in PS3.3 Table A.35.7-2: noted, never refused.
    image: Reference | None = row("8", ">", HAS_PROPERTIES, IMAGE, bcid(7003), "1", U, conflicts=True)
    qualifiers: Qualifiers | None = include("9", ">", Qualifiers, "1", U)


MEASUREMENTS = Template("3109", "Measurements", ordered=False)
IMPRESSIONS = Template("3110", "Impressions", ordered=False)
PATIENT_SUPPORT = Template("3113", "Patient Support", ordered=False)


class Measurement(Entry, head=MEASUREMENTS):
    """TID 3109 rows 1 to 3: a measured value of any concept."""

    kind: Literal["measurement"] = "measurement"
    measured: CodeValue | None = entry("1", NUM, None, "1", U)
    quantity: Amount = entry_value()
    qualifiers: Qualifiers | None = include("2", ">", Qualifiers, "1", U, verified=False)
    properties: MeasurementProperties | None = include("3", ">", MeasurementProperties, "1", U, verified=False)


class CodedMeasurement(Entry, head=MEASUREMENTS):
    """TID 3109 rows 4 and 5: a coded value of any concept, if no other row names the concept."""

    kind: Literal["coded_measurement"] = "coded_measurement"
    measured: CodeValue | None = entry("4", CODE, None, "1", U)
    result: CodeValue = entry_value()
    qualifiers: Qualifiers | None = include("5", ">", Qualifiers, "1", U, verified=False)


class CodedFindingSite(Coded):
    """TID 3110 row 3 with the rows below it."""

    modifier: Coded | None = row(
        "4", ">>", HAS_CONCEPT_MOD, CODE, TOPOGRAPHICAL_MODIFIER, "1", U, dcid(3019), inferred=["value"]
    )


class CodedFinding(Entry, head=IMPRESSIONS):
    """TID 3110 rows 1 to 5: a finding as a code."""

    kind: Literal["coded_finding"] = "coded_finding"
    concept: CodeValue = entry("1", CODE, dcm("121071", "Finding"), "1", U)
    finding: CodeValue = entry_value()
    severity: Coded | None = row(
        "2", ">", HAS_PROPERTIES, CODE, sct("246112005", "Severity"), "1", U, dcid(3716), inferred=["value"]
    )
    site: CodedFindingSite | None = row("3", ">", HAS_PROPERTIES, CODE, FINDING_SITE, "1", U)
    qualifiers: Qualifiers | None = include("5", ">", Qualifiers, "1", U, verified=False)


class Impression(Entry, head=IMPRESSIONS):
    """TID 3110 rows 6 and 7: a finding, impression or recommendation in words; any other concept is allowed, too."""

    kind: Literal["impression"] = "impression"
    type: CodeValue | None = entry("6", TEXT, bcid(3419), "1", U, inferred=["concept"])
    text: str = entry_value()
    qualifiers: Qualifiers | None = include("7", ">", Qualifiers, "1", U, verified=False)


class PercutaneousEntry(Entry, head=Template("3111", "Percutaneous Entry", ordered=False)):
    """TID 3111 Percutaneous Entry: the vessel is entered or closed; the site is the value."""

    kind: Literal["percutaneous_entry"] = "percutaneous_entry"
    concept: CodeValue = entry("1", CODE, dcm("121156", "Percutaneous Entry Action"), inferred=["value"])
    action: CodeValue = entry_value(dcid(3403))
    laterality: Coded | None = row("2", ">", HAS_CONCEPT_MOD, CODE, LATERALITY, "1", U, dcid(244), inferred=["value"])
    qualifiers: Qualifiers | None = include("3", ">", Qualifiers, "1", U, verified=False)


def _is_blood(_parent: ContentItem | None, siblings: Sequence[ContentItem]) -> bool | None:
    """Whether blood was taken: no Anatomic Pathology Specimen Type (CID 8103) in TID 1009 row 5 is; else it is not said."""
    context = (item for item in siblings if item.relationship == HAS_OBS_CONTEXT)
    return False if coded(context, SPECIMEN_TYPE) in group(8103) else None


BLOOD = Condition("IFF", "the specimen is a blood sample", _is_blood, inferred=True)


class SpecimenObtained(Entry, head=Template("3112", "Specimen Obtained")):
    """TID 3112 Specimen Obtained; rows 2 and 3 as they stand contradict PS3.3 Table A.35.7-2."""

    kind: Literal["specimen_obtained"] = "specimen_obtained"
    concept: CodeValue = entry("1", CODE, STATUS_OR_EVENT)
    collection: CodeValue = entry_value(dcid(3515))
    type: Coded | None = row(
        "2", ">", HAS_ACQ_CONTEXT, CODE, SPECIMEN_TYPE, "1", UC, dcid(3520), when=BLOOD, conflicts=True
    )
    site: Coded | None = row("3", ">", HAS_ACQ_CONTEXT, CODE, PROCEDURE_SITE, "1", U, bcid(3630), conflicts=True)
    specimen: Specimen | None = include("4", ">", Specimen, "1", U)


def _oxygen_begins(parent: ContentItem | None, _siblings: Sequence[ContentItem]) -> bool:
    return parent is not None and named(parent, dcm("121161", "Begin Oxygen Administration"))


class OxygenAdministration(Entry, head=PATIENT_SUPPORT):
    """TID 3113 rows 1 to 3: oxygen begins or ends to be given."""

    kind: Literal["oxygen_administration"] = "oxygen_administration"
    action: CodeValue = entry("1", CODE, dcid(3530), "1", U, inferred=["concept", "value"])
    support: CodeValue = entry_value(dcid(3531))
    oxygen_rate: Quantity | None = row(
        "2", ">", HAS_PROPERTIES, NUM, dcm("121160", "Oxygen Administration Rate"), "1", MC, units=dt(ucum("l/min")),
        when=Condition("IFF", "row 1 is Begin Oxygen Administration", _oxygen_begins),
    )  # fmt: skip
    qualifiers: Qualifiers | None = include("3", ">", Qualifiers, "1", U, verified=False)


class CirculatorySupport(Entry, head=PATIENT_SUPPORT):
    """TID 3113 rows 4 and 5: circulatory support begins or ends."""

    kind: Literal["circulatory_support"] = "circulatory_support"
    action: CodeValue = entry("4", CODE, dcid(3550), "1", U, inferred=["concept", "value"])
    support: CodeValue = entry_value(dcid(3553))
    qualifiers: Qualifiers | None = include("5", ">", Qualifiers, "1", U, verified=False)


class Ventilation(Entry, head=PATIENT_SUPPORT):
    """TID 3113 rows 6 and 7: ventilation begins or ends."""

    kind: Literal["ventilation"] = "ventilation"
    action: CodeValue = entry("6", CODE, dcid(3551), "1", U, inferred=["concept", "value"])
    support: CodeValue = entry_value(dcid(3554))
    qualifiers: Qualifiers | None = include("7", ">", Qualifiers, "1", U, verified=False)


class Pacing(Entry, head=PATIENT_SUPPORT):
    """TID 3113 rows 8 and 9: pacing begins or ends."""

    kind: Literal["pacing"] = "pacing"
    action: CodeValue = entry("8", CODE, dcid(3552), "1", U, inferred=["concept", "value"])
    support: CodeValue = entry_value(dcid(3555))
    qualifiers: Qualifiers | None = include("9", ">", Qualifiers, "1", U, verified=False)


def _is_of_vital_signs(parent: ContentItem | None, _siblings: Sequence[ContentItem]) -> bool:
    return parent is not None and isinstance(parent.value, Code) and known(parent.value).key in VITAL_SIGNS.keys


VITAL_SIGNS = dt(sct("61746007", "Observation of Vital Signs"))
IF_VITAL_SIGNS = Condition("IF", "row 1 value is Observation of Vital Signs", _is_of_vital_signs)


class PatientAssessment(Entry, head=Template("3114", "Patient Assessment")):
    """TID 3114 Patient Assessment: how the patient is. Rows 2 to 9 include TID 300: each is its row 1, the number.

    The concepts and units of rows 2 to 9 are the $Measurement and $Units of the inclusions.
    """

    kind: Literal["patient_assessment"] = "patient_assessment"
    concept: CodeValue = entry("1", CODE, STATUS_OR_EVENT)
    assessment: CodeValue = entry_value(dt(dcm("121165", "Patient Assessment Performed")), VITAL_SIGNS)
    systolic_pressure: BloodPressure | None = row(
        "2", ">", HAS_PROPERTIES, NUM, sct("271649006", "Systolic blood pressure"), "1", MC, units=dcid(3500),
        when=IF_VITAL_SIGNS,
    )  # fmt: skip
    diastolic_pressure: Measured | None = row(
        "3", ">", HAS_PROPERTIES, NUM, sct("271650006", "Diastolic blood pressure"), "1", MC, units=dcid(3500),
        when=IF_VITAL_SIGNS,
    )  # fmt: skip
    heart_rate: Measured | None = row(
        "4", ">", HAS_PROPERTIES, NUM, ln("8867-4", "Heart rate"), "1", MC, units=ucum("{H.B.}/min"),
        when=IF_VITAL_SIGNS,
    )  # fmt: skip
    body_temperature: Measured | None = row(
        "5", ">", HAS_PROPERTIES, NUM, ln("8310-5", "Body temperature"), "1", MC, units=ucum("Cel"), when=IF_VITAL_SIGNS
    )
    blood_gas_saturation: Measured | None = row(
        "6", ">", HAS_PROPERTIES, NUM, dcid(3526), "1", MC, units=ucum("%"), when=IF_VITAL_SIGNS
    )
    respiration_rate: Measured | None = row(
        "7", ">", HAS_PROPERTIES, NUM, sct("86290005", "Respiration rate"), "1", MC, units=ucum("/min"),
        when=IF_VITAL_SIGNS,
    )  # fmt: skip
    pulse_strengths: list[PulseStrength] = row(
        "8", ">", HAS_PROPERTIES, NUM, dcm("122195", "Pulse Strength"), "1-n", MC, units=dt(ucum("{0:4}")),
        when=IF_VITAL_SIGNS, verified=False,
    )  # fmt: skip
    pain_score: Measured | None = row(
        "9", ">", HAS_PROPERTIES, NUM, sct("225908003", "Pain Score"), "1", MC, units=dt(ucum("{1:10}")),
        when=IF_VITAL_SIGNS, verified=False,
    )  # fmt: skip
    cardiac_rhythm: Coded | None = row(
        "10", ">", HAS_PROPERTIES, CODE, dt(ln("8884-9", "Cardiac Rhythm")), "1", U, bcid(3415), inferred=["value"]
    )
    respiration_rhythm: Coded | None = row(
        "11", ">", HAS_PROPERTIES, CODE, dt(ln("9304-7", "Respiration Rhythm")), "1", U, bcid(3416), inferred=["value"]
    )
    respiration: Coded | None = row(
        "12", ">", HAS_PROPERTIES, CODE, dt(sct("364062005", "Respiration Assessment")), "1", U, bcid(3448),
        inferred=["value"],
    )  # fmt: skip
    skin_conditions: list[Coded] = row(
        "13", ">", HAS_PROPERTIES, CODE, dt(sct("364528001", "Skin condition")), "1-n", U, bcid(3446),
        inferred=["value"],
    )  # fmt: skip
    mental_state: Coded | None = row(
        "14", ">", HAS_PROPERTIES, CODE, dt(sct("363871006", "Patient mental state assessment")), "1", U
    )
    assessments: list[Text] = row("15", ">", HAS_PROPERTIES, TEXT, bcid(3441), "1-n", U, inferred=["concept"])


class StChange(Quantity):
    """TID 3115 row 2 with the rows below it."""

    lead: Coded = row(
        "3", ">>", HAS_CONCEPT_MOD, CODE, dt(dcm("122148", "Lead ID")), "1", M, bcid(3001), inferred=["value"]
    )


class EcgStAssessment(Entry, head=Template("3115", "ECG ST Assessment", ordered=False)):
    """TID 3115 ECG ST Assessment: how the ST segment has changed, lead by lead."""

    kind: Literal["ecg_st_assessment"] = "ecg_st_assessment"
    concept: CodeValue = entry("1", CODE, STATUS_OR_EVENT)
    analysis: CodeValue = entry_value(dt(sct("258181008", "ECG Analysis")))
    st_changes: list[StChange] = row(
        "2", ">", HAS_PROPERTIES, NUM, dt(dcm("122099", "ST change from baseline")), "1-n", M, units=ucum("uV")
    )
