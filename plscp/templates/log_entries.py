"""Procedure Log: its context, its own entries, what qualifies every entry, and what was done (PS3.16 TID 3001, 3010, 3100 to 3104, 3601)."""

from collections.abc import Sequence
from typing import Literal

from plscp.content.model import ContentItem, ReferencedSop
from plscp.templates.observation_context import PROCEDURE_CODE, Observer, Quotation

from plscp.templates.rows import (  # isort: skip
    CODE, COMPOSITE, DATETIME, HAS_ACQ_CONTEXT, HAS_CONCEPT_MOD, HAS_OBS_CONTEXT, HAS_PROPERTIES, IMAGE, INFERRED_FROM, MC,
    NUM, PNAME, TEXT, UIDREF, WAVEFORM, Condition, M, Template, U, bcid, dcid, dcm, entry, entry_value, include, named, row,
    sct, ucum,
)  # fmt: skip
from plscp.templates.values import (  # isort: skip
    Coded, CodeValue, DateTime, Entry, Extras, Included, ObjectReference, PersonName, Quantity, Reference, Text,
)  # fmt: skip


PROCEDURE_LOG = Template("3001", "Procedure Log", ordered=False)
TITLE = dcid(3400)  # row 1: the concept name of the root
COMPLICATION = sct("116224001", "Complication of Procedure")
HAS_INTENT = sct("363703001", "Has Intent")
MATERIAL = dcm("121145", "Description of Material")
MODALITY = dcm("121139", "Modality")
ACTION_ITEM = dcm("121124", "Procedure Action Item ID")
LESION = dcm("121151", "Lesion Identifier")
STATUS_OR_EVENT = dcm("121123", "Patient Status or Event")
DATETIME_QUALIFIER = dcm("121135", "Observation DateTime Qualifier")


class ProcedureContext(Included, head=Template("3601", "Procedure Context")):
    """TID 3601 Procedure Context."""

    description: Text | None = row("1", "", HAS_ACQ_CONTEXT, TEXT, dcm("121065", "Procedure Description"), "1", U)
    intent: Coded | None = row("2", "", HAS_ACQ_CONTEXT, CODE, HAS_INTENT, "1", U, bcid(3629))
    priority: Coded | None = row(
        "3", "", HAS_ACQ_CONTEXT, CODE, sct("260870009", "Procedure Priority"), "1", U, bcid(3414)
    )
    codes: list[Coded] = row("4", "", HAS_OBS_CONTEXT, CODE, PROCEDURE_CODE, "1-n", U)


class Qualifiers(Included, head=Template("3010", "Log Entry Qualifiers", ordered=False)):
    """TID 3010 Log Entry Qualifiers. Row 1 includes TID 1000, or TID 1002: which, was not read, so it takes the rows of both.

    Rows 6 to 8 stand below TEXT, CODE and NUM in PS3.3 Table A.35.7-2, and not below the other entries.
    """

    quotation: Quotation | None = include("1", "", Quotation, "1", U, verified=False)
    observers: list[Observer] = include("1", "", Observer, "1-n", U, verified=False)
    comment: Text | None = row("2", "", HAS_PROPERTIES, TEXT, dcm("121106", "Comment"), "1", U)
    action_item_ids: list[Text] = row("3", "", HAS_OBS_CONTEXT, TEXT, ACTION_ITEM, "1-n", U)
    lesions: list[Text] = row("4", "", HAS_OBS_CONTEXT, TEXT, LESION, "1-n", U)
    recorded: DateTime | None = row(
        "5", "", HAS_OBS_CONTEXT, DATETIME, dcm("121125", "DateTime of Recording of Log Entry"), "1", U
    )
    images: list[Reference] = row("6", "", INFERRED_FROM, IMAGE, None, "1-n", U)
    waveforms: list[Reference] = row("7", "", INFERRED_FROM, WAVEFORM, None, "1-n", U)
    objects: list[Reference] = row("8", "", INFERRED_FROM, COMPOSITE, None, "1-n", U)
    # Row 9 is a concept modifier in PS3.16 Annex D: both are accepted.
    datetime_qualifier: Coded | None = row(
        "9", "", HAS_OBS_CONTEXT, CODE, DATETIME_QUALIFIER, "1", U, dcid(3430), inferred=["value"]
    )
    datetime_modifier: Coded | None = row(
        "9", "", HAS_CONCEPT_MOD, CODE, DATETIME_QUALIFIER, "1", U, dcid(3430), inferred=["value", "relationship"]
    )


