"""Conditions that a request can tell, and which of two templates an item belongs to (PS3.16 6.1.7, 6.2.2)."""

import json
from typing import Any

import pytest

from plscp.cli.explaining import trace
from plscp.content.model import Code, ContentItem, Numeric
from plscp.templates.entries import ENTRY_KINDS, entry_item
from plscp.templates.procedure_log import type_entries
from tests.templates.tables import LINES, Line
from tests.templates.trees import LINE, PRIVATE, code, device, entry, entry_json, item_for, parse_entry, person, root

LAD, AORTA, ARTERY = code("59438005", "SCT"), code("15825003", "SCT"), code("51114001", "SCT")
PATIENT, FETUS, SPECIMEN, DEVICE = (code(value, "DCM") for value in ("121025", "121026", "121027", "121192"))
PRIVATE_FETUS = Code("121026", "99TEST", "something of ours")
MODE = item_for(LINE["1000", "1"])


def only(item: ContentItem) -> tuple[dict[str, Any], list[tuple[str, str, str, bool]]]:
    """The JSON of a log's one entry under a strict profile, which comes back as it was; code, path, row and refusal."""
    (typed,), _ = type_entries(root(item), strict=True, findings=[])
    assert entry_item(parse_entry(entry_json(typed.typed))) == item
    findings = [(f.code, f.path, f"{f.template} {f.row}", f.refuse) for f in typed.findings]
    return json.loads(entry_json(typed.typed)), findings


def measured(*children: ContentItem) -> ContentItem:
    """A patient assessment with a number of TID 300, and what is said about it."""
    made = entry("patient_assessment")
    made.children = [item_for(LINE["3114", "3"])]
    made.children[0].children = list(children)
    return made


def noted(*children: ContentItem) -> ContentItem:
    """A note with qualifiers."""
    made = entry("note")
    made.children = list(children)
    return made


def subject(kind: Code | None, *children: ContentItem) -> list[ContentItem]:
    """A quotation of a subject; without a class where None."""
    stated = item_for(LINE["1006", "1"])
    stated.value = kind
    return [MODE, *([stated] if kind else []), *children]


@pytest.mark.parametrize(
    ("site", "flow", "expected"),
    [
        (LAD, True, []),
        (LAD, False, []),
        (Code("T-43110", "SRT", "LAD"), True, ["retired-code"]),
        (AORTA, False, []),
        (AORTA, True, ["unexpected-row"]),
        (ARTERY, True, []),
        (PRIVATE, True, ["outside-context-group"]),
    ],
    ids=["coronary", "coronary, none", "retired spelling", "aorta, none", "aorta", "any artery", "private"],
)
def test_timi_flow_iff_a_coronary_artery(site: Code, flow: bool, expected: list[str]) -> None:
    """TID 3105 row 8: with another artery it is refused; a site that does not tell is none to judge by."""
    item = entry("lesion_identified")
    item.children[0].value = site
    item.children += [item_for(LINE["3105", "8"])] if flow else []
    _, findings = only(item)
    assert [code for code, *_ in findings] == expected
    assert [found for found in findings if found[3]] == [("unexpected-row", "3.2", "TID3105 8", True)] * (
        "unexpected-row" in expected
    )


@pytest.mark.parametrize("told", [True, False])
def test_type_of_blood_iff_a_blood_sample(told: bool) -> None:
    """TID 3112 row 2: a tissue named in TID 1009 row 5 is no blood; that rests on inference and is only noted."""
    item = entry("specimen_obtained")
    item.children = [item_for(LINE["3112", "2"])] + [item_for(LINE["1009", "5"])] * told
    _, findings = only(item)
    assert findings == [("unexpected-row", "3.1", "TID3112 2", False)] * told


@pytest.mark.parametrize(("tid", "path"), [("311", "statistics"), ("312", "normal_range")])
@pytest.mark.parametrize(("rows", "refused"), [("13", []), ("14", []), ("1", []), ("134", ["3", "4"])])
def test_one_authority_or_the_other(tid: str, path: str, rows: str, refused: list[str]) -> None:
    """TID 311 and 312 rows 3 XOR 4: a text or a code; both are refused at both places."""
    found, findings = only(measured(*(item_for(LINE[tid, number]) for number in rows)))
    assert findings == [("unexpected-row", f"3.1.{at}", f"TID{tid} {row}", True) for at, row in enumerate(refused, 2)]
    there = found["diastolic_pressure"]["properties"][path].keys()
    assert ("authority" in there, "authority_code" in there) == ("3" in rows, "4" in rows)


def test_an_equation_is_a_code_or_a_text() -> None:
    """TID 300 rows 11 XOR 12."""
    code_of, text_of = item_for(LINE["315", "1"]), item_for(LINE["300", "12"])
    assert only(measured(code_of))[1] == only(measured(text_of))[1] == []
    assert sorted(only(measured(code_of, text_of))[1]) == [
        ("unexpected-row", "3.1.1", "TID315 1", True),
        ("unexpected-row", "3.1.2", "TID300 12", True),
    ]


