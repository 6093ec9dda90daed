"""The reader against pydicom: the same elements and values, whatever is sent and however it is encoded."""

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence as Items

from plscp.content.elements import Elements, items_of, shown, undecoded
from plscp.content.model import Bounds
from plscp.content.reader import decode
from plscp.errors import Refused
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.templates.procedure_log import read_log
from plscp.templates.substance import read_administration
from tests.templates import build

SETS = {
    "": "abcXYZ 09._-",
    "ISO_IR 100": "abc äöüÉ µ",
    "ISO_IR 144": "abc Люкцйё",
    "ISO_IR 192": "abc äЛ山田 😀",
    "GB18030": "abc 王小东 é乗",
    "\\ISO 2022 IR 87": "abc 山田太郎",
    "\\ISO 2022 IR 149": "abc 김희중",
}
UIDS = st.sampled_from(["", "1.2.840.10008.5.1.4.1.1.12.1", "1.2.3"])
NUMBERS = st.integers(-(1 << 31), (1 << 31) - 1)


def texts(alphabet: str, most: int = 12) -> st.SearchStrategy[str]:
    return st.text(st.sampled_from(alphabet), max_size=most).map(lambda text: text.strip(" "))


def elements(alphabet: str, depth: int) -> st.SearchStrategy[Dataset]:
    """Data sets of every kind of VR, with sequences down to a depth."""
    text = texts(alphabet)
    members: dict[str, st.SearchStrategy[Any]] = {
        "PatientName": st.lists(text, min_size=1, max_size=3).map("^".join),
        "PatientID": text,
        "TextValue": texts(alphabet, 40),
        "StudyID": texts(alphabet),
        "ProductName": st.lists(text, max_size=3),
        "ValueType": st.sampled_from(["", "TEXT", "CODE"]),
        "StudyInstanceUID": UIDS,
        "NumericValue": st.sampled_from(["", "1", "-2.50", "1e3", ["1", "2"]]),
        "ObservationDateTime": st.sampled_from(["", "20261122143000.5+0100"]),
        "Rows": st.none() | st.integers(0, 65535),
        "FloatingPointValue": st.floats(allow_nan=False),
        "RationalNumeratorValue": NUMBERS,
        "SelectorATValue": st.lists(st.integers(0, 0xFFFFFFFF), min_size=1, max_size=3),
        "EncapsulatedDocument": st.binary(max_size=6).map(lambda b: b + bytes(len(b) % 2)),
    }
    chosen = st.sets(st.sampled_from(sorted(members)), max_size=6).flatmap(
        lambda names: st.fixed_dictionaries({name: members[name] for name in sorted(names)})
    )
    if depth:
        below = st.lists(elements(alphabet, depth - 1), max_size=3).map(Items)
        names = st.sets(st.sampled_from(["ContentSequence", "ConceptNameCodeSequence", "MeasuredValueSequence"]))
        sequences = names.flatmap(lambda names: st.fixed_dictionaries(dict.fromkeys(sorted(names), below)))
        chosen = st.tuples(chosen, sequences).map(lambda pair: {**pair[0], **pair[1]})
    return chosen.map(lambda values: build.dataset(**values))


@st.composite
def data_sets(draw: st.DrawFn) -> Dataset:
    """Data sets in any of the character sets that pydicom does right."""
    declared = draw(st.sampled_from(sorted(SETS)))
    made = draw(elements(SETS[declared], 2))
    if declared:
        made.SpecificCharacterSet = declared.split("\\")
    return made


def compare(ours: Elements, theirs: Dataset) -> None:
    """Each element has pydicom's VR and value."""
    tags = {e.tag for e in theirs if e.tag != 0x00080005}
    assert ours.keys() == tags
    for tag, mine in ours.items():
        element = theirs[tag]
        assert mine.vr == element.VR, keyword_for_tag(tag)
        if isinstance(mine.value, list):
            assert len(mine.value) == len(element.value)
            for inner, other in zip(items_of(mine), element.value, strict=True):
                compare(inner, other)
        elif isinstance(mine.value, bytes) and not undecoded(mine):
            assert mine.value == _bytes(element)
        else:
            assert shown(mine) == _text(element)


def _text(element: Any) -> str:
    values = element.value if element.VM > 1 else [element.value]
    if not element.VM:
        return ""
    return "\\".join(map(_one, values)).rstrip(" \0")


