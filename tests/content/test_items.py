"""Content items: every rule of PS3.3 C.17.3 and A.35.7.3.1, each broken once (tables of content-item rules)."""

from collections.abc import Callable
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from plscp.content.constraints import ALLOWED, CONTRADICTED, RELATIONSHIPS, VALUE_TYPES
from plscp.content.model import Bounds, Code, ContentItem, Numeric, RawElement, ReferencedSop
from plscp.content.reader import content_tree, decode
from plscp.findings import Finding
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.templates import build
from tests.templates.build import DOSE, LOG_NOTE, coded, dataset, image, item, num, text

PROPERTY = ("99", "L", "Some property")


def tree(made: Dataset, *, strict: bool = False, syntax: str = build.EXPLICIT) -> tuple[ContentItem, list[Finding]]:
    findings: list[Finding] = []
    return content_tree(build.decoded(made, syntax), findings, strict=strict), findings


def entry(*children: Dataset, **more: Any) -> Dataset:
    """A log with one entry of one TEXT item with children."""
    values = {"ObservationDateTime": build.when(1)} | more
    return build.log(text(LOG_NOTE, "x", *children, rel="CONTAINS", **values), observers=[])


def child(made: Dataset, **changes: Any) -> Dataset:
    """A log whose entry has this child; a change to None removes an attribute."""
    for name, value in changes.items():
        if value is None:
            delattr(made, name)
        else:
            made.update(dataset(**{name: value}))
    return entry(made)


def measured(**values: Any) -> Dataset:
    """A log with a NUM item whose measured value is this."""
    return child(num(DOSE, "1", "mg"), MeasuredValueSequence=Items([dataset(**values)]))


def in_code(**values: Any) -> Dataset:
    """A log with a CODE item whose code is this."""
    return child(coded(PROPERTY, PROPERTY), ConceptCodeSequence=Items([dataset(**values)]))


def reference(**values: Any) -> Dataset:
    """A log with an IMAGE inferred from, whose reference is this."""
    return child(image(PROPERTY, rel="INFERRED FROM"), ReferencedSOPSequence=Items([dataset(**values)]))


UNIT = Items([build.code(("mg", "UCUM", "mg"))])
GOOD = {"CodeValue": "1", "CodingSchemeDesignator": "L", "CodeMeaning": "One"}