@pytest.mark.parametrize(
    ("item_id", "step", "expected"),
    [
        ("67", "67", []),
        ("", "", []),
        ("6", "6", [("missing-row", "3.3", "TID3100 7", False)]),
        ("7", "7", [("missing-row", "3.2", "TID3100 6", False)]),
    ],
)
def test_step_iff_one_conveys_the_status(item_id: str, step: str, expected: list[Any]) -> None:
    """TID 3100 rows 6 and 7: that a step conveys the status is told by the other of the two only, which is inference."""
    item = entry("procedure_action")
    item.children += [item_for(LINE["3100", number]) for number in step]
    assert only(item)[1] == expected


@pytest.mark.parametrize("value", ["121126", "121127"])
def test_a_private_item_with_the_value_of_a_steps_uid_conveys_no_status(value: str) -> None:
    """It is an item that the template does not have, and says nothing of the two rows."""
    item = entry("procedure_action")
    private = item_for(LINE["3100", "6"])
    private.concept = Code(value, "99TEST", "something of ours")
    item.children.append(private)
    assert [finding for finding in only(item)[1] if finding[0] == "missing-row"] == []


BEGIN, END = code("121161", "DCM"), code("121162", "DCM")


@pytest.mark.parametrize(
    ("concept", "rate", "expected"),
    [
        (BEGIN, True, []),
        (BEGIN, False, [("missing-row", "3.1", "TID3113 2", True)]),
        (END, False, []),
        (END, True, [("unexpected-row", "3.1", "TID3113 2", True)]),
    ],
    ids=["begins", "begins, none", "ends", "ends, with a rate"],
)
def test_oxygen_rate_iff_it_begins(concept: Code, rate: bool, expected: list[Any]) -> None:
    """TID 3113 row 2: the concept of row 1 tells."""
    item = entry("oxygen_administration")
    item.concept, item.children = concept, [item_for(LINE["3113", "2"])] if rate else []
    assert only(item)[1] == expected


PERFORMED, VITAL_SIGNS = code("121165", "DCM"), code("61746007", "SCT")
SIGNS = [line for line in LINES if "by300" in line.remarks]


@pytest.mark.parametrize("left_out", [None, *SIGNS], ids=str)
@pytest.mark.parametrize("value", [VITAL_SIGNS, Code("PA-00500", "SRT", "Vital signs"), PERFORMED], ids=str)
def test_vital_signs_if_they_are_observed(left_out: Line | None, value: Code) -> None:
    """TID 3114 rows 2 to 9: each shall be there with Observation of Vital Signs, and may be with another assessment."""
    item = entry("patient_assessment")
    item.value = value
    item.children = [item_for(line) for line in SIGNS if line is not left_out]
    found, findings = only(item)
    assert found["kind"] == "patient_assessment"
    demanded = value is not PERFORMED and left_out is not None
    missing = [finding for finding in findings if finding[0] != "retired-code"]
    assert [(code, row, refuse) for code, _, row, refuse in missing] == (
        [("missing-row", f"TID3114 {left_out.row}", "?" not in left_out.remarks)] if demanded and left_out else []
    )


def test_vital_signs_without_a_value() -> None:
    """A sign that could not be measured is a number without a value (PS3.3 C.18.1)."""
    item = entry("patient_assessment")
    item.value, item.children = VITAL_SIGNS, [item_for(line) for line in SIGNS]
    for sign in item.children:
        sign.value = Numeric(None)
    assert only(item)[1] == []


@pytest.mark.parametrize("rows", ["12", "1", "2"])
def test_tracking_by_identifier_or_uid(rows: str) -> None:
    """TID 4108 rows 1 and 2: one of them, or both."""
    found, findings = only(measured(*(item_for(LINE["4108", number]) for number in rows)))
    assert findings == []
    assert set(found["diastolic_pressure"]["tracking"]) == {{"1": "id", "2": "uid"}[number] for number in rows}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ("3", []),
        ("4", []),
        ("34", []),
        ("2", [("missing-row", "TID1008 3"), ("missing-row", "TID1008 4")]),
        ("45", []),
        ("46", []),
        ("456", [("unexpected-row", "TID1008 5"), ("unexpected-row", "TID1008 6")]),
    ],
)
@pytest.mark.parametrize("refused", [False, True])
def test_identifier_and_number_of_fetuses(rows: str, expected: list[Any], refused: bool) -> None:
    """TID 1008: row 3 or row 4 or both; row 5 XOR row 6. Noted of an entry's quotation, refused of a measurement's."""
    items = subject(FETUS, *(item_for(LINE["1008", number]) for number in rows))
    _, findings = only((measured if refused else noted)(*items))
    assert [(code, row, refuse) for code, _, row, refuse in findings] == [(*each, refused) for each in expected]


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("observers", [device(), person(), device() + person()], ids=["device", "person", "both"])
def test_whose_observers(observers: list[ContentItem], quoted: bool) -> None:
    """After a Quotation Mode an observer is the quoted source's, else the entry's own."""
    found, findings = only(noted(*([MODE] if quoted else []), *observers))
    assert findings == []
    qualifiers = found["qualifiers"]
    holder = qualifiers["quotation"]["context"] if quoted else qualifiers
    assert len(holder["observers"]) == len(observers) // 2
    assert ("quotation" in qualifiers) == quoted


