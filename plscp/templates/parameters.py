"""Substance Administration Parameter Sequence: content items of the Content Item Macro (PS3.3 Table 10-2, C.26.4).

It is a Type 3 sequence and never a reason to refuse: faults are noted and the item is kept whole.
"""

from collections.abc import Callable, Sequence
from typing import Final

from plscp.content import items as sr
from plscp.content.coded import one_code
from plscp.content.codes import Key, group, known
from plscp.content.elements import Element, Item, raw
from plscp.content.model import Code, ContentItem, Numeric, Reference, Value
from plscp.content.report import Report
from plscp.content.syntax import is_da, is_ds, is_dt, is_pn, is_tm, is_ui, is_unformatted
from plscp.content.units import is_unit
from plscp.templates.clinical_entries import DrugAdministered
from plscp.templates.plans import declared
from plscp.templates.rows import Term

NUMERIC: Final = "NUMERIC"
"""Value Type of a number in this macro; in SR content items it is NUM."""

PARAMETERS: Final[dict[Key, str]] = {
    (row.concept.value, row.concept.scheme): name
    for name, row, _ in declared(DrugAdministered)
    if row.number == "4" and isinstance(row.concept, Term)
}
"""Names of the members of CID 3410, as TID 3106 row 4 declares them."""

_SIMPLE: Final[dict[str, tuple[int, Callable[[str], bool]]]] = {
    "TEXT": (0x0040A160, is_unformatted),
    "DATETIME": (0x0040A120, is_dt),
    "DATE": (0x0040A121, is_da),
    "TIME": (0x0040A122, is_tm),
    "PNAME": (0x0040A123, is_pn),
    "UIDREF": (0x0040A124, is_ui),
}
_HEAD: Final = frozenset({sr.VALUE_TYPE, sr.CONCEPT_NAME, sr.OBSERVATION_DATETIME})


def parameters(nodes: Sequence[Item], report: Report) -> list[ContentItem]:
    """The items of the sequence, NUM read as NUMERIC; what is wrong is noted, never refused.

    Args:
        nodes: items of (0044,0019).
        report: takes the findings, with paths ``(0044,0019)``.
    """
    return [_parameter(node, report) for node in nodes]


def _parameter(node: Item, report: Report) -> ContentItem:
    elements = node.elements
    inner: list[str] = []
    value_type = sr.text_of(elements, sr.VALUE_TYPE)
    quiet = Report([], strict=False)
    if value_type == "NUM":
        inner.append("Value Type NUM read as NUMERIC")
        value_type = NUMERIC
    concept = one_code(elements.get(sr.CONCEPT_NAME), sr.CONCEPT_NAME, "", quiet)
    value, used = _value(value_type, elements, quiet)
    inner += [finding.reason for finding in quiet.findings]
    if value is None and not inner:
        inner.append("parameter without a value")
    when = sr.text_of(elements, sr.OBSERVATION_DATETIME)
    if when and not is_dt(when):
        inner.append("Observation DateTime is no valid DT")
    if node.faulty:
        inner.append("text does not decode by its character set")
    for reason in inner:
        report.note("parameter", reason, "(0044,0019)")
    if concept is not None and known(concept).key not in group(3410):
        report.note("outside-context-group", "parameter outside CID 3410", "(0044,0019)")
    if isinstance(value, Numeric) and value.units is not None and not is_unit(value.units[:2]):
        report.note("invalid-unit", "unit is not a valid UCUM code", "(0044,0019)")
    # Where anything is wrong the elements are kept beside what could be read of them.
    kept = _HEAD | used if not (quiet.findings or node.faulty or value is None) else frozenset[int]()
    other = tuple(raw(tag, element) for tag, element in sorted(elements.items()) if tag not in kept)
    return ContentItem("", value_type, concept, value, observation_datetime=when, other=other)


def _value(value_type: str, elements: dict[int, Element], report: Report) -> tuple[Value, frozenset[int]]:
    """The value, and the elements that hold it."""
    simple = _SIMPLE.get(value_type)
    if simple is not None:
        tag, valid = simple
        text = sr.text_of(elements, tag)
        if not text or not valid(text):
            report.note("parameter", f"{value_type} parameter without a valid value", "")
        return text or None, frozenset({tag})
    if value_type == NUMERIC:
        return _number(elements, report)
    if value_type == "CODE":
        return one_code(elements.get(sr.CONCEPT_CODE), sr.CONCEPT_CODE, "", report), frozenset({sr.CONCEPT_CODE})
    if value_type in {"COMPOSITE", "IMAGE"}:
        return _reference(elements), frozenset({sr.REFERENCED_SOP})
    report.note("parameter", "Value Type is missing or not of the Content Item Macro", "")
    return None, frozenset()


def _number(elements: dict[int, Element], report: Report) -> tuple[Numeric | None, frozenset[int]]:
    """NUMERIC has value and unit beside the concept; NUM, as some send it, in a Measured Value Sequence."""
    used = frozenset({sr.NUMERIC_VALUE, sr.UNITS})
    measured = elements.get(sr.MEASURED_VALUE)
    if measured is not None and type(measured[1]) is list and len(measured[1]) == 1:
        elements, used = measured[1][0].elements, frozenset({sr.MEASURED_VALUE})
    text = sr.text_of(elements, sr.NUMERIC_VALUE)
    if not is_ds(text):
        report.note("parameter", "Numeric Value is missing or no valid DS", "")
    units: Code | None = one_code(elements.get(sr.UNITS), sr.UNITS, "", report)
    return (Numeric(text, units) if text else None), used


def _reference(elements: dict[int, Element]) -> Reference | None:
    element = elements.get(sr.REFERENCED_SOP)
    if element is None or type(element[1]) is not list or len(element[1]) != 1:
        return None
    referenced = element[1][0].elements
    return Reference(
        sr.text_of(referenced, sr.SOP_CLASS),
        sr.text_of(referenced, sr.SOP_INSTANCE),
        sr.rest_of(referenced, frozenset({sr.SOP_CLASS, sr.SOP_INSTANCE})),
    )
