"""The Substance Administration Log: one administration of a drug, contrast agent or device (PS3.4 Table P.3-2, PS3.3 C.26.4)."""

from typing import Any, Final, Literal

from pydantic import ConfigDict, Field, ValidationError

from plscp.content import items as sr
from plscp.content.codes import Key, group, known
from plscp.content.elements import Elements, any_undecoded, items_of, tag_text, text_of, undecoded
from plscp.content.items import Report, tell
from plscp.content.model import Code, ContentItem, Numeric, RawElement, ReferencedSop, Value
from plscp.content.reader import Decoded
from plscp.content.syntax import is_ds, is_dt
from plscp.content.units import is_unit
from plscp.digests import sha256
from plscp.findings import Finding
from plscp.templates import attributes as table
from plscp.templates.attributes import AttributeChecker
from plscp.templates.clinical_entries import DrugAdministered
from plscp.templates.compiled import declared
from plscp.templates.engine import not_valid
from plscp.templates.request import SubstanceAdministration, TypedEntry
from plscp.templates.rows import Term
from plscp.templates.values import (
    Amount,
    CodeValue,
    Model,
    Moment,
    Raw,
    always_published,
    amount,
    code_value,
    moment,
    raw_elements,
    whole,
)
from plscp.templates.values import Item as AnyItem

OPERATORS, PERSON_CODE, ROUTE, PARAMETER_SEQUENCE = 0x00081072, 0x00401101, 0x00540302, 0x00440019
ISSUER_OF_ADMISSION_ID_SEQUENCE, LOCAL_NAMESPACE = 0x00380014, 0x00400031
_PLACED: Final = frozenset(
    {*(attribute.tag for attribute in table.SUBSTANCE), OPERATORS, ROUTE, PARAMETER_SEQUENCE, 0x00080201}
)
_PAIRS: Final = (
    (table.PATIENT_ID, table.ADMISSION_ID),
    (table.PACKAGE_IDENTIFIER, table.PRODUCT_NAME),
)
"""Either or both of each shall be supplied (Type 1C)."""
_TEXTS: Final = {
    "package_identifier": table.PACKAGE_IDENTIFIER,
    "product_description": table.PRODUCT_DESCRIPTION,
    "notes": table.ADMINISTRATION_NOTES,
    "device_id": table.ADMINISTRATION_DEVICE_ID,
    "patient_name": table.PATIENT_NAME,
    "admission_id": table.ADMISSION_ID,
}
"""Members that are an attribute's text."""

NUMERIC: Final = "NUMERIC"
"""Value Type of a number in this macro; in SR content items it is NUM."""

PARAMETERS: Final[dict[Key, str]] = {
    (row.concept.value, row.concept.scheme): name
    for name, row, _ in declared(DrugAdministered)
    if row.number == "4" and isinstance(row.concept, Term)
}
"""Names of the members of CID 3410, as TID 3106 row 4 declares them."""

_HEAD: Final = frozenset({sr.VALUE_TYPE, sr.CONCEPT_NAME, sr.OBSERVATION_DATETIME})


class SubstanceAdministered(Model):
    """An administration; the numeric parameters of CID 3410 have the names that they have in a log's drug entries."""

    model_config = ConfigDict(json_schema_extra=always_published)

    kind: Literal["substance_administered"] = "substance_administered"
    template: Literal[""] = ""
    administered: Moment = Field(description="Substance Administration DateTime (0044,0010).")
    product_names: list[str] = Field(
        default_factory=list, description="Product Name (0044,0008): trade or generic names."
    )
    package_identifier: str | None = Field(default=None, description="Product Package Identifier (0044,0001).")
    product_description: str | None = None
    route: CodeValue | None = Field(default=None, description="As a rule of CID 11 Administration Route.")
    dose: Amount | None = Field(default=None, description="Undiluted dose administered.")
    volume: Amount | None = None
    concentration: Amount | None = None
    rate: Amount | None = None
    duration: Amount | None = None
    volume_discarded: Amount | None = None
    quantity: Amount | None = None
    mass: Amount | None = None
    parameters: list[AnyItem] = Field(default_factory=list, description="Every other parameter, and repeated ones.")
    operators: list[CodeValue] = Field(description="Who administered, or is legally responsible.")
    notes: str | None = None
    device_id: str | None = Field(default=None, description="Substance Administration Device ID: injector, pump.")
    patient_name: str | None = None
    admission_id: str | None = None
    issuer_of_admission_id: str | None = None
    elements: list[Raw] = Field(default_factory=list, description="Elements without a member of their own, whole.")