CONTEXT = [
    *(pytest.param(made, id=name) for name, made in (("device", device()), ("person", person()))),
    *(
        pytest.param([item_for(LINE[place])], id="-".join(place))
        for place in (("1005", "7"), ("1007", "1"), ("1010", "2"))
    ),
]


@pytest.mark.parametrize("context", CONTEXT)
def test_an_observation_context_that_quotes_nothing(context: list[ContentItem]) -> None:
    """Without a Quotation Mode before it, it is no quotation: TID 300 has no row for it, so it is kept whole, without a word."""
    found, findings = only(measured(*context))
    assert findings == []
    assert len(found["diastolic_pressure"]["other"]) == len(context)
    quoting, findings = only(measured(MODE, *context))
    assert "quotation" in quoting["diastolic_pressure"]
    assert {code for code, *_ in findings} <= {"unexpected-row"}


@pytest.mark.parametrize(
    ("kind", "member", "findings"),
    [
        (None, "patient", []),
        (PATIENT, "patient", []),
        (FETUS, "fetus", []),
        (SPECIMEN, "specimen", []),
        (DEVICE, "patient", ["unexpected-row"]),
        (PRIVATE_FETUS, "patient", ["outside-context-group", "unexpected-row"]),
    ],
    ids=["no class", "patient", "fetus", "specimen", "device", "private"],
)
def test_whose_identifier(kind: Code | None, member: str, findings: list[str]) -> None:
    """Subject ID is the patient's, the fetus's, or that of the patient a specimen is of: Subject Class says which, and so does a trace."""
    identifier = item_for(LINE["1008", "3"])
    item = noted(*subject(kind, identifier))
    found, noticed = only(item)
    assert str(trace(root(item))[f"3.{len(item.children)}"]) == ("TID1008 r3" if kind == FETUS else "TID1007 r3")
    assert [code for code, *_ in noticed] == findings
    assert not any(refuse for *_, refuse in noticed)
    held = found["qualifiers"]["quotation"]["context"]["subject"][member]
    assert (held["patient"] if member == "specimen" else held)["id"]["text"] == "some text"


@pytest.mark.parametrize(
    ("kind", "row", "expected"),
    [
        (PATIENT, ("1007", "4"), []),
        (FETUS, ("1008", "4"), []),
        (SPECIMEN, ("1009", "3"), []),
        (DEVICE, ("1010", "1"), []),
        (None, ("1007", "4"), []),
        (None, ("1009", "3"), [("unexpected-row", "3.1.2", "TID1009 3", True)]),
        (PATIENT, ("1010", "1"), [("unexpected-row", "3.1.3", "TID1010 1", True)]),
        (DEVICE, ("1009", "3"), [("unexpected-row", "3.1.3", "TID1009 3", True)]),
    ],
)
def test_subject_iff_its_class_says_so(kind: Code | None, row: tuple[str, str], expected: list[Any]) -> None:
    """TID 1006 rows 2 to 5: the class tells which of the templates is included; without one it is the patient's."""
    _, findings = only(measured(*subject(kind, item_for(LINE[row]))))
    assert findings == expected


def test_the_identifier_of_a_patient_is_a_code_or_a_text() -> None:
    """TID 1007 row 3 is a CODE, TID 1008 row 3 a TEXT: both are accepted."""
    found, findings = only(noted(*subject(None, item_for(LINE["1007", "3"]))))
    assert findings == []
    assert found["qualifiers"]["quotation"]["context"]["subject"]["patient"]["id_code"]["value"] == "X1"


@pytest.mark.parametrize(
    ("row", "missing"), [(("1003", "2"), "TID1003 1"), (("1004", "2"), "TID1004 1")], ids=["person", "device"]
)
def test_an_observer_of_an_entry_without_its_name(row: tuple[str, str], missing: str) -> None:
    """What is accepted with a finding is published as something that the model reads."""
    item = entry("note")
    item.children = [*(device()[:1] if row[0] == "1004" else []), item_for(LINE[row])]
    _, findings = only(item)
    assert findings == [("missing-row", f"3.{len(item.children)}", missing, False)]


def test_without_children_nothing_is_gone_through_where_nothing_can_be_missing() -> None:
    """Kinds whose rows are all optional, or in inclusions that may be absent; no others."""
    wanted = {"procedure_action", "image_acquired", "waveform_acquired", "object_referenced", "lesion_identified", "intervention",
              "specimen_obtained", "oxygen_administration", "patient_assessment", "ecg_st_assessment"}  # fmt: skip
    assert {kind.kind for kind in ENTRY_KINDS.values() if not kind.row.below.idle} == wanted
