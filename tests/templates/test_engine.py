"""What the engine says about whole logs: choice of kind, observers, order, paths, both profiles (TID 3001, contract section 2)."""

import json
from hashlib import sha256
from typing import Any

import pytest

from plscp.content.model import Code, ContentItem, Numeric
from plscp.findings import Finding
from plscp.templates import engine, values
from plscp.templates.procedure_log import type_entries
from plscp.templates.request import TypedEntry
from plscp.templates.values import number, precision
from tests.templates.trees import (
    COMPREHENSIVE_SR,
    LINE,
    PRIVATE,
    XA_IMAGE,
    code,
    context_json,
    device,
    entry,
    entry_json,
    item_for,
    person,
    root,
)


def typed(log: ContentItem, *, strict: bool = False) -> tuple[list[TypedEntry], dict[str, Any], list[Finding]]:
    """Entries, context and the findings that were handed over."""
    findings: list[Finding] = []
    entries, context = type_entries(log, strict=strict, findings=findings)
    return entries, json.loads(b"{" + context_json(context) + b"}")["context"], findings


def only(item: ContentItem, *, strict: bool = False) -> tuple[dict[str, Any], list[tuple[str, str, bool]]]:
    """The JSON of a single entry and its findings as (code, path, refuse)."""
    (one,), _, _ = typed(root(item), strict=strict)
    return json.loads(entry_json(one.typed)), [(f.code, f.path, f.refuse) for f in one.findings]


KINDS = [
    # value type, concept, value, kind, template
    ("TEXT", "121123", "words", "note", "3001"),
    ("CODE", "121123", code("122025", "DCM"), "patient_event", "3001"),
    ("CODE", "121123", code("17636008", "SCT"), "specimen_obtained", "3112"),
    ("CODE", "121123", PRIVATE, "patient_event", "3001"),
    ("CODE", "121130", PRIVATE, "procedure_action", "3100"),
    ("NUM", "", Numeric("72"), "measurement", "3109"),
    ("NUM", "99999", Numeric("72"), "measurement", "3109"),
    ("COMPOSITE", "", XA_IMAGE, "object_referenced", "3103"),
    ("COMPOSITE", "99999", XA_IMAGE, "object_referenced", "3103"),
    ("TEXT", "99999", "words", "impression", "3110"),
    ("CODE", "99999", PRIVATE, "coded_measurement", "3109"),
    ("TEXT", "121071", "words", "impression", "3110"),
    ("CODE", "121071", PRIVATE, "coded_finding", "3110"),
    ("CODE", "121123", code("121165", "DCM"), "patient_assessment", "3114"),
    ("CODE", "121123", code("258181008", "SCT"), "ecg_st_assessment", "3115"),
    ("CODE", "121123", Code("R-41D8B", "SRT", "ECG Analysis"), "ecg_st_assessment", "3115"),
    ("CODE", "121123", Code("PA-00500", "SRT", "Observation of Vital Signs"), "patient_assessment", "3114"),
    ("PNAME", "99999", "Doe^Jane", "untyped", ""),
    ("IMAGE", "", XA_IMAGE, "untyped", ""),
    ("CODE", "122083", "no code", "untyped", ""),
]


@pytest.mark.parametrize(("value_type", "concept", "value", "kind", "template"), KINDS)
def test_choice_of_kind(value_type: str, concept: str, value: Any, kind: str, template: str) -> None:
    """An entry's kind goes by value type, concept, and for a shared concept by the group that holds the value."""
    item = ContentItem("CONTAINS", value_type, code(concept, "DCM") if concept else None, value)
    (one,), _, _ = typed(root(item))
    assert (one.kind, one.template) == (kind, template)


@pytest.mark.parametrize("strict", [False, True])
def test_a_concept_in_another_scheme_is_another_kind_and_it_is_said(strict: bool) -> None:
    """122083 of DCM is a drug that was given; of 99X it is not, nothing is refused, and the finding says why."""
    item, noted = entry("drug_administered"), []
    for value, scheme in (("122083", "99X"), ("4711", "99X"), ("122083", "DCM")):
        item.concept = code(value, scheme)
        found, findings = only(item, strict=strict)
        noted.append((found["kind"], [each for each in findings if each[0] == "other-scheme"]))
    assert noted == [
        ("coded_measurement", [("other-scheme", "3", False)]),
        ("coded_measurement", []),
        ("drug_administered", []),
    ]


