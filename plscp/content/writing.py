"""Content items as a pydicom data set: for simulators, tests and the Procedure Log instance (PS3.3 C.17.3)."""

from collections.abc import Sequence
from typing import Any, Final

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from plscp.content.items import CONTINUITY, SIMPLE
from plscp.content.model import Code, ContentItem, Numeric, RawElement, ReferencedSop

TEXT_TAGS: Final = {
    **{value_type: (tag, vr) for value_type, (tag, vr, *_) in SIMPLE.items()},
    "CONTAINER": (CONTINUITY, "CS"),
}
"""The attribute that holds the value of each value type that is a text."""


def dataset(item: ContentItem) -> Dataset:
    """A content item as a data set: the root's attributes, or an item of Content Sequence (0040,A730).

    Raises:
        ValueError: a value is not one that pydicom can hold, e.g. a decimal string that is no number.
    """
    made = Dataset()
    if item.relationship:
        made.RelationshipType = item.relationship
    made.ValueType = item.value_type
    if item.concept is not None:
        made.ConceptNameCodeSequence = Items([code_item(item.concept)])
    if item.observation_datetime:
        made.ObservationDateTime = item.observation_datetime
    if item.observation_uid:
        made.ObservationUID = item.observation_uid
    _value(made, item)
    if item.template:
        template = Dataset()
        template.MappingResource = "DCMR"
        template.TemplateIdentifier = item.template
        made.ContentTemplateSequence = Items([template])
    others(made, item.other)
    if item.children:
        made.ContentSequence = Items([dataset(child) for child in item.children])
    return made


def code_item(code: Code) -> Dataset:
    """An item of a Code Sequence; a value of more than 16 characters goes to Long Code Value, a URN to URN Code Value."""
    made = Dataset()
    if not code.scheme:
        made.URNCodeValue = code.value
    elif len(code.value) > 16:
        made.LongCodeValue = code.value
    else:
        made.CodeValue = code.value
    if code.scheme:
        made.CodingSchemeDesignator = code.scheme
    if code.version:
        made.CodingSchemeVersion = code.version
    made.CodeMeaning = code.meaning
    others(made, code.other)
    return made


def _value(made: Dataset, item: ContentItem) -> None:
    value = item.value
    if isinstance(value, Code):
        made.ConceptCodeSequence = Items([code_item(value)])
    elif isinstance(value, Numeric):
        measured = Dataset()
        measured.NumericValue = value.text
        if value.units is not None:
            measured.MeasurementUnitsCodeSequence = Items([code_item(value.units)])
        others(measured, value.other)
        made.MeasuredValueSequence = Items([measured] if value.text is not None else [])
        if value.qualifier is not None:
            made.NumericValueQualifierCodeSequence = Items([code_item(value.qualifier)])
    elif isinstance(value, ReferencedSop):
        reference = Dataset()
        reference.ReferencedSOPClassUID = value.sop_class_uid
        reference.ReferencedSOPInstanceUID = value.sop_instance_uid
        others(reference, value.other)
        made.ReferencedSOPSequence = Items([reference])
    elif value is not None:
        # A new element with its VR: a text is not split at backslashes as an assignment would.
        made.add_new(*TEXT_TAGS[item.value_type], value)


def others(made: Dataset, elements: Sequence[RawElement]) -> Dataset:
    """Adds elements that were kept whole."""
    for tag, vr, value in elements:
        whole: Any = value if isinstance(value, str | bytes) else Items([others(Dataset(), item) for item in value])
        made.add_new(tag, vr, whole)
    return made
