"""From elements to content items, with the rules of PS3.3 C.17.3 and A.35.7.3.1 checked on the way."""

from collections.abc import Callable, Collection
from typing import Final

from plscp.content import syntax
from plscp.content.constraints import ALLOWED, CONTRADICTED, RELATIONSHIPS, VALUE_TYPES
from plscp.content.elements import (
    CONTENT_SEQUENCE,
    Elements,
    ParsedItem,
    any_undecoded,
    items_of,
    shown,
    tag_text,
    text_of,
    undecoded,
)
from plscp.content.model import Code, ContentItem, Numeric, RawElement, ReferencedSop, Value
from plscp.findings import Finding

RELATIONSHIP_TYPE, VALUE_TYPE, CONCEPT_NAME = 0x0040A010, 0x0040A040, 0x0040A043
OBSERVATION_DATETIME, OBSERVATION_UID = 0x0040A032, 0x0040A171
BY_REFERENCE: Final = 0x0040DB73
CONCEPT_CODE, MEASURED_VALUE, NUMERIC_VALUE, UNITS, QUALIFIER = (
    0x0040A168,
    0x0040A300,
    0x0040A30A,
    0x004008EA,
    0x0040A301,
)
REFERENCED_SOP, SOP_CLASS, SOP_INSTANCE = 0x00081199, 0x00081150, 0x00081155
CONTINUITY, CONTENT_TEMPLATE, MAPPING_RESOURCE, TEMPLATE_IDENTIFIER = 0x0040A050, 0x0040A504, 0x00080105, 0x0040DB00
TIMEZONE_OFFSET: Final = 0x00080201
IDENTIFYING: Final = frozenset({0x00100020, 0x0020000D, 0x00200010, 0x00200200, 0x00400243, TIMEZONE_OFFSET})
"""Attributes of the data set itself that are no content (Table P.2-2); checked in step 6."""
_NO_CONTENT: Final = IDENTIFYING | {CONTENT_SEQUENCE}