def test_a_drug_reads_as_a_drug() -> None:
    """Names are those of the trade, the dose has number, text and unit."""
    item = entry("drug_administered")
    item.concept, item.value = code("122083", "DCM"), Code("387458008", "SCT", "Aspirin")
    item.children = [
        ContentItem("HAS PROPERTIES", "NUM", code("122092", "DCM"), Numeric("5.0", Code("mg", "UCUM", "mg"))),
        ContentItem("HAS PROPERTIES", "NUM", code("122092", "DCM"), Numeric("2.5", Code("mg", "UCUM", "mg"))),
    ]
    found, findings = only(item)
    assert found["drug"] == {"value": "387458008", "scheme": "SCT", "meaning": "Aspirin"}
    unit = {"value": "mg", "scheme": "UCUM", "meaning": "mg"}
    assert found["dose"] == {"value": 5.0, "text": "5.0", "unit": unit}
    assert found["parameters"][0]["text"] == "2.5"
    assert found["observation_datetime"] == {"text": "20240102030405", "precision": "second"}
    assert findings == [("outside-context-group", "3", False)]


@pytest.mark.parametrize(
    ("observers", "expected"),
    [
        (device(), [{"device"}]),
        (person(), [{"person"}]),
        (person()[1:], [{"person"}]),
        ([*device(), *person()], [{"device"}, {"person"}]),
        ([*person(), *person()[1:]], [{"person"}, {"person"}]),
        ([*device(), *device()], [{"device"}, {"device"}]),
    ],
    ids=["device", "person", "person without type", "both", "second without type", "two devices"],
)
def test_observers(observers: list[ContentItem], expected: list[set[str]]) -> None:
    """Each inclusion of TID 1002 is an observer; without an Observer Type it is a person."""
    _, context, findings = typed(root(observers=observers), strict=True)
    assert [set(o) - {"type"} for o in context["observers"]] == expected
    assert findings == []


@pytest.mark.parametrize(
    ("observers", "reasons"),
    [
        (device()[:1], ["missing 121012"]),
        (device()[1:], ["missing 121008", "121012 against its condition"]),
        ([person()[0], device()[1]], ["missing 121008", "121012 against its condition"]),
    ],
    ids=["device without UID", "device without type", "person with a UID"],
)
def test_observers_that_contradict_their_type(observers: list[ContentItem], reasons: list[str]) -> None:
    """A person has a name, a device a UID (TID 1002 rows 2, 3: IFF)."""
    _, _, findings = typed(root(observers=observers))
    assert sorted(f.reason for f in findings if f.refuse) == sorted(reasons)


@pytest.mark.parametrize("value", ["121006", "121007", "999"])
@pytest.mark.parametrize("observers", [device(), person()], ids=["device", "person"])
def test_an_observer_type_of_another_scheme_is_not_the_standards(observers: list[ContentItem], value: str) -> None:
    """A private code whose value happens to be that of Person or Device is neither, as any other that CID 270 does not have."""
    observers[0].value = code(value, "99TEST")
    _, _, findings = typed(root(observers=observers))
    reason = f"{observers[1].concept.value if observers[1].concept else ''} against its condition"
    assert [(f.code, f.reason) for f in findings] == [
        ("outside-context-group", "value outside CID 270"),
        ("unexpected-row", reason),
    ]


@pytest.mark.parametrize("strict", [False, True])
def test_missing_observer_context(strict: bool) -> None:
    """Lenient: the device is the observer, with a finding. Strict: refused (TID 3001 row 2)."""
    _, context, findings = typed(root(observers=[]), strict=strict)
    assert findings == [
        Finding("missing-observer-context", "missing Observer Context", "", "TID3001", "2", refuse=strict)
    ]
    assert context["observers"] == []


def test_context_has_all_its_members() -> None:
    """Consumers find observers, procedure, room, equipment and other in every record, with or without content."""
    _, bare, _ = typed(root())
    assert {"observers", "procedure", "room", "equipment", "other"} <= set(bare)
    assert (bare["procedure"], bare["room"], bare["equipment"], bare["other"]) == ({}, None, [], [])
    lines = [("3601", "1"), ("3001", "4"), ("3001", "5"), ("3001", "5")]
    _, full, findings = typed(root(*[item_for(LINE[line]) for line in lines]))
    assert full["procedure"]["description"]["text"] == "some text"
    assert full["room"]["text"] == "some text"
    assert len(full["equipment"]) == 2
    assert findings == []