class LogContext(Extras, head=PROCEDURE_LOG):
    """TID 3001 rows 1 to 5: what every entry of the log inherits."""

    title: CodeValue | None = None
    continuity: str | None = None
    observers: list[Observer] = include("2", ">", Observer, "1-n", M)
    procedure: ProcedureContext | None = include("3", ">", ProcedureContext, "1", M)
    room: Text | None = row("4", ">", HAS_ACQ_CONTEXT, TEXT, dcm("121121", "Room identification"), "1", U)
    equipment: list[Text] = row("5", ">", HAS_ACQ_CONTEXT, TEXT, dcm("121122", "Equipment identification"), "1-n", U)


class Note(Entry, head=PROCEDURE_LOG):
    """TID 3001 row 6: a log note."""

    kind: Literal["note"] = "note"
    type: CodeValue = entry("6", TEXT, dcid(3401), "1-n", U)
    text: str = entry_value()
    qualifiers: Qualifiers | None = include("7", ">>", Qualifiers, "1", U)


class PatientEvent(Entry, head=PROCEDURE_LOG):
    """TID 3001 row 8: what happened to the patient, or how the patient is."""

    kind: Literal["patient_event"] = "patient_event"
    concept: CodeValue = entry("8", CODE, STATUS_OR_EVENT, "1-n", U)
    event: CodeValue = entry_value(dcid(3402))
    qualifiers: Qualifiers | None = include("9", ">>", Qualifiers, "1", U)


class StaffAction(Entry, head=PROCEDURE_LOG):
    """TID 3001 row 10: somebody came, went, was called or consulted."""

    kind: Literal["staff_action"] = "staff_action"
    action: CodeValue = entry("10", PNAME, dcid(3404), "1-n", U)
    person: str = entry_value()
    qualifiers: Qualifiers | None = include("11", ">>", Qualifiers, "1", U)


class EquipmentEvent(Entry, head=PROCEDURE_LOG):
    """TID 3001 row 12: equipment came, went, got ready or failed."""

    kind: Literal["equipment_event"] = "equipment_event"
    event: CodeValue = entry("12", TEXT, dcid(3427), "1-n", U)
    equipment: str = entry_value()
    qualifiers: Qualifiers | None = include("13", ">>", Qualifiers, "1", U)


class Complication(Entry, head=PROCEDURE_LOG):
    """TID 3001 row 23: a complication of the procedure."""

    kind: Literal["complication"] = "complication"
    concept: CodeValue = entry("23", CODE, COMPLICATION, "1-n", U, inferred=["value"])
    complication: CodeValue = entry_value(dcid(3413))
    qualifiers: Qualifiers | None = include("24", ">>", Qualifiers, "1", U, verified=False)


STEP_UID = dcm("121126", "Performed Procedure Step SOP Instance UID")
STEP_CLASS = dcm("121127", "Performed Procedure Step SOP Class UID")


def _conveyed_by_step(_parent: ContentItem | None, siblings: Sequence[ContentItem]) -> bool | None:
    """Whether a Performed Procedure Step conveys the status: known only from the other of the two rows."""
    return any(named(item, STEP_UID) or named(item, STEP_CLASS) for item in siblings) or None


STEP = Condition(
    "IFF", "a Performed Procedure Step SOP Class conveys the status of the step", _conveyed_by_step, inferred=True
)


class ProcedureAction(Entry, head=Template("3100", "Procedure Action")):
    """TID 3100 Procedure Action: a step of the procedure starts, ends, pauses or goes on."""

    kind: Literal["procedure_action"] = "procedure_action"
    action: CodeValue = entry("1", CODE, dcid(3421), inferred=["concept", "value"])
    procedure: CodeValue = entry_value(bcid(3405))
    item_id: Text = row("2", ">", HAS_PROPERTIES, TEXT, ACTION_ITEM, "1", M)
    performers: list[PersonName] = row("3", ">", HAS_PROPERTIES, PNAME, bcid(7453), "1-n", U, inferred=["concept"])
    duration: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("121128", "Procedure Action Duration"), "1", U)
    qualifiers: Qualifiers | None = include("5", ">", Qualifiers, "1", U, verified=False)
    step_instance_uid: Text | None = row("6", ">", HAS_PROPERTIES, UIDREF, STEP_UID, "1", MC, when=STEP)
    step_class_uid: Text | None = row("7", ">", HAS_PROPERTIES, UIDREF, STEP_CLASS, "1", MC, when=STEP)