def read_administration(decoded: Decoded, *, strict: bool) -> SubstanceAdministration:
    """Checks Table P.3-2 and types the administration: steps 6 and 7 of contract section 2.

    Raises:
        MissingAttribute: a mandatory attribute, or both of a 1C pair, are absent (0120H).
        MissingAttributeValue: a Type 1 attribute, or both of a 1C pair, have no value (0121H).
        InvalidArgument: a value breaks its VR, VM or characters (0115H).
    """
    elements = decoded.root.elements
    checker = AttributeChecker(decoded, strict=strict)
    text = {attribute.tag: checker.text(attribute) for attribute in table.SUBSTANCE}
    _judge_presence(checker)
    issuer = _issuer_of_admission(text[table.ISSUER_OF_ADMISSION_ID], checker)
    universal = checker.issuer_universal_entity_id()
    operators = [
        code
        for item in items_of(elements.get(OPERATORS))
        if (code := _required_code(item, PERSON_CODE, checker, identifier=True))
    ]
    route = None
    if items_of(elements.get(ROUTE)):
        route = _required_code(elements, ROUTE, checker, identifier=False)
    if route is not None and known(route).key not in group(11):
        checker.note("outside-context-group", "route outside CID 11", ROUTE)
    checker.end()
    parameters = [_parameter(item, checker.findings) for item in items_of(elements.get(PARAMETER_SEQUENCE))]
    if any(undecoded(element) for tag, element in elements.items() if tag not in _PLACED):
        checker.note("text-undecodable", "text does not decode by its character set", 0x00080005)
    administered = text[table.ADMINISTRATION_DATETIME]
    names = [name.strip(" ") for name in text[table.PRODUCT_NAME].split("\\") if name.strip(" ")]
    members = {
        "product_names": names,
        "route": code_value(route) if route is not None else None,
        "issuer_of_admission_id": issuer,
        **{name: text[tag] for name, tag in _TEXTS.items()},
        **_amounts(parameters),
        "elements": raw_elements(_further(elements)),
    }
    required = {
        "kind": "substance_administered",
        "template": "",
        "administered": moment(administered),
        "operators": list(map(code_value, operators)),
    }
    given = [(item.concept[:2] if item.concept else None, repr(item.value)) for item in parameters]
    alike = repr((administered, text[table.PACKAGE_IDENTIFIER], names, given))
    try:
        typed = SubstanceAdministered.model_validate(
            required | {name: value for name, value in members.items() if value}
        )
    except ValidationError as error:
        # What its class does not let pass is kept whole, and noted as a defect.
        checker.findings.append(not_valid(error, "", "C.26.4", ""))
        typed = SubstanceAdministered.model_validate(required | {"elements": raw_elements(list(elements.values()))})
    entry = TypedEntry(
        0,
        "substance_administered",
        "",
        administered,
        "",
        sha256(decoded.root.canonical),
        sha256(alike.encode()),
        typed,
        path=tag_text(table.ADMINISTRATION_DATETIME),
    )
    return SubstanceAdministration(
        text[table.PATIENT_ID],
        text[table.ISSUER_OF_PATIENT_ID],
        text[table.PATIENT_NAME],
        text[table.ADMISSION_ID],
        issuer,
        [(code.value, code.scheme) for code in operators],
        checker.offset,
        decoded.character_set.text,
        entry,
        checker.findings,
        universal,
    )


def _judge_presence(checker: AttributeChecker) -> None:
    elements = checker.elements
    for pair in _PAIRS:
        present = [tag for tag in pair if tag in elements]
        if not present:
            checker.absent += pair
        elif not any(_has_value(elements, tag) for tag in present):
            checker.empty += present
    checker.type_2(table.PATIENT_NAME, ROUTE)
    for tag in (table.ADMINISTRATION_DATETIME, OPERATORS):
        if tag not in elements:
            checker.absent.append(tag)
        elif not _has_value(elements, tag):
            checker.empty.append(tag)
    for tag in (ROUTE, OPERATORS, PARAMETER_SEQUENCE, ISSUER_OF_ADMISSION_ID_SEQUENCE):
        if tag in elements and not isinstance(elements[tag].value, list):
            checker.invalid("wrong-vr", "VR must be SQ", tag)


def _has_value(elements: Elements, tag: int) -> bool:
    element = elements[tag]
    return bool(text_of(elements, tag) if isinstance(element.value, str) else element.value)