def test_context_from_memory_is_the_same() -> None:
    """A device that repeats its context gets the same context and findings each time."""
    log = root(observers=device()[:1])
    assert typed(log) == typed(log)
    assert typed(log, strict=True)[2] == typed(root(observers=device()[:1]), strict=True)[2]


def test_title_outside_its_group_is_noted() -> None:
    """TID 3001 row 1: CID 3400 may be extended."""
    log = root()
    log.concept = PRIVATE
    _, context, findings = typed(log, strict=True)
    assert [(f.code, f.refuse) for f in findings] == [("outside-context-group", False)]
    assert context["title"]["value"] == "X1"


@pytest.mark.parametrize("strict", [False, True])
def test_rows_out_of_order(strict: bool) -> None:
    """The order of rows is significant: noted, refused under a strict profile; the order sent is kept."""
    item = entry("intervention")
    item.children.reverse()
    found, findings = only(item, strict=strict)
    assert findings == [("row-order", "3.2", strict)]
    assert found["order"] == [2, 1]


@pytest.mark.parametrize(
    ("relationship", "member"), [("HAS OBS CONTEXT", "datetime_qualifier"), ("HAS CONCEPT MOD", "datetime_modifier")]
)
def test_datetime_qualifier_in_both_spellings(relationship: str, member: str) -> None:
    """TID 3010 row 9 says HAS OBS CONTEXT, PS3.16 Annex D a concept modifier."""
    item = entry("note")
    item.children = [item_for(LINE["3010", "9"])]
    item.children[0].relationship = relationship
    found, findings = only(item, strict=True)
    assert found["qualifiers"].keys() == {member}
    assert findings == []


def test_an_entry_refers_to_images_waveforms_and_objects() -> None:
    """TID 3010 rows 6 to 8: of any purpose, or none."""
    item = entry("note")
    item.children = [item_for(LINE["3010", row]) for row in "667788"]
    for child in item.children[::2]:
        child.concept = None
    found, findings = only(item, strict=True)
    assert {name: len(given) for name, given in found["qualifiers"].items()} == {
        "images": 2,
        "waveforms": 2,
        "objects": 2,
    }
    assert findings == []


def test_order_within_qualifiers_is_free() -> None:
    """TID 3010's order is not known to be significant."""
    item = entry("note")
    item.children = [item_for(LINE["3010", "4"]), item_for(LINE["3010", "2"])]
    _, findings = only(item, strict=True)
    assert findings == []


def test_extra_items() -> None:
    """Extensible: whole under `other`, not a word. Non-extensible: noted, refused under a strict profile."""
    stranger = ContentItem("HAS PROPERTIES", "TEXT", PRIVATE, "x")
    item = entry("consumable")
    item.children.append(stranger)
    found, findings = only(item, strict=True)
    assert (found["other"][0]["text"], findings) == ("x", [])
    observers = device()
    observers[1].children.append(stranger)
    for strict in (False, True):
        _, _, noted = typed(root(observers=observers), strict=strict)
        assert [(f.code, f.path, f.template, f.refuse) for f in noted] == [("extra-item", "2.1", "TID1004", strict)]


def test_observers_of_an_entry_refuse_nothing() -> None:
    """That TID 3010 includes Observer Context is a reconstruction: what is wrong with it is only noted."""
    item = entry("note")
    item.children = device()[:1]
    found, findings = only(item, strict=True)
    assert findings == [("missing-row", "3.2", False)]
    assert found["qualifiers"]["observers"][0]["type"]["value"] == "121007"


@pytest.mark.parametrize(
    ("reference", "titled", "expected"),
    [
        (COMPREHENSIVE_SR, True, []),
        (COMPREHENSIVE_SR, False, ["missing-row"]),
        (XA_IMAGE, False, []),
        (XA_IMAGE, True, ["unexpected-row"]),
        (COMPREHENSIVE_SR._replace(sop_class_uid="1.3.6.1.4.1.9999.1"), True, []),
        (COMPREHENSIVE_SR._replace(sop_class_uid="1.3.6.1.4.1.9999.1"), False, []),
    ],
)
def test_document_title_iff_a_report(reference: Any, titled: bool, expected: list[str]) -> None:
    """TID 3103 row 2: for SR objects and no others; a private SOP Class cannot be told."""
    item = entry("object_referenced")
    item.value = reference
    item.children = [item_for(LINE["3103", "2"])] if titled else []
    _, findings = only(item)
    assert [code for code, _, refuse in findings if refuse] == expected