def _one(value: Any) -> str:
    original = getattr(value, "original_string", None)
    return original if isinstance(original, str) else str(value)


def _bytes(element: Any) -> bytes:
    out = DicomBytesIO()
    out.is_implicit_VR, out.is_little_endian = True, True
    write_data_element(out, element)
    return bytes(out.getvalue()[8:])


@settings(max_examples=60, deadline=None)
@given(data_sets(), st.booleans())
def test_pydicom_reads_the_same(made: Dataset, undefined: bool) -> None:
    """In every transfer syntax, with and without lengths: pydicom's elements and values, and one identity."""
    identities = set()
    for syntax in build.SYNTAXES:
        raw = build.encode(made, syntax, undefined=undefined)
        for _ in range(2):  # the second time from memory
            decoded = decode(
                raw, syntax, calling_ae="HEMO1", sop_class=SUBSTANCE_ADMINISTRATION_LOGGING, bounds=Bounds()
            )
            compare(decoded.root.elements, build.read(raw, syntax))
            assert not decoded.notes
            identities.add(decoded.identity)
    assert len(identities) == 1


def refusal(raw: bytes, syntax: str, sop_class: str, *, strict: bool) -> Refused | None:
    """What steps 5 to 7 refuse with, or None; any other exception is a defect."""
    check = read_log if sop_class == PROCEDURAL_EVENT_LOGGING else read_administration
    try:
        check(decode(raw, syntax, calling_ae="A", sop_class=sop_class, bounds=Bounds()), strict=strict)
    except Refused as refused:
        return refused
    return None


def judge(raw: bytes, syntax: str) -> None:
    """Steps 5 to 7 for both SOP Classes: a result or a refusal, nothing else."""
    for sop_class in (PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING):
        for strict in (False, True):
            refused = refusal(raw, syntax, sop_class, strict=strict)
            if refused is not None:
                assert refused.findings
                assert all(f.reason.isascii() and f.reason.isprintable() for f in refused.findings)
                assert len(refused.findings[0].comment(more=3)) <= 64


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(build.SYNTAXES))
def test_arbitrary_bytes_are_refused_or_read(raw: bytes, syntax: str) -> None:
    """No bytes raise anything but a refusal."""
    judge(raw, syntax)


@settings(max_examples=60, deadline=None)
@given(data_sets(), st.sampled_from(build.SYNTAXES))
def test_arbitrary_elements_are_refused_or_read(made: Dataset, syntax: str) -> None:
    """No well-encoded data set raises anything but a refusal."""
    judge(build.encode(made, syntax), syntax)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_requests_are_refused_or_read(data: st.DataObject) -> None:
    """A good request with bytes changed, cut out or doubled raises nothing but a refusal."""
    good = data.draw(st.sampled_from([build.log(build.drug(), build.note(2)), build.administration()]))
    syntax = data.draw(st.sampled_from(build.SYNTAXES[:3]))
    raw = bytearray(build.encode(good, syntax))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        how = data.draw(st.sampled_from(["change", "cut", "double"]))
        if how == "change":
            raw[place] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del raw[place : place + data.draw(st.integers(1, 20))]
        else:
            raw[place:place] = raw[place : place + 20]
        if not raw:
            break
    judge(bytes(raw), syntax)


CHANGES = [
    ("empty", BytesIO().getvalue()),
    ("one byte", b"\0"),
    ("only items", build.encode(build.dataset(ContentSequence=Items([Dataset()] * 9_000)), build.IMPLICIT)),
    ("faulty items", build.encode(build.log(*[build.dataset(ValueType="X")] * 4_000), build.IMPLICIT)),
    ("odd lengths", b"".join(b"\x09\x10" + n.to_bytes(2, "little") + b"\1\0\0\0x" for n in range(1, 19_000))),
]


@pytest.mark.parametrize(("what", "raw"), CHANGES, ids=[name for name, _ in CHANGES])
def test_large_nonsense_is_refused(what: str, raw: bytes) -> None:
    """As much nonsense as the bounds let in is refused, with a bounded number of findings."""
    for strict in (False, True):
        refused = refusal(raw, build.IMPLICIT, PROCEDURAL_EVENT_LOGGING, strict=strict)
        assert refused is not None, what
        assert 0 < len(refused.findings) <= 500