def _required_code(above: Elements, tag: int, checker: AttributeChecker, *, identifier: bool) -> Code | None:
    """The code of a sequence with one item whose code value, scheme and meaning are of Type 1."""
    if tag not in above:
        checker.absent.append(tag)
        return None
    items = items_of(above[tag])
    if not items:
        checker.empty.append(tag)
        return None
    if len(items) > 1:
        checker.invalid("code-items", "more than one item", tag)
        return None
    elements = items[0]
    value = next(
        (one for one in (sr.CODE_VALUE, sr.LONG_CODE_VALUE, sr.URN_CODE_VALUE) if one in elements), sr.CODE_VALUE
    )
    needed = (value, sr.MEANING) if value == sr.URN_CODE_VALUE else (value, sr.SCHEME, sr.MEANING)
    missing = [one for one in needed if one not in elements or not _has_value(elements, one)]
    for one in missing:
        (checker.empty if one in elements else checker.absent).append(one)
    if missing:
        return None
    unclear = any(undecoded(elements[one]) for one in needed[:-1]) or (checker.strict and not checker.known)
    if identifier and unclear:
        checker.invalid("identifier-undecodable", "does not decode by its character set", value)
    elif any_undecoded(elements.values()):
        checker.undecodable(tag)
    report = Report()
    code = sr.code_of(above, tag, report)
    for finding in report:
        checker.invalid(finding.code, finding.reason, tag)
    return code


def _issuer_of_admission(plain: str, checker: AttributeChecker) -> str:
    """Issuer of Admission ID (0038,0011), retired, or the Local Namespace or Universal Entity ID of (0038,0014)."""
    items = items_of(checker.elements.get(ISSUER_OF_ADMISSION_ID_SEQUENCE))
    if len(items) > 1:
        checker.invalid("issuer-items", "more than one item", ISSUER_OF_ADMISSION_ID_SEQUENCE)
    if not items:
        return plain
    local, universal = (
        checker.text(table.Attribute(tag, "UT", table.is_lo), items[0])
        for tag in (LOCAL_NAMESPACE, table.UNIVERSAL_ENTITY_ID)
    )
    sent = local or universal
    if plain and sent and plain not in {local, universal}:
        checker.note(
            "issuers-differ", "differs from Issuer of Admission ID (0038,0011)", ISSUER_OF_ADMISSION_ID_SEQUENCE
        )
    return plain or sent


def _amounts(parameters: list[ContentItem]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    others = []
    for item in parameters:
        name, value = PARAMETERS.get(known(item.concept).key) if item.concept else None, item.value
        plain = not (item.other or item.observation_datetime or item.children)
        if name and name not in made and plain and item.value_type == NUMERIC and isinstance(value, Numeric):
            made[name] = amount(value)
        else:
            others.append(whole(item))
    return made | {"parameters": others}


def _further(elements: Elements) -> list[RawElement]:
    """The elements without a member of their own, or with more in them than that holds."""
    return [
        element
        for tag, element in elements.items()
        if tag not in _PLACED
        or undecoded(element)
        or (tag == OPERATORS and any(item.keys() != {PERSON_CODE} for item in items_of(element)))
    ]


# --- Substance Administration Parameter Sequence: items of the Content Item Macro (PS3.3 Table 10-2), a Type 3 sequence ---


def _parameter(elements: Elements, findings: list[Finding]) -> ContentItem:
    """NUM is read as NUMERIC; what is wrong is noted, never refused."""
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
        tell(Finding("parameter", reason, "(0044,0019)", "C.26.4"), findings)
    if concept is not None and known(concept).key not in group(3410):
        tell(Finding("outside-context-group", "parameter outside CID 3410", "(0044,0019)", "C.26.4"), findings)
    if isinstance(value, Numeric) and value.units is not None and not is_unit(value.units[:2]):
        tell(Finding("invalid-unit", "unit is not a valid UCUM code", "(0044,0019)", "C.26.4"), findings)
    # Where anything is wrong the elements are kept beside what could be read of them.
    kept = _HEAD | used if not (quiet or faulty or value is None) else frozenset[int]()
    other = sr.rest_of(elements, kept)
    return ContentItem("", value_type, concept, value, observation_datetime=when, other=other)


def _value(value_type: str, elements: Elements, report: Report) -> tuple[Value, frozenset[int]]:
    if value_type in sr.SIMPLE:
        tag, _, valid, _ = sr.SIMPLE[value_type]
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


def _reference(elements: Elements) -> ReferencedSop | None:
    referenced = items_of(elements.get(sr.REFERENCED_SOP))
    if len(referenced) != 1:
        return None
    return ReferencedSop(
        text_of(referenced[0], sr.SOP_CLASS),
        text_of(referenced[0], sr.SOP_INSTANCE),
        sr.rest_of(referenced[0], frozenset({sr.SOP_CLASS, sr.SOP_INSTANCE})),
    )
