"""Substance Administration Parameter Sequence: content items of the Content Item Macro (PS3.3 Table 10-2, C.26.4).

It is a Type 3 sequence and never a reason to refuse: faults are noted and the item is kept whole.
"""

from collections.abc import Callable, Sequence
from typing import Final

from plscp.content import items as sr
from plscp.content.codes import Key, group, known
from plscp.content.elements import Elements, any_undecoded, items_of, text_of
from plscp.content.model import Code, ContentItem, Numeric, Reference, Value
from plscp.content.report import Report, tell
from plscp.content.syntax import is_da, is_ds, is_dt, is_pn, is_tm, is_ui, is_unformatted
from plscp.content.units import is_unit
from plscp.findings import Finding
from plscp.templates.clinical_entries import DrugAdministered
from plscp.templates.compiled import declared
from plscp.templates.rows import Term

PATH, TEMPLATE = "(0044,0019)", "C.26.4"
"""Of every finding about a parameter."""
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


def parameters(items: Sequence[Elements], findings: list[Finding]) -> list[ContentItem]:
    """The items of the sequence, NUM read as NUMERIC; what is wrong is noted, never refused.

    Args:
        items: of (0044,0019).
        findings: takes what is wrong, with paths ``(0044,0019)``.
    """
    return [_parameter(elements, findings) for elements in items]


def _parameter(elements: Elements, findings: list[Finding]) -> ContentItem:
    inner: list[str] = []
    value_type = text_of(elements, sr.VALUE_TYPE)
    quiet = Report()
    if value_type == "NUM":
        inner.append("Value Type NUM read as NUMERIC")
        value_type = NUMERIC
    concept = sr.code_of(elements, sr.CONCEPT_NAME, quiet)
    value, used = _value(value_type, elements, quiet)
    inner += [finding.reason for finding in quiet]
    if value is None and not inner:
        inner.append("parameter without a value")
    when = text_of(elements, sr.OBSERVATION_DATETIME)
    if when and not is_dt(when):
        inner.append("Observation DateTime is no valid DT")
    faulty = any_undecoded(elements.values())
    if faulty:
        inner.append("text does not decode by its character set")
    for reason in inner:
        tell(Finding("parameter", reason, PATH, TEMPLATE), findings)
    if concept is not None and known(concept).key not in group(3410):
        tell(Finding("outside-context-group", "parameter outside CID 3410", PATH, TEMPLATE), findings)
    if isinstance(value, Numeric) and value.units is not None and not is_unit(value.units[:2]):
        tell(Finding("invalid-unit", "unit is not a valid UCUM code", PATH, TEMPLATE), findings)
    # Where anything is wrong the elements are kept beside what could be read of them.
    kept = _HEAD | used if not (quiet or faulty or value is None) else frozenset[int]()
    other = sr.rest_of(elements, kept)
    return ContentItem("", value_type, concept, value, observation_datetime=when, other=other)


def _value(value_type: str, elements: Elements, report: Report) -> tuple[Value, frozenset[int]]:
    """The value, and the elements that hold it."""
    simple = _SIMPLE.get(value_type)
    if simple is not None:
        tag, valid = simple
        text = text_of(elements, tag)
        if not text or not valid(text):
            report.note("parameter", f"{value_type} parameter without a valid value")
        return text or None, frozenset({tag})
    if value_type == NUMERIC:
        return _number(elements, report)
    if value_type == "CODE":
        return sr.code_of(elements, sr.CONCEPT_CODE, report), frozenset({sr.CONCEPT_CODE})
    if value_type in {"COMPOSITE", "IMAGE"}:
        return _reference(elements), frozenset({sr.REFERENCED_SOP})
    report.note("parameter", "Value Type is missing or not of the Content Item Macro")
    return None, frozenset()


def _number(elements: Elements, report: Report) -> tuple[Numeric | None, frozenset[int]]:
    """NUMERIC has value and unit beside the concept; NUM, as some send it, in a Measured Value Sequence."""
    used = frozenset({sr.NUMERIC_VALUE, sr.UNITS})
    measured = items_of(elements.get(sr.MEASURED_VALUE))
    if len(measured) == 1:
        elements, used = measured[0], frozenset({sr.MEASURED_VALUE})
    text = text_of(elements, sr.NUMERIC_VALUE)
    if not is_ds(text):
        report.note("parameter", "Numeric Value is missing or no valid DS")
    units: Code | None = sr.code_of(elements, sr.UNITS, report)
    return (Numeric(text, units) if text else None), used


def _reference(elements: Elements) -> Reference | None:
    referenced = items_of(elements.get(sr.REFERENCED_SOP))
    if len(referenced) != 1:
        return None
    return Reference(
        text_of(referenced[0], sr.SOP_CLASS),
        text_of(referenced[0], sr.SOP_INSTANCE),
        sr.rest_of(referenced[0], frozenset({sr.SOP_CLASS, sr.SOP_INSTANCE})),
    )
