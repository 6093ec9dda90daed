"""Content items written as a pydicom data set (PS3.3 C.17.3)."""

from io import BytesIO

import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from plscp.content.model import Code, ContentItem, Numeric, RawElement
from plscp.content.writing import code_item, dataset
from tests.templates.strategies import KINDS
from tests.templates.trees import entry, root


def encoded(made: Dataset) -> Dataset:
    """The data set after being written in Explicit VR Little Endian and read again."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, made)
    return read_dataset(BytesIO(buffer.getvalue()), is_implicit_VR=False, is_little_endian=True)


@pytest.mark.parametrize("kind", KINDS)
def test_entries_are_written_with_their_attributes(kind: str) -> None:
    """Each kind of entry makes a data set that pydicom writes and reads."""
    item = entry(kind)
    found = encoded(dataset(root(item))).ContentSequence[2]
    assert (found.RelationshipType, found.ValueType) == ("CONTAINS", item.value_type)
    assert found.ObservationDateTime == item.observation_datetime
    assert found.ConceptNameCodeSequence[0].CodeValue == (item.concept.value if item.concept else "")
    assert len(found.get("ContentSequence", [])) == len(item.children)


def test_the_root_names_its_template() -> None:
    """The root is a CONTAINER with continuity and Content Template Sequence."""
    made = dataset(root())
    assert (made.ValueType, made.ContinuityOfContent) == ("CONTAINER", "SEPARATE")
    assert made.ContentTemplateSequence[0].TemplateIdentifier == "3001"


def test_a_number_without_a_value() -> None:
    """Measured Value Sequence is Type 2: empty where there is no value; the qualifier says why."""
    item = ContentItem("HAS PROPERTIES", "NUM", Code("1", "99T"), Numeric(None, None, Code("114000", "DCM", "NaN")))
    made = dataset(item)
    assert len(made.MeasuredValueSequence) == 0
    assert made.NumericValueQualifierCodeSequence[0].CodeValue == "114000"


def test_where_a_code_value_goes() -> None:
    """Sixteen characters at most in Code Value; longer ones and URNs have attributes of their own (PS3.3 8.8)."""
    assert code_item(Code("1" * 16, "L")).CodeValue == "1" * 16
    assert code_item(Code("1" * 17, "L")).LongCodeValue == "1" * 17
    assert code_item(Code("urn:x:y", "")).URNCodeValue == "urn:x:y"


def test_what_was_kept_is_written() -> None:
    """Elements that plscp does not interpret go back to where they were, nested ones too."""
    inner = RawElement(0x00080104, "LO", "inside")
    item = ContentItem("", "TEXT", Code("1", "99T"), "a\\b", other=(RawElement(0x00091010, "SQ", ((inner,),)),))
    made = encoded(dataset(item))
    assert made[0x00091010].value[0].CodeMeaning == "inside"
    assert made.TextValue == "a\\b"