class ImageAcquired(Entry, head=Template("3101", "Image Acquisition")):
    """TID 3101 Image Acquisition."""

    kind: Literal["image_acquired"] = "image_acquired"
    concept: CodeValue = entry("1", IMAGE, dcm("121138", "Image Acquired"))
    image: ObjectReference = entry_value()
    series_instance_uid: Text = row("2", ">", HAS_ACQ_CONTEXT, UIDREF, dcm("112002", "Series Instance UID"), "1", M)
    modality: Coded = row("3", ">", HAS_ACQ_CONTEXT, CODE, MODALITY, "1", M, dcid(29))
    number_of_frames: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("121140", "Number of Frames"), "1", U)
    image_type: Text | None = row("5", ">", HAS_PROPERTIES, TEXT, dcm("121141", "Image Type"), "1", U)
    primary_angle: Quantity | None = row(
        "6", ">", HAS_ACQ_CONTEXT, NUM, dcm("112011", "Positioner Primary Angle"), "1", U, units=ucum("deg")
    )
    secondary_angle: Quantity | None = row(
        "7", ">", HAS_ACQ_CONTEXT, NUM, dcm("112012", "Positioner Secondary Angle"), "1", U, units=ucum("deg")
    )
    qualifiers: Qualifiers | None = include("8", ">", Qualifiers, "1", U)


class WaveformAcquired(Entry, head=Template("3102", "Waveform Acquisition")):
    """TID 3102 Waveform Acquisition."""

    kind: Literal["waveform_acquired"] = "waveform_acquired"
    concept: CodeValue = entry("1", WAVEFORM, dcm("121143", "Waveform Acquired"))
    waveform: ObjectReference = entry_value()
    modality: Coded = row("2", ">", HAS_ACQ_CONTEXT, CODE, MODALITY, "1", M, dcid(29))
    duration: Quantity | None = row("3", ">", HAS_ACQ_CONTEXT, NUM, dcm("121142", "Acquisition Duration"), "1", U)
    qualifiers: Qualifiers | None = include("4", ">", Qualifiers, "1", U)


def _is_report(parent: ContentItem | None, _siblings: Sequence[ContentItem]) -> bool | None:
    """Whether the referenced object is an SR document; a private SOP Class cannot be told."""
    if parent is None or not isinstance(parent.value, ReferencedSop):
        return None
    if parent.value.sop_class_uid.startswith("1.2.840.10008.5.1.4.1.1.88."):
        return True
    return False if parent.value.sop_class_uid.startswith("1.2.840.10008.") else None


class ObjectReferenced(Entry, head=Template("3103", "Referenced Object")):
    """TID 3103 Referenced Object: a document or measurement set that the procedure makes use of."""

    kind: Literal["object_referenced"] = "object_referenced"
    purpose: CodeValue | None = entry("1", COMPOSITE, bcid(3407))
    object: ObjectReference = entry_value()
    title: Coded | None = row(
        "2", ">", HAS_PROPERTIES, CODE, dcm("121144", "Document Title"), "1", MC,
        when=Condition("IFF", "row 1 references an SR object", _is_report),
    )  # fmt: skip
    qualifiers: Qualifiers | None = include("3", ">", Qualifiers, "1", U)


class Consumable(Entry, head=Template("3104", "Consumables")):
    """TID 3104 Consumables: taken from inventory, put back, or thrown away; for inventory and billing."""

    kind: Literal["consumable"] = "consumable"
    action: CodeValue = entry("1", CODE, dcid(3408))
    material: CodeValue = entry_value()
    # Row 2, which may repeat: each parameter of CID 3426 has a name, repetitions and extensions go to `parameters`.
    description: Text | None = row("2", ">", HAS_PROPERTIES, TEXT, MATERIAL, "1", U)
    serial_number: Text | None = row("2", ">", HAS_PROPERTIES, TEXT, dcm("121148", "Unit Serial Identifier"), "1", U)
    lot: Text | None = row("2", ">", HAS_PROPERTIES, TEXT, dcm("121149", "Lot Identifier"), "1", U)
    parameters: list[Text] = row("2", ">", HAS_PROPERTIES, TEXT, dcid(3426), "1-n", U)
    quantity: Quantity | None = row("3", ">", HAS_PROPERTIES, NUM, dcm("121146", "Quantity of Material"), "1", U)
    billing_code: Coded | None = row("4", ">", HAS_PROPERTIES, CODE, dcm("121147", "Billing Code"), "1", U)
    qualifiers: Qualifiers | None = include("5", ">", Qualifiers, "1", U)
