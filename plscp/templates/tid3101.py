"""Image Acquisition, Waveform Acquisition and Referenced Object (PS3.16 TID 3101, 3102, 3103)."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from plscp.content.model import ContentItem
from plscp.content.model import Reference as ReferenceValue
from plscp.templates.rows import (
    CODE,
    COMPOSITE,
    HAS_ACQ_CONTEXT,
    HAS_PROPERTIES,
    IMAGE,
    MC,
    NUM,
    TEXT,
    UIDREF,
    WAVEFORM,
    Condition,
    M,
    Template,
    U,
    bcid,
    dcid,
    dcm,
    entry,
    entry_value,
    include,
    row,
    ucum,
)
from plscp.templates.terms import MODALITY
from plscp.templates.tid3010 import Qualifiers
from plscp.templates.values import Coded, CodeValue, Entry, ObjectReference, Quantity, Text


class ImageAcquired(Entry):
    """TID 3101 Image Acquisition."""

    head: ClassVar[Template] = Template("3101", "Image Acquisition")
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


class WaveformAcquired(Entry):
    """TID 3102 Waveform Acquisition."""

    head: ClassVar[Template] = Template("3102", "Waveform Acquisition")
    kind: Literal["waveform_acquired"] = "waveform_acquired"

    concept: CodeValue = entry("1", WAVEFORM, dcm("121143", "Waveform Acquired"))
    waveform: ObjectReference = entry_value()
    modality: Coded = row("2", ">", HAS_ACQ_CONTEXT, CODE, MODALITY, "1", M, dcid(29))
    duration: Quantity | None = row("3", ">", HAS_ACQ_CONTEXT, NUM, dcm("121142", "Acquisition Duration"), "1", U)
    qualifiers: Qualifiers | None = include("4", ">", Qualifiers, "1", U)


def _is_report(parent: ContentItem | None, _siblings: Sequence[ContentItem]) -> bool | None:
    """Whether the referenced object is an SR document; a private SOP Class cannot be told."""
    if parent is None or not isinstance(parent.value, ReferenceValue):
        return None
    if parent.value.sop_class_uid.startswith("1.2.840.10008.5.1.4.1.1.88."):
        return True
    return False if parent.value.sop_class_uid.startswith("1.2.840.10008.") else None


class ObjectReferenced(Entry):
    """TID 3103 Referenced Object: a document or measurement set that the procedure makes use of."""

    head: ClassVar[Template] = Template("3103", "Referenced Object")
    kind: Literal["object_referenced"] = "object_referenced"

    purpose: CodeValue | None = entry("1", COMPOSITE, bcid(3407))
    object: ObjectReference = entry_value()
    title: Coded | None = row(
        "2", ">", HAS_PROPERTIES, CODE, dcm("121144", "Document Title"), "1", MC,
        when=Condition("IFF", "row 1 references an SR object", _is_report),
    )  # fmt: skip
    qualifiers: Qualifiers | None = include("3", ">", Qualifiers, "1", U)