def test_error_comment_names_reason_row_and_place() -> None:
    """The finding of a missing attempt identifier is the one that contract section 2 shows."""
    item = entry("intervention")
    del item.children[1]
    _, _, findings = typed(root(item))
    assert findings[0].comment(4) == "TID3108 r4 missing 121154 at 3.2 (+4)"


def test_refusing_findings_are_handed_over_with_their_entry() -> None:
    """What refuses stands with its entry and in the request's list; what does not, with its entry only."""
    bad, noted = entry("intervention"), entry("patient_event")
    del bad.children[1]
    noted.value = PRIVATE
    entries, _, findings = typed(root(noted, bad))
    assert [f.code for e in entries for f in e.findings] == ["outside-context-group", "missing-row"]
    assert [(f.code, f.path) for f in findings] == [("missing-row", "4.2")]
    assert [e.index for e in entries] == [0, 1]


def test_identity_of_entries() -> None:
    """Content is the digest's hash; near_duplicate_key goes by DateTime, concept and value, not by meaning or children."""
    one, other = entry("drug_administered"), entry("drug_administered")
    one.digest = b"canonical"
    assert isinstance(other.concept, Code)
    other.concept = other.concept._replace(meaning="other words")
    other.children.append(item_for(LINE["3106", "2"]))
    later = entry("drug_administered")
    later.observation_datetime = "20240102030406"
    entries, _, _ = typed(root(one, other, later))
    assert entries[0].content == sha256(b"canonical").digest()
    assert entries[0].near_duplicate_key == entries[1].near_duplicate_key != entries[2].near_duplicate_key


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5.0", "5.0"), ("-1e3", "-1000.0"), ("+.5", "0.5"), ("007", "7.0"), ("5.", "5.0"), ("1e400", "null"),
        ("nan", "null"), ("1_0", "null"), ("", "null"), (None, "null"), ("9" * 10_000, "null"), ("٣", "null"),
    ],
)  # fmt: skip
def test_numbers(text: str | None, expected: str) -> None:
    """A decimal string becomes a JSON number, or null where it is none or past a double."""
    assert json.dumps(number(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024", "year"), ("202401", "month"), ("20240102", "day"), ("2024010203", "hour"), ("202401020304", "minute"),
        ("20240102030405", "second"), ("20240102030405.1", "fraction"), ("20240102030405.123456-0500", "fraction"),
        ("202401020304+0100", "minute"), ("20240", ""), ("202401020304.5", ""), ("", ""), ("yesterday", ""),
    ],
)  # fmt: skip
def test_precision_of_a_datetime(text: str, expected: str) -> None:
    """How far a DateTime goes (PS3.5 6.2)."""
    assert precision(text) == expected


def test_text_that_is_no_text() -> None:
    """A lone surrogate, which no character set gives, is kept as it is."""
    item = entry("note")
    item.value = 'a\ud800"\n\u2028'
    (one,), _, _ = typed(root(item))
    assert one.typed.text == item.value


def test_long_relationships_and_value_types_take_no_memory() -> None:
    """What a device made up instead of them, as long as a value may be, is judged and not remembered."""
    held = []
    for turn in range(3):
        made_up = f"{turn}" + "X" * 60_000
        below = ContentItem(made_up, made_up, Code("121145", "DCM", "Description of Material"), "lot 7")
        drug = entry("drug_administered")
        drug.children.append(below)
        first = ContentItem("CONTAINS", made_up, Code("122083", "DCM", "Drug administered"), "a", [], "20261122143001")
        entries, _ = type_entries(root(drug, first), strict=False, findings=[])
        assert [one.kind for one in entries] == ["drug_administered", "untyped"]
        held.append(len(values._codes) + sum(len(key) for key in engine._layouts))
    assert len(set(held)) == 1


def test_the_value_of_an_item_before_says_which_row_another_fills() -> None:
    """Subject UID stands in TID 1007 and 1008: the quoted subject's class tells which, also for items like those of an entry before."""
    found = []
    for subject in ("121025", "121026", "121025"):
        mode, uid = (
            item_for(LINE["1000", "1"]),
            ContentItem("HAS OBS CONTEXT", "UIDREF", code("121028", "DCM"), "1.2.3"),
        )
        of = ContentItem("HAS OBS CONTEXT", "CODE", code("121024", "DCM"), code(subject, "DCM"))
        item = entry("note")
        item.children = [mode, of, uid]
        found += only(item)[0]["qualifiers"]["quotation"]["context"]["subject"].keys() - {"subject_class"}
    assert found == ["patient", "fetus", "patient"]
