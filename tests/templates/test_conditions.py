"""Conditions that a request can tell, and which of two templates an item belongs to (PS3.16 6.1.7, 6.2.2)."""

import json
from typing import Any

import pytest

from plscp.content.model import Code, ContentItem
from plscp.templates.entries import PLANS
from plscp.templates.procedure_log import type_entries
from plscp.templates.restoring import entry_item, parse_entry
from plscp.templates.tracing import trace
from tests.templates.trees import LINE, PRIVATE, code, device, entry, item_for, person, root

LAD, AORTA, ARTERY = code("59438005", "SCT"), code("15825003", "SCT"), code("51114001", "SCT")
PATIENT, FETUS, SPECIMEN, DEVICE = (code(value, "DCM") for value in ("121025", "121026", "121027", "121192"))
MODE = item_for(LINE["1000", "1"])


def only(item: ContentItem) -> tuple[dict[str, Any], list[tuple[str, str, str, bool]]]:
    """The JSON of a log's one entry under a strict profile, which comes back as it was; code, path, row and refusal."""
    (typed,), _ = type_entries(root(item), strict=True, findings=[])
    assert entry_item(parse_entry(typed.json)) == item
    findings = [(f.code, f.path, f"{f.template} {f.row}", f.refuse) for f in typed.findings]
    return json.loads(typed.json), findings


def measurement(*children: ContentItem) -> ContentItem:
    made = entry("measurement")
    made.children = list(children)
    return made


def subject(kind: Code | None, *children: ContentItem) -> ContentItem:
    """A quoted measurement of a subject; without a class where None."""
    stated = item_for(LINE["1006", "1"])
    stated.value = kind
    return measurement(MODE, *([stated] if kind else []), *children)


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
def test_one_authority_or_the_other(tid: str, path: str) -> None:
    """TID 311 and 312 rows 3 XOR 4: a text or a code; both are noted at both places."""
    item = measurement(*(item_for(LINE[tid, number]) for number in "134"))
    found, findings = only(item)
    assert findings == [
        ("unexpected-row", "3.2", f"TID{tid} 3", False),
        ("unexpected-row", "3.3", f"TID{tid} 4", False),
    ]
    assert found["details"]["properties"][path].keys() >= {"authority", "authority_code"}


def test_an_equation_is_a_code_or_a_text() -> None:
    """TID 300 rows 11 XOR 12."""
    item = measurement(item_for(LINE["315", "1"]), item_for(LINE["300", "12"]))
    _, findings = only(item)
    assert (
        findings == [("unexpected-row", f"3.{n}", row, False) for n, row in ((2, "TID300 12"), (1, "TID315 1"))][::-1]
    )


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("observers", [device(), person(), device() + person()], ids=["device", "person", "both"])
def test_whose_observers(observers: list[ContentItem], quoted: bool) -> None:
    """After a Quotation Mode an observer is the quoted source's, else the entry's own."""
    item = measurement(*([MODE] if quoted else []), *observers)
    found, findings = only(item)
    assert findings == []
    holder = found["quotation"]["context"] if quoted else found["qualifiers"]
    assert len(holder["observers"]) == len(observers) // 2
    assert ("qualifiers" in found) != quoted


@pytest.mark.parametrize(
    ("kind", "member", "findings"),
    [
        (None, "patient", []),
        (PATIENT, "patient", []),
        (FETUS, "fetus", []),
        (SPECIMEN, "specimen", []),
        (DEVICE, "patient", ["unexpected-row", "missing-row"]),
    ],
    ids=["no class", "patient", "fetus", "specimen", "device"],
)
def test_whose_identifier(kind: Code | None, member: str, findings: list[str]) -> None:
    """Subject ID is the patient's, the fetus's, or that of the patient a specimen is of: Subject Class says which, and so does a trace."""
    item = subject(kind, item_for(LINE["1007", "3"]))
    found, noted = only(item)
    assert str(trace(root(item))[f"3.{len(item.children)}"]) == ("TID1008 r3" if kind == FETUS else "TID1007 r3")
    assert [code for code, *_ in noted] == findings
    assert not any(refuse for *_, refuse in noted)
    held = found["quotation"]["context"]["subject"][member]
    assert (held["patient"] if member == "specimen" else held)["id"]["text"] == "some text"


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
              "specimen_obtained"}  # fmt: skip
    assert {kind.kind for kind in PLANS.values() if not kind.plan.idle} == wanted
