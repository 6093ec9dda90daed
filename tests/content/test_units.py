"""Units: the grammar and the symbols of UCUM, and what is said of a unit that is none."""

import json
import subprocess
import sys
from collections.abc import Sequence

import pytest

from plscp.content.codes import group
from plscp.content.model import Code, Numeric
from plscp.content.units import is_ucum
from plscp.findings import Finding
from plscp.templates.procedure_log import type_entries
from tests.templates.trees import LINE as ROWS
from tests.templates.trees import entry, entry_json, item_for, root

VALID = [
    "mg",
    "ml",
    "mL",
    "L",
    "dL",
    "ug",
    "ng",
    "g",
    "kg",
    "1",
    "%",
    "s",
    "min",
    "h",
    "d",
    "wk",
    "mo",
    "a",
    "ms",
    "Hz",
    "kPa",
    "mm[Hg]",
    "cm[H2O]",
    "deg",
    "Cel",
    "[degF]",
    "/min",
    "{beats}/min",
    "ug/kg/min",
    "mL/kg/h",
    "[iU]",
    "[IU]/L",
    "m[iU]/mL",
    "mmol/L",
    "meq/L",
    "10*9/L",
    "10*6",
    "10^3",
    "mm2",
    "cm-2",
    "g.m/s2",
    "mg/(24.h)",
    "g/(8.h){shift}",
    "{ratio}",
    "[Ch]",
    "U",
    "kg/m2",
    "mL{blood}",
    "24.h",
    "(m)",
    "dyn.s/cm5",
    "dyn.s.cm-5",
    "[ft_i]",
    "[m/s2/Hz^(1/2)]",
    "dag",
    "B[10.nV]",
    "cGy.cm2",
    "dGy.cm2",
    "[arb'U]",
    "{a_b.c(d)}/s",
]
WRONG = [
    "", "mcg", "cc", "mmhg", "mmHg", "IU", "units", "mEq", "sec", "bpm", "m/", "m(s)", "2(s)", "m..s", "m--2", "m0",
    "10*-03", "{a}{b}", "{", "m}", "kg m", "µg", "m\n", "da", "/", "((m)", "m.(s/kg)2", "dada", "\x01", "\x02",
]  # fmt: skip
BY_PS3_16 = ["ml/[100]g/min", "10-6.mm2/s", "{Particles}/[100]g{Tissue}", "mmol/kg{WetWeight}", "diop", "ppm"]


@pytest.mark.parametrize("unit", VALID)
def test_valid(unit: str) -> None:
    """Symbols with prefixes, exponents, annotations, products and quotients."""
    assert is_ucum(unit)


@pytest.mark.parametrize("unit", WRONG, ids=repr)
def test_wrong(unit: str) -> None:
    """What is written otherwise is no UCUM: the case counts, and a symbol stands beside an operator."""
    assert not is_ucum(unit)


@pytest.mark.parametrize("unit", BY_PS3_16)
def test_units_of_ps3_16_pass(unit: str) -> None:
    """PS3.16 has codes of its own under UCUM."""
    assert is_ucum(unit)


@pytest.mark.parametrize("cid", [3500, 7181, 7456])
def test_units_of_context_groups_pass(cid: int) -> None:
    """Every unit that a context group names is one."""
    assert [value for value, scheme in group(cid) if scheme == "UCUM" and not is_ucum(value)] == []


def test_a_flood_is_judged() -> None:
    """No unit keeps the process for long, whatever it looks like: a pattern that tries every way to read one would never end."""
    units = ["(" * 128 + ")" * 128, "m." * 128, "dada" * 64, "m" * 100_000, "(" * 127 + "m" + ")" * 127]
    code = "import sys; from plscp.content.units import is_ucum; print(*map(is_ucum, sys.stdin.read().split()))"
    told = subprocess.run(
        [sys.executable, "-c", code], input=" ".join(units), capture_output=True, text=True, timeout=120, check=True
    ).stdout
    assert told.split() == ["False", "False", "False", "False", "True"]


def noted(kind: str, unit: Code) -> tuple[Sequence[Finding], object]:
    """Findings of an entry whose number has this unit, under a strict profile; and its JSON."""
    item = entry(kind)
    number = Numeric("5", unit)
    if kind == "measurement":
        item.value = number
    else:
        item.children = [item_for(ROWS["3106", "4"], 2)]
        item.children[0].value = number
    refused: list[Finding] = []
    (typed,), _ = type_entries(root(item), strict=True, findings=refused)
    assert refused == []
    return typed.findings, json.loads(entry_json(typed.typed))


@pytest.mark.parametrize(("kind", "path", "row"), [("drug_administered", "3.1", "4"), ("measurement", "3", "1")])
def test_an_invalid_unit_is_noted(kind: str, path: str, row: str) -> None:
    """The finding names the row and never refuses; the unit is published as sent."""
    findings, published = noted(kind, Code("mcg", "UCUM", "microgram"))
    assert [(f.code, f.path, f.row, f.refuse) for f in findings] == [("invalid-unit", path, row, False)]
    assert '"mcg"' in json.dumps(published)


@pytest.mark.parametrize("unit", [Code("mcg", "99TEST", "microgram"), Code("ug", "UCUM", "microgram")])
def test_other_schemes_are_not_judged(unit: Code) -> None:
    """Of a unit under another scheme nothing is known, and a valid one is in order."""
    assert noted("drug_administered", unit)[0] == []
