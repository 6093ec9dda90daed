"""Codes: equality, retired spellings, what is published (PS3.16 6.1.8, 8.1, Annex O)."""

import json
from typing import Any

import pytest

from plscp.content.codes import group, known, meaning_of
from plscp.content.model import Code
from plscp.findings import Finding
from plscp.templates import values
from plscp.templates.procedure_log import type_entries
from plscp.templates.values import code_value
from tests.templates.trees import entry, entry_json, root

RETIRED = [
    # the SRT code values that older texts of these templates have, and the concept that PS3.16 has now
    ("DD-60002", "116224001"), ("G-C0E3", "363698007"), ("G-A1F8", "106233006"), ("R-101BB", "408715008"),
    ("G-72BB", "129085009"), ("G-7293", "128955008"), ("F-01740", "129737002"), ("G-C340", "410675002"),
    ("G-C0E9", "363704007"), ("G-C0E8", "363703001"), ("G-C50A", "116682006"), ("R-00254", "371439000"),
    ("G-C09C", "260870009"),
]  # fmt: skip


def published(code: Code) -> dict[str, Any]:
    """A code as it is published."""
    return code_value(code).model_dump(exclude_unset=True)


@pytest.mark.parametrize("scheme", ["SRT", "SNM3", "99SDM"])
@pytest.mark.parametrize(("old", "new"), RETIRED)
def test_retired_snomed_codes_are_read_as_their_concept(old: str, new: str, scheme: str) -> None:
    """The three retired spellings of SNOMED map to SCT concept identifiers."""
    assert known(Code(old, scheme, "as sent")) == ((new, "SCT"), meaning_of((new, "SCT")), True)


def test_a_retired_code_without_a_mapping_stays_what_it_is() -> None:
    """What Annex O does not map is compared as sent."""
    assert known(Code("X-12345", "SRT")).key == ("X-12345", "SRT")


def test_codes_compare_by_value_and_scheme() -> None:
    """The meaning decides nothing; the scheme does."""
    assert known(Code("122083", "DCM", "anything")).key in group(3409)
    assert known(Code("122083", "99TEST", "Drug administered")).key not in group(3409)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (Code("122083", "DCM", "Drug administered"), None),
        (Code("122083", "DCM", "DRUG GIVEN"), {"value": "122083", "scheme": "DCM", "meaning": "Drug administered"}),
        (
            Code("G-C340", "SRT", "Route"),
            {"value": "410675002", "scheme": "SCT", "meaning": meaning_of(("410675002", "SCT"))},
        ),
        (Code("X1", "99TEST", "ours"), None),
    ],
    ids=["as PS3.16 has it", "another meaning", "retired", "private"],
)
def test_published_as_sent_and_as_known(code: Code, expected: dict[str, str] | None) -> None:
    """A code keeps its meaning as sent; `known` is there where that differs from PS3.16."""
    found = published(code)
    assert (found["value"], found["scheme"], found["meaning"]) == code[:3]
    assert found.get("known") == expected


def test_a_retired_concept_name_finds_its_row() -> None:
    """A row is found under the retired spelling of its concept, with a finding that says how it was read."""
    item = entry("intervention")
    item.children[0].concept = Code("G-C0E9", "SRT", "Procedure site")
    findings: list[Finding] = []
    (typed,), _ = type_entries(root(item), strict=True, findings=findings)
    assert findings == []
    assert [(f.code, f.path, f.template, f.row, f.refuse) for f in typed.findings] == [
        ("retired-code", "3.1", "TID3108", "2", False)
    ]
    site = json.loads(entry_json(typed.typed))["site"]
    assert site["concept"]["value"] == "G-C0E9"
    assert site["concept"]["known"]["value"] == "363704007"


def test_a_retired_value_is_in_its_context_group() -> None:
    """A value under its retired spelling is judged as the concept it maps to."""
    item = entry("complication")
    item.concept = Code("DD-60002", "SRT", "Complication of procedure")
    (typed,), _ = type_entries(root(item), strict=True, findings=[])
    assert typed.kind == "complication"
    assert {f.code for f in typed.findings} == {"retired-code"}


def test_memory_of_codes_is_bounded() -> None:
    """A flood of made-up codes does not grow the memory past its bound."""
    for turn in range(values.REMEMBERED_CODES + 10):
        code_value(Code(f"F{turn}", "99TEST", "flood"))
    assert len(values._codes) <= values.REMEMBERED_CODES