REFUSED: list[tuple[str, Callable[[], Dataset], str, str, str]] = [
    # rule | data set | finding | path | template
    ("root is a CONTAINER", lambda: build.log(ValueType="TEXT"), "root-value-type", "", "A.35.7.3"),
    ("root without Value Type", lambda: build.log(ValueType=None), "root-value-type", "", "A.35.7.3"),
    ("root has a title", lambda: build.log(ConceptNameCodeSequence=None), "code-missing", "", "C.17.3"),
    ("title is one item", lambda: build.log(ConceptNameCodeSequence=Items([])), "code-items", "", "C.17.3"),
    ("continuity", lambda: build.log(ContinuityOfContent=None), "continuity", "", "C.17.3"),
    ("continuity, another word", lambda: build.log(ContinuityOfContent="BOTH"), "continuity", "", "C.17.3"),
    ("content", lambda: build.log(ContentSequence=Items([])), "content-sequence-empty", "", "C.17.3"),
    ("template is one item", lambda: build.log(ContentTemplateSequence=Items([])), "content-template-items", "", "C.17.3"),
    ("template's resource", lambda: build.log(ContentTemplateSequence=Items(
        [dataset(MappingResource="99X", TemplateIdentifier="3001")])), "content-template", "", "C.17.3"),
    ("template's form", lambda: build.log(ContentTemplateSequence=Items(
        [dataset(MappingResource="DCMR", TemplateIdentifier="TID3001")])), "content-template", "", "C.17.3"),
    ("entry's DateTime", lambda: entry(ObservationDateTime=""), "observation-datetime-missing", "1", "A.35.7.3"),
    ("entry's DateTime to the hour", lambda: entry(ObservationDateTime="2026112214"), "observation-datetime-coarse", "1",
     "A.35.7.3"),
    ("entry's DateTime to the day", lambda: entry(ObservationDateTime="20261122+0100"), "observation-datetime-coarse", "1",
     "A.35.7.3"),
    ("a child's Observation UID", lambda: child(text(PROPERTY, "x"), ObservationUID="1.2.03"), "observation-uid", "1.1",
     "C.17.3"),
    ("relationship type", lambda: child(text(PROPERTY, "x"), RelationshipType=None), "relationship-type", "1.1", "C.17.3"),
    ("unknown relationship", lambda: child(text(PROPERTY, "x"), RelationshipType="IS A"), "relationship-type", "1.1",
     "C.17.3"),
    ("SELECTED FROM", lambda: child(text(PROPERTY, "x"), RelationshipType="SELECTED FROM"), "relationship-not-allowed",
     "1.1", "A.35.7.3"),
    ("by reference", lambda: child(dataset(RelationshipType="HAS PROPERTIES", ReferencedContentItemIdentifier=[1, 2])),
     "by-reference", "1.1", "A.35.7.3"),
    ("value type", lambda: child(text(PROPERTY, "x"), ValueType=None), "value-type", "1.1", "A.35.7.3"),
    ("SCOORD", lambda: child(text(PROPERTY, "x"), ValueType="SCOORD"), "value-type", "1.1", "A.35.7.3"),
    ("nested CONTAINER", lambda: child(item("CONTAINS", "CONTAINER", PROPERTY, ContinuityOfContent="SEPARATE")),
     "nested-container", "1.1", "A.35.7.3"),
    ("concept name", lambda: child(text(PROPERTY, "x"), ConceptNameCodeSequence=None), "code-missing", "1.1", "C.17.3"),
    ("two concept names", lambda: child(text(PROPERTY, "x"), ConceptNameCodeSequence=Items(
        [build.code(PROPERTY), build.code(PROPERTY)])), "code-items", "1.1", "C.17.3"),
    ("text", lambda: child(text(PROPERTY, "x"), TextValue=None), "value-missing", "1.1", "C.17.3"),
    ("empty text", lambda: child(text(PROPERTY, "x"), TextValue=""), "value-missing", "1.1", "C.17.3"),
    ("tab in text", lambda: child(text(PROPERTY, "a\tb")), "value-invalid", "1.1", "C.17.3"),
    ("form feed in text", lambda: child(text(PROPERTY, "a\fb")), "value-invalid", "1.1", "C.17.3"),
    ("code", lambda: child(coded(PROPERTY, PROPERTY), ConceptCodeSequence=None), "code-missing", "1.1", "C.17.3"),
    ("no code item", lambda: child(coded(PROPERTY, PROPERTY), ConceptCodeSequence=Items([])), "code-items", "1.1", "C.17.3"),
    ("code value", lambda: in_code(CodingSchemeDesignator="L", CodeMeaning="One"), "code-value", "1.1", "C.17.3"),
    ("two code values", lambda: in_code(**GOOD, LongCodeValue="2"), "code-value", "1.1", "C.17.3"),
    ("long code value", lambda: in_code(**GOOD | {"CodeValue": "1" * 17}), "code-value", "1.1", "C.17.3"),
    ("coding scheme", lambda: in_code(CodeValue="1", CodeMeaning="One"), "code-scheme", "1.1", "C.17.3"),
    ("long coding scheme", lambda: in_code(**GOOD | {"CodingSchemeDesignator": "L" * 17}), "code-scheme", "1.1", "C.17.3"),
    ("code meaning", lambda: in_code(CodeValue="1", CodingSchemeDesignator="L"), "code-meaning", "1.1", "C.17.3"),
    ("long code meaning", lambda: in_code(**GOOD | {"CodeMeaning": "x" * 65}), "code-meaning", "1.1", "C.17.3"),
    ("measured value", lambda: child(num(DOSE, "1", "mg"), MeasuredValueSequence=None), "measured-value-missing", "1.1",
     "C.17.3"),
    ("two measured values", lambda: child(num(DOSE, "1", "mg"), MeasuredValueSequence=Items(
        [dataset(NumericValue="1", MeasurementUnitsCodeSequence=UNIT)] * 2)), "measured-value-items", "1.1", "C.17.3"),
    ("number", lambda: measured(MeasurementUnitsCodeSequence=UNIT), "numeric-value", "1.1", "C.17.3"),
    ("two numbers", lambda: measured(NumericValue=["1", "2"], MeasurementUnitsCodeSequence=UNIT), "numeric-value", "1.1",
     "C.17.3"),
    ("units", lambda: measured(NumericValue="1"), "code-missing", "1.1", "C.17.3"),
    ("two units", lambda: measured(NumericValue="1", MeasurementUnitsCodeSequence=Items([*UNIT, *UNIT])), "code-items", "1.1",
     "C.17.3"),
    ("two qualifiers", lambda: child(num(DOSE, "1", "mg"), NumericValueQualifierCodeSequence=Items([*UNIT, *UNIT])),
     "code-items", "1.1", "C.17.3"),
    ("DateTime", lambda: child(item("HAS PROPERTIES", "DATETIME", PROPERTY)), "value-missing", "1.1", "C.17.3"),
    ("Date", lambda: build.log(item("HAS ACQ CONTEXT", "DATE", PROPERTY, Date="")), "value-missing", "4", "C.17.3"),
    ("UID", lambda: child(item("HAS PROPERTIES", "UIDREF", PROPERTY)), "value-missing", "1.1", "C.17.3"),
    ("name", lambda: child(item("HAS PROPERTIES", "PNAME", PROPERTY, PersonName="")), "value-missing", "1.1", "C.17.3"),
    ("long name", lambda: child(item("HAS PROPERTIES", "PNAME", PROPERTY, PersonName="A=B=C=D")), "value-invalid", "1.1",
     "C.17.3"),
    ("reference", lambda: child(image(PROPERTY, rel="INFERRED FROM"), ReferencedSOPSequence=None), "reference-items", "1.1",
     "C.17.3"),
    ("two references", lambda: child(image(PROPERTY, rel="INFERRED FROM"), ReferencedSOPSequence=Items(
        [dataset(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.2")] * 2)), "reference-items", "1.1", "C.17.3"),
    ("referenced class", lambda: reference(ReferencedSOPInstanceUID="1.2"), "reference-uid", "1.1", "C.17.3"),
    ("referenced instance", lambda: reference(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID=""), "reference-uid",
     "1.1", "C.17.3"),
    ("deep inside", lambda: child(text(PROPERTY, "x", text(PROPERTY, ""))), "value-missing", "1.1.1", "C.17.3"),
]  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("rule", "made", "code", "path", "template"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_no_profile_lets_pass(  # noqa: PLR0917  # a row of a table
    rule: str, made: Callable[[], Dataset], code: str, path: str, template: str, strict: bool
) -> None:
    """Each broken rule is one refusing finding with the item's path, in both profiles, also the second time."""
    for _ in range(2):
        _, findings = tree(made(), strict=strict)
        refusing = [(f.code, f.path, f.template) for f in findings if f.refuse]
        assert refusing == [(code, path, template)], rule


def log_at(*times: str, **more: Any) -> Dataset:
    return build.log(*[text(LOG_NOTE, "x", rel="CONTAINS", ObservationDateTime=t) for t in times], observers=[], **more)


LENIENT: list[tuple[str, Callable[[], Dataset], str, str]] = [
    # what | data set | finding | path
    ("no Content Template Sequence", lambda: build.log(ContentTemplateSequence=None), "content-template-missing", ""),
    ("another template", lambda: build.log(ContentTemplateSequence=Items(
        [dataset(MappingResource="DCMR", TemplateIdentifier="3700")])), "content-template", ""),
    ("to the minute", lambda: log_at("202611221430"), "observation-datetime-minute", "1"),
    ("to the minute with offset", lambda: log_at("202611221430+0100"), "observation-datetime-minute", "1"),
    ("out of order", lambda: log_at("20261122143001", "20261122143000"), "entries-out-of-order", "2"),
    ("out of order by offset", lambda: log_at("20261122143000+0100", "20261122143500+0200"), "entries-out-of-order", "2"),
    ("out of order by the request's offset", lambda: log_at(
        "20261122143000", "20261122143500+0200", TimezoneOffsetFromUTC="+0100"), "entries-out-of-order", "2"),
    ("out of order by fraction", lambda: log_at("20261122143000.5", "20261122143000.25"), "entries-out-of-order", "2"),
    ("equal", lambda: log_at("20261122143000", "20261122143000"), "equal-datetimes", "2"),
    ("equal by fraction", lambda: log_at("20261122143000.5", "20261122143000.50"), "equal-datetimes", "2"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "made", "code", "path"), LENIENT, ids=[row[0] for row in LENIENT])
def test_what_only_strict_refuses(what: str, made: Callable[[], Dataset], code: str, path: str) -> None:
    """A lenient profile notes it, a strict one refuses it."""
    for strict in (False, True):
        _, findings = tree(made(), strict=strict)
        assert [(f.code, f.path, f.refuse) for f in findings] == [(code, path, strict)], what


@pytest.mark.parametrize(
    "times",
    [
        ("20261122143000", "20261122143000.000001"),
        ("20261122143000+0200", "20261122143000+0100"),
        ("20261122143000.1+0100", "20261122143000.25+0100"),
        ("20261122143001+0100", "20261122143000"),  # the second's zone is not known here
        ("20261231235959.5", "20270101000000"),
    ],
)
def test_rising_times(times: tuple[str, str]) -> None:
    """Strictly rising DateTimes are in order whatever their precision and offsets."""
    assert tree(log_at(*times), strict=True)[1] == []


def test_only_contains_children_need_a_time_and_order() -> None:
    """The Type 1 DateTime and the order are rules for targets of CONTAINS from the root (A.35.7.3.1.2)."""
    found, findings = tree(build.log(build.note(1), observers=[*build.context()]), strict=True)
    assert findings == []
    assert [bool(each.digest) for each in found.children] == [False, False, False, True]


@pytest.mark.parametrize("value_type", [*VALUE_TYPES, "SCOORD"])
@pytest.mark.parametrize("relationship", sorted(RELATIONSHIPS))
@pytest.mark.parametrize("source", ["CONTAINER", "TEXT", "CODE", "NUM", "PNAME", "IMAGE"])
def test_relationships_of_table_a_35_7_2(source: str, relationship: str, value_type: str) -> None:
    """Each combination is allowed by the table, or noted where a template contradicts it, or refused."""
    values: dict[str, Any] = {
        "TEXT": {"TextValue": "x"}, "DATETIME": {"DateTime": build.when(1)}, "DATE": {"Date": "20261122"},
        "TIME": {"Time": "1430"}, "UIDREF": {"UID": "1.2"}, "PNAME": {"PersonName": "A^B"},
        "CODE": {"ConceptCodeSequence": Items([build.code(PROPERTY)])},
        "NUM": {"MeasuredValueSequence": Items([])}, "CONTAINER": {"ContinuityOfContent": "SEPARATE"},
        "SCOORD": {},
    }  # fmt: skip
    pointed = dataset(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.3")
    for name in ("IMAGE", "WAVEFORM", "COMPOSITE"):
        values[name] = {"ReferencedSOPSequence": Items([pointed])}
    target = item(relationship, value_type, PROPERTY, **values[value_type], ObservationDateTime=build.when(1))
    above = item("CONTAINS", source, PROPERTY, target, **values[source], ObservationDateTime=build.when(1))
    made = build.log(target if source == "CONTAINER" else above, observers=[])
    _, findings = tree(made)
    triple = (source, relationship, value_type)
    if triple in ALLOWED:
        assert findings == []
    elif triple in CONTRADICTED:
        assert [(f.code, f.refuse) for f in findings] == [("relationship-contradicted", False)]
    else:
        assert any(f.refuse and f.template == "A.35.7.3" for f in findings)


@pytest.mark.parametrize(
    "triple",
    [
        ("CODE", "HAS PROPERTIES", "IMAGE"),  # TID 3108 row 8
        ("TEXT", "HAS PROPERTIES", "IMAGE"),  # TID 3105 row 13
        ("PNAME", "INFERRED FROM", "IMAGE"),  # TID 3010 row 6
        ("IMAGE", "INFERRED FROM", "COMPOSITE"),  # TID 3010 row 8
        ("CODE", "HAS ACQ CONTEXT", "TEXT"),  # TID 3112 rows 2, 3
        ("CONTAINER", "HAS OBS CONTEXT", "DATE"),  # TID 1007 row 4
        ("NUM", "HAS OBS CONTEXT", "COMPOSITE"),  # TID 1000 row 2
        ("NUM", "INFERRED FROM", "NUM"),  # TID 300
    ],
)
def test_template_rows_that_contradict_the_table(triple: tuple[str, str, str]) -> None:
    """Rows of PS3.16 that the table does not allow are findings only."""
    assert triple in CONTRADICTED - ALLOWED


def test_values_are_what_was_sent() -> None:
    """Codes, numbers, references and texts keep what the device sent, whatever the transfer syntax."""
    rich = dataset(**GOOD, CodingSchemeVersion="2", ContextIdentifier="11")
    number = dataset(NumericValue="050.0", MeasurementUnitsCodeSequence=UNIT, FloatingPointValue=50.0)
    pointed = dataset(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="1.3", ReferencedFrameNumber="4")
    made = entry(
        item("HAS PROPERTIES", "CODE", PROPERTY, ConceptCodeSequence=Items([rich])),
        item("HAS PROPERTIES", "NUM", DOSE, MeasuredValueSequence=Items([number])),
        item("INFERRED FROM", "IMAGE", None, ReferencedSOPSequence=Items([pointed])),
        text(PROPERTY, " two\r\nlines ", ContentDate="20261122"),
        item("HAS PROPERTIES", "PNAME", PROPERTY, PersonName="Doe^Jane"),
        ObservationUID="1.2.9",
    )
    for syntax in build.SYNTAXES:
        root, findings = tree(made, strict=True, syntax=syntax)
        assert findings == []
        [log] = root.children
        assert (root.value_type, root.value, root.template) == ("CONTAINER", "SEPARATE", "3001")
        assert (log.observation_uid, log.observation_datetime) == ("1.2.9", build.when(1))
        code, amount, picture, lines, name = log.children
        assert code.value == Code("1", "L", "One", "2", (RawElement(0x0008010F, "CS", "11"),))
        assert isinstance(amount.value, Numeric)
        assert amount.value[:2] == ("050.0", Code("mg", "UCUM", "mg"))
        assert [e.tag for e in amount.value.other] == [0x0040A161]
        assert picture.value == ReferencedSop("1.2", "1.3", (RawElement(0x00081160, "IS", "4"),))
        assert (lines.value, lines.other) == (" two\r\nlines", (RawElement(0x00080023, "DA", "20261122"),))
        assert name.value == "Doe^Jane"


def test_a_number_may_be_missing() -> None:
    """Measured Value Sequence is Type 2: without an item there is no value, and a qualifier may say why."""
    qualifier = Items([build.code(("114006", "DCM", "Measurement failure"))])
    made = child(num(DOSE, "1", "mg"), MeasuredValueSequence=Items([]), NumericValueQualifierCodeSequence=qualifier)
    root, findings = tree(made, strict=True)
    assert findings == []
    assert root.children[0].children[0].value == Numeric(None, None, Code("114006", "DCM", "Measurement failure"))


def test_a_purpose_of_reference_may_be_absent() -> None:
    """IMAGE, WAVEFORM and COMPOSITE items may have no Concept Name; what has none stays without."""
    root, findings = tree(build.log(image(None, ObservationDateTime=build.when(1)), observers=[]), strict=True)
    assert findings == []
    assert root.children[0].concept is None


def test_text_that_does_not_decode() -> None:
    """Text outside identifiers: a finding and U+FFFD in a lenient profile, the bytes kept; strict refuses."""
    name = "Größe"
    made = build.log(text(LOG_NOTE, name, rel="CONTAINS", ObservationDateTime=build.when(1)), observers=[],
                     SpecificCharacterSet="ISO_IR 192")  # fmt: skip
    raw = build.encode(made).replace(name.encode(), b"Gr\xff\xf6\xdfe.")
    decoded = decode(raw, build.EXPLICIT, calling_ae="A", sop_class=PROCEDURAL_EVENT_LOGGING, bounds=Bounds())
    for strict in (False, True):
        findings: list[Finding] = []
        [found] = content_tree(decoded, findings, strict=strict).children
        assert [(f.code, f.path, f.refuse) for f in findings] == [("text-undecodable", "1", strict)]
        assert type(found.value) is str
        assert found.value == "Gr\ufffd\ufffd\ufffde."
        assert found.other == (RawElement(0x0040A160, "UT", b"Gr\xff\xf6\xdfe. "),)


def test_a_meaning_that_does_not_decode() -> None:
    """The code is taken, its meaning shown with U+FFFD and its bytes kept; one finding for the item."""
    made = entry(coded(PROPERTY, ("7", "L", "Gr?n")))
    raw = build.encode(made).replace(b"Gr?n", b"Gr\xfcn")
    decoded = decode(raw, build.EXPLICIT, calling_ae="A", sop_class=PROCEDURAL_EVENT_LOGGING, bounds=Bounds())
    findings: list[Finding] = []
    root = content_tree(decoded, findings, strict=False)
    value = root.children[0].children[0].value
    assert value == Code("7", "L", "Gr\ufffdn", "", (RawElement(0x00080104, "LO", b"Gr\xfcn"),))
    assert [(f.code, f.path) for f in findings] == [("text-undecodable", "1.1")]


def test_elements_without_a_place_are_kept() -> None:
    """Unknown elements of root and items, sequences with everything in them, are kept whole."""
    made = entry(ReferencedRequestSequence=Items([dataset(AccessionNumber="A1")]))
    made.Manufacturer = "ACME"
    root, _ = tree(made)
    assert root.other == (RawElement(0x00080070, "LO", "ACME"),)
    assert root.children[0].other == (RawElement(0x0040A370, "SQ", [[RawElement(0x00080050, "SH", "A1")]]),)


def test_shared_items_stay_the_same() -> None:
    """An item that came before is the same object again, and a fault elsewhere does not stick to it."""
    first, _ = tree(build.log(build.drug(1)))
    faulty, findings = tree(build.log(build.drug(2), item("CONTAINS", "TEXT", LOG_NOTE)))
    assert findings
    assert first.children[0] is faulty.children[0]
    assert first.children[3].children == faulty.children[3].children
    assert tree(build.log(build.drug(3)))[1] == []