IOD: Final = "A.35.7.3"
NEVER_REFUSED: Final = "relationship-contradicted"
"""Rows of PS3.16 against Table A.35.7-2: all else that a lenient profile lets pass a strict one refuses."""
_NAMED: Final = frozenset({"TEXT", "NUM", "CODE", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME"})
"""Value types whose Concept Name is required; it may be absent where a reference needs no purpose."""

Check = Callable[[str], bool]
SIMPLE: Final[dict[str, tuple[int, str, Check, str]]] = {
    # value type: value attribute, its VR, what it must look like, what is wrong else
    "TEXT": (0x0040A160, "UT", syntax.is_unformatted, "Text Value with control characters"),
    "DATETIME": (0x0040A120, "DT", syntax.is_dt, "DateTime is no valid DT"),
    "DATE": (0x0040A121, "DA", syntax.is_da, "Date is no valid DA"),
    "TIME": (0x0040A122, "TM", syntax.is_tm, "Time is no valid TM"),
    "PNAME": (0x0040A123, "PN", syntax.is_pn, "Person Name is no valid PN"),
    "UIDREF": (0x0040A124, "UI", syntax.is_ui, "UID is no valid UID"),
}
_REFERENCES: Final = frozenset({"COMPOSITE", "IMAGE", "WAVEFORM"})
_COMMON: Final = frozenset(
    {RELATIONSHIP_TYPE, VALUE_TYPE, CONCEPT_NAME, OBSERVATION_DATETIME, OBSERVATION_UID, CONTENT_SEQUENCE}
)
_PLACED: Final[dict[str, frozenset[int]]] = {
    **{name: _COMMON | {tag} for name, (tag, *_) in SIMPLE.items()},
    **dict.fromkeys(_REFERENCES, _COMMON | {REFERENCED_SOP}),
    "CODE": _COMMON | {CONCEPT_CODE},
    "NUM": _COMMON | {MEASURED_VALUE, QUALIFIER},
    "CONTAINER": _COMMON | {CONTINUITY, CONTENT_TEMPLATE},
}
"""Elements that have a member of `ContentItem`, for each value type."""
_PLACED_ROOT: Final = (_PLACED["CONTAINER"] | IDENTIFYING) - {RELATIONSHIP_TYPE}
_PLACED_REFERENCE: Final = frozenset({SOP_CLASS, SOP_INSTANCE})
_PLACED_MEASURED: Final = frozenset({NUMERIC_VALUE, UNITS})

_MOST_FINDINGS: Final = 200
"""More are not told: a request of 20,000 faulty items says enough with these."""


class Report(list[Finding]):
    """Findings about content items in the order in which they are told.

    Attributes:
        path: positions from the root to the item that is judged; changes as the reader goes on.
        undecoded: whether any text that was read does not decode.
    """

    def __init__(self, path: list[int] | None = None) -> None:
        super().__init__()
        self.path = [] if path is None else path
        self.undecoded = False

    def refuse(self, code: str, reason: str, template: str = "C.17.3") -> None:
        """What no profile lets pass."""
        self.append(Finding(code, reason, ".".join(map(str, self.path)), template, refuse=True))

    def note(self, code: str, reason: str, template: str = "C.17.3") -> None:
        """What a lenient profile lets pass."""
        self.append(Finding(code, reason, ".".join(map(str, self.path)), template))


def tell(finding: Finding, findings: list[Finding]) -> None:
    """Adds a finding up to the bound; past it only the first that refuses."""
    if len(findings) < _MOST_FINDINGS or (finding.refuse and not any(f.refuse for f in findings)):
        findings.append(finding)


# --- codes: items of the Code Sequence Macro (Table 8.8-1) ---

CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE = 0x00080100, 0x00080119, 0x00080120
SCHEME, VERSION, MEANING = 0x00080102, 0x00080103, 0x00080104
_VALUES: Final = (CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE)
_PLACED_CODE: Final = frozenset({*_VALUES, SCHEME, VERSION, MEANING})


def code_of(elements: Elements, tag: int, report: Report) -> Code | None:
    """The code of a sequence that must be there, with exactly one item; None where it has no code value."""
    if tag not in elements:
        report.refuse("code-missing", f"missing code sequence {tag_text(tag)}")
        return None
    items = items_of(elements[tag])
    if len(items) != 1:
        report.refuse("code-items", f"not one item in {tag_text(tag)}")
    return code_item(items[0], report) if items else None


def code_item(elements: Elements, report: Report) -> Code | None:
    """The code of an item; None where it has no code value."""
    given = [text for tag in _VALUES if tag in elements and (text := text_of(elements, tag))]
    scheme, meaning = text_of(elements, SCHEME), text_of(elements, MEANING)
    if len(given) != 1:
        reason = "code item without code value" if not given else "code item with several code values"
        report.refuse("code-value", reason)
    elif not syntax.is_line(given[0], 16 if CODE_VALUE in elements else len(given[0])):
        report.refuse("code-value", "code value too long or with control characters")
    if not scheme and not text_of(elements, URN_CODE_VALUE):
        report.refuse("code-scheme", "code item without coding scheme designator")
    elif scheme and not syntax.is_line(scheme, 16):
        report.refuse("code-scheme", "coding scheme designator is not valid")
    if not meaning:
        report.refuse("code-meaning", "code item without code meaning")
    elif not syntax.is_line(meaning, 64):
        report.refuse("code-meaning", "code meaning too long or with control characters")
    if not given:
        return None
    version = text_of(elements, VERSION) if VERSION in elements else ""
    return Code(given[0], scheme, meaning, version, _kept(elements, _PLACED_CODE))


def _kept(elements: Elements, placed: frozenset[int]) -> tuple[RawElement, ...]:
    """Elements without a member, and those whose text does not decode: their bytes are kept."""
    return tuple([e for tag, e in elements.items() if tag not in placed or (type(e[2]) is bytes and undecoded(e))])


def rest_of(elements: Elements, placed: frozenset[int]) -> tuple[RawElement, ...]:
    """The elements without a member, kept whole."""
    return tuple(element for tag, element in elements.items() if tag not in placed)


# --- content items ---


def root_item(item: ParsedItem, report: Report, like: ContentItem | None) -> ContentItem:
    """The content of a Procedural Event data set as a tree; complete also where something is wrong: what is missing is empty.

    Args:
        like: the root of another data set that differs in its children only, and about which there was nothing to say.
    """
    elements = item.elements
    if text_of(elements, VALUE_TYPE) != "CONTAINER":
        report.refuse("root-value-type", "the root must be a CONTAINER", IOD)
    judge_children(item, "CONTAINER", report)
    if like is None:
        made = _root(item, report)
    else:
        made = ContentItem(
            "",
            "CONTAINER",
            like.concept,
            like.value,
            item.children,
            like.observation_datetime,
            like.observation_uid,
            like.template,
            other=like.other,
        )
    offset = text_of(elements, TIMEZONE_OFFSET)  # step 6 refuses what is none
    _judge_times(item.children, offset if syntax.is_offset(offset) else "", report)
    return made


def _root(item: ParsedItem, report: Report) -> ContentItem:
    elements = item.elements
    concept, continuity = code_of(elements, CONCEPT_NAME, report), _continuity(elements, report)
    made = ContentItem("", "CONTAINER", concept, continuity, item.children, other=rest_of(elements, _PLACED_ROOT))
    _read_observation(made, elements, report)
    made.template = _template(elements, report)
    _judge_text(elements, _NO_CONTENT, report)
    return made


def content_item(item: ParsedItem, report: Report) -> ContentItem:
    """An item of Content Sequence as a content item; what is wrong with it and what is below goes to `report`."""
    elements = item.elements
    relationship, value_type = text_of(elements, RELATIONSHIP_TYPE), text_of(elements, VALUE_TYPE)
    placed = _PLACED.get(value_type)
    if relationship not in RELATIONSHIPS:
        report.refuse("relationship-type", "Relationship Type is missing or unknown")
    if BY_REFERENCE in elements:
        report.refuse("by-reference", "relationship by reference", IOD)
    elif placed is None:
        reason = "Value Type not allowed in a log" if value_type else "item without Value Type"
        report.refuse("value-type", reason, IOD)
    elif value_type == "CONTAINER":
        report.refuse("nested-container", "CONTAINER below the root", IOD)
    concept = None
    if CONCEPT_NAME in elements or value_type in _NAMED:
        concept = code_of(elements, CONCEPT_NAME, report)
    value = _value(value_type, elements, report) if placed is not None else None
    made = ContentItem(relationship, value_type, concept, value, item.children)
    _read_observation(made, elements, report)
    if CONTENT_SEQUENCE in elements:
        judge_children(item, value_type, report)
    _judge_text(elements, (CONTENT_SEQUENCE,), report)
    made.other = _kept(elements, placed or _COMMON)
    return made


def _read_observation(made: ContentItem, elements: Elements, report: Report) -> None:
    made.observation_datetime = text_of(elements, OBSERVATION_DATETIME)
    if made.observation_datetime and not syntax.is_dt(made.observation_datetime):
        report.refuse("observation-datetime", "Observation DateTime is no valid DT")
    made.observation_uid = text_of(elements, OBSERVATION_UID)
    if made.observation_uid and not syntax.is_ui(made.observation_uid):
        report.refuse("observation-uid", "Observation UID is no valid UID")


def _judge_text(elements: Elements, apart: Collection[int], report: Report) -> None:
    if report.undecoded and any_undecoded(element for tag, element in elements.items() if tag not in apart):
        report.note("text-undecodable", "text does not decode by its character set", "")


def judge_children(item: ParsedItem, source: str, report: Report) -> None:
    """Tells what is wrong with each child, and its relationship to this item (Table A.35.7-2)."""
    if not item.children and CONTENT_SEQUENCE in item.elements:
        report.refuse("content-sequence-empty", "Content Sequence without items")
    about = item.about
    for position, child in enumerate(item.children, 1):
        if position in about:
            report.extend(about[position])
        relationship, target = child.relationship, child.value_type
        triple = (source, relationship, target)
        if triple in ALLOWED or relationship not in RELATIONSHIPS or target not in VALUE_TYPES or target == "CONTAINER":
            continue  # of the last three the item itself is told
        report.path.append(position)
        if triple in CONTRADICTED:
            reason = f"{relationship} {target} below {source} is not in Table A.35.7-2"
            report.note(NEVER_REFUSED, reason, IOD)
        else:
            report.refuse("relationship-not-allowed", f"{relationship} {target} not below {source}", IOD)
        report.path.pop()


def _judge_times(children: list[ContentItem], offset: str, report: Report) -> None:
    """A.35.7.3.1.2: each first-level entry has a DateTime, and they rise."""
    before = ""
    for position, child in enumerate(children, 1):
        if child.relationship != "CONTAINS":
            continue
        when = child.observation_datetime
        report.path[:] = [position]
        if not when:
            report.refuse("observation-datetime-missing", "entry without Observation DateTime", IOD)
            continue
        if report and not syntax.is_dt(when):
            continue  # said about the entry itself
        if not syntax.begins_with_digits(when, 14):
            if not syntax.begins_with_digits(when, 12):
                report.refuse("observation-datetime-coarse", "Observation DateTime without minutes", IOD)
                continue
            report.note("observation-datetime-minute", "Observation DateTime without seconds", IOD)
        if before:
            how = syntax.order(before, when, offset)
            if how == 1:
                report.note("entries-out-of-order", "entry earlier than the one before", IOD)
            elif how == 0:
                report.note("equal-datetimes", "entry at the same DateTime as the one before", IOD)
        before = when
    report.path.clear()


# --- values ---


def _value(value_type: str, elements: Elements, report: Report) -> Value:
    if value_type in SIMPLE:
        tag, _, valid, reason = SIMPLE[value_type]
        text = shown(elements.get(tag))
        if value_type != "TEXT":
            text = text.strip(" ")
        if not text:
            report.refuse("value-missing", f"{value_type} item without a value")
        elif not valid(text):
            report.refuse("value-invalid", reason)
        return text
    if value_type == "CODE":
        return code_of(elements, CONCEPT_CODE, report)
    if value_type == "NUM":
        return _number(elements, report)
    if value_type in _REFERENCES:
        return _reference(elements, report)
    return _continuity(elements, report)


def _number(elements: Elements, report: Report) -> Numeric:
    qualifier = code_of(elements, QUALIFIER, report) if QUALIFIER in elements else None
    items = items_of(elements.get(MEASURED_VALUE))
    if not items:
        if MEASURED_VALUE not in elements or not isinstance(elements[MEASURED_VALUE].value, list):
            report.refuse("measured-value-missing", "NUM item without Measured Value Sequence")
        return Numeric(None, None, qualifier)
    if len(items) > 1:
        report.refuse("measured-value-items", "more than one measured value")
    measured = items[0]
    text = text_of(measured, NUMERIC_VALUE)
    if not syntax.is_ds(text):
        reason = "Numeric Value is no valid DS" if text else "measured value without Numeric Value"
        report.refuse("numeric-value", reason)
    return Numeric(text or None, code_of(measured, UNITS, report), qualifier, rest_of(measured, _PLACED_MEASURED))


def _reference(elements: Elements, report: Report) -> ReferencedSop | None:
    items = items_of(elements.get(REFERENCED_SOP))
    if len(items) != 1:
        report.refuse("reference-items", "not one item in Referenced SOP Sequence")
        if not items:
            return None
    sop_class, instance = text_of(items[0], SOP_CLASS), text_of(items[0], SOP_INSTANCE)
    for uid, name in ((sop_class, "Class"), (instance, "Instance")):
        if not syntax.is_ui(uid):
            report.refuse("reference-uid", f"Referenced SOP {name} UID is missing or no UID")
    return ReferencedSop(sop_class, instance, rest_of(items[0], _PLACED_REFERENCE))


def _continuity(elements: Elements, report: Report) -> str:
    text = text_of(elements, CONTINUITY)
    if text not in {"SEPARATE", "CONTINUOUS"}:
        report.refuse("continuity", "Continuity Of Content is missing or unknown")
    return text


def _template(elements: Elements, report: Report) -> str:
    if CONTENT_TEMPLATE not in elements:
        report.note("content-template-missing", "Content Template Sequence is missing")
        return ""
    items = items_of(elements[CONTENT_TEMPLATE])
    if len(items) != 1:
        report.refuse("content-template-items", "not one item in Content Template Sequence")
        return ""
    template = text_of(items[0], TEMPLATE_IDENTIFIER)
    if text_of(items[0], MAPPING_RESOURCE) != "DCMR":
        report.refuse("content-template", "Mapping Resource of the template must be DCMR")
    if not (template.isascii() and template.isdigit()) or template.startswith("0"):
        report.refuse("content-template", "Template Identifier must be digits only")
    elif template != "3001":
        report.note("content-template", "Template Identifier should be 3001", IOD)
    return template
