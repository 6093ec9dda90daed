"""From data elements to content items, with the rules of PS3.3 C.17.3 and A.35.7.3.1 checked on the way."""

from collections.abc import Callable, Iterable
from typing import Final

from plscp.content.coded import one_code
from plscp.content.constraints import ALLOWED, CONTRADICTED, RELATIONSHIPS, VALUE_TYPES
from plscp.content.elements import CONTENT_SEQUENCE, DataSet, Element, Item, Undecoded, raw
from plscp.content.model import Code, ContentItem, Numeric, RawElement, Reference, Value
from plscp.content.report import Report
from plscp.content.syntax import (
    is_da,
    is_ds,
    is_dt,
    is_pn,
    is_tm,
    is_ui,
    is_unformatted,
    order,
    to_minute,
    to_second,
)
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

IOD: Final = "A.35.7.3"
_NAMED: Final = frozenset({"TEXT", "NUM", "CODE", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME"})
"""Value types whose Concept Name is required; it may be absent where a reference needs no purpose."""

Check = Callable[[str], bool]
_SIMPLE: Final[dict[str, tuple[int, Check, str]]] = {
    # value type: value attribute, what it must look like, what is wrong else
    "TEXT": (0x0040A160, is_unformatted, "Text Value with control characters"),
    "DATETIME": (0x0040A120, is_dt, "DateTime is no valid DT"),
    "DATE": (0x0040A121, is_da, "Date is no valid DA"),
    "TIME": (0x0040A122, is_tm, "Time is no valid TM"),
    "PNAME": (0x0040A123, is_pn, "Person Name is no valid PN"),
    "UIDREF": (0x0040A124, is_ui, "UID is no valid UID"),
}
_REFERENCES: Final = frozenset({"COMPOSITE", "IMAGE", "WAVEFORM"})
_COMMON: Final = frozenset(
    {RELATIONSHIP_TYPE, VALUE_TYPE, CONCEPT_NAME, OBSERVATION_DATETIME, OBSERVATION_UID, CONTENT_SEQUENCE}
)
_PLACED: Final[dict[str, frozenset[int]]] = {
    **{name: _COMMON | {tag} for name, (tag, _, _) in _SIMPLE.items()},
    **dict.fromkeys(_REFERENCES, _COMMON | {REFERENCED_SOP}),
    "CODE": _COMMON | {CONCEPT_CODE},
    "NUM": _COMMON | {MEASURED_VALUE, QUALIFIER},
    "CONTAINER": _COMMON | {CONTINUITY, CONTENT_TEMPLATE},
}
"""Elements that have a member of `ContentItem`, for each value type."""
_PLACED_ROOT: Final = (_PLACED["CONTAINER"] | IDENTIFYING) - {RELATIONSHIP_TYPE}
_PLACED_REFERENCE: Final = frozenset({SOP_CLASS, SOP_INSTANCE})
_PLACED_MEASURED: Final = frozenset({NUMERIC_VALUE, UNITS})


def content_tree(dataset: DataSet, findings: list[Finding], *, strict: bool) -> ContentItem:
    """The content of a Procedural Event data set as a tree of content items.

    Args:
        dataset: as the reader made it.
        findings: takes what is wrong, each with the item's path and whether it refuses the request.
        strict: refuse also what a lenient profile lets pass (contracts section 2).

    Returns:
        The root, complete also where something is wrong: what is missing is empty.
    """
    return _Tree(Report(findings, strict=strict)).root(dataset)


def check_times(entries: Iterable[tuple[int, str]], offset: str, report: Report) -> None:
    """A.35.7.3.1.2: each first-level entry has a DateTime, and they rise.

    Args:
        entries: position and Observation DateTime of each.
        offset: Timezone Offset From UTC of the data set, or empty.
    """
    before = ""
    for place, when in entries:
        if not when:
            report.refuse("observation-datetime-missing", "entry without Observation DateTime", str(place), IOD)
            continue
        if not is_dt(when):
            continue
        if not to_minute(when):
            report.refuse("observation-datetime-coarse", "Observation DateTime without minutes", str(place), IOD)
            continue
        if not to_second(when):
            report.lenient("observation-datetime-minute", "Observation DateTime without seconds", str(place), IOD)
        if before:
            how = order(before, when, offset)
            if how == 1:
                report.lenient("entries-out-of-order", "entry earlier than the one before", str(place), IOD)
            elif how == 0:
                report.lenient("equal-datetimes", "entry at the same DateTime as the one before", str(place), IOD)
        before = when


class _Tree:
    def __init__(self, report: Report) -> None:
        self.report = report

    def root(self, dataset: DataSet) -> ContentItem:
        node, report = dataset.root, self.report
        elements = node.elements
        if text_of(elements, VALUE_TYPE) != "CONTAINER":
            report.refuse("root-value-type", "the root must be a CONTAINER", "", IOD)
        children = self._children(node, "CONTAINER", "")
        made = ContentItem(
            "",
            "CONTAINER",
            one_code(elements.get(CONCEPT_NAME), CONCEPT_NAME, "", report),
            self._continuity(elements, ""),
            children,
            self._datetime(elements, ""),
            self._uid(elements, ""),
            self._template(elements),
            other=tuple(raw(tag, e) for tag, e in sorted(elements.items()) if tag not in _PLACED_ROOT),
        )
        apart = IDENTIFYING | {CONTENT_SEQUENCE}
        if node.faulty and any(tag not in apart and _undecoded(e) for tag, e in elements.items()):
            report.undecoded("")
        self._entries(node, children, text_of(elements, TIMEZONE_OFFSET))
        return made

    def _entries(self, root: Item, children: list[ContentItem], offset: str) -> None:
        sequence = root.elements.get(CONTENT_SEQUENCE)
        nodes = sequence[1] if sequence is not None and type(sequence[1]) is list else []
        times = []
        for place, (child, node) in enumerate(zip(children, nodes, strict=True), 1):
            if child.relationship == "CONTAINS":
                child.digest = node.canonical
                times.append((place, child.observation_datetime))
        check_times(times, offset, self.report)

    def _children(self, node: Item, source: str, base: str) -> list[ContentItem]:
        element = node.elements.get(CONTENT_SEQUENCE)
        if element is None:
            return []
        nodes = element[1]
        if type(nodes) is not list or not nodes:
            self.report.refuse("content-sequence-empty", "Content Sequence without items", base[:-1])
            return []
        made = []
        for place, below in enumerate(nodes, 1):
            child = below.content
            if child is None:
                child = self._item(below, f"{base}{place}")
            triple = (source, child.relationship, child.value_type)
            if triple not in ALLOWED:
                self._relationship(triple, f"{base}{place}")
            made.append(child)
        return made

    def _relationship(self, triple: tuple[str, str, str], path: str) -> None:
        source, relationship, target = triple
        if relationship not in RELATIONSHIPS or target not in VALUE_TYPES or target == "CONTAINER":
            return  # said about the item itself
        if triple in CONTRADICTED:
            reason = f"{relationship} {target} below {source} is not in Table A.35.7-2"
            self.report.note("relationship-contradicted", reason, path, IOD)
        else:
            self.report.refuse("relationship-not-allowed", f"{relationship} {target} not below {source}", path, IOD)

    def _item(self, node: Item, path: str) -> ContentItem:
        report = self.report
        before = report.count
        elements = node.elements
        like = node.like.content if node.like is not None else None
        if like is not None:  # there was nothing to say about it; here only the value can be wrong
            return ContentItem(
                like.relationship, like.value_type, like.concept, self._value(like.value_type, elements, path)
            )
        relationship = text_of(elements, RELATIONSHIP_TYPE)
        value_type = text_of(elements, VALUE_TYPE)
        placed = _PLACED.get(value_type)
        if relationship not in RELATIONSHIPS:
            report.refuse("relationship-type", "Relationship Type is missing or unknown", path)
        if BY_REFERENCE in elements:
            report.refuse("by-reference", "relationship by reference", path, IOD)
        elif placed is None:
            reason = "Value Type not allowed in a log" if value_type else "item without Value Type"
            report.refuse("value-type", reason, path, IOD)
        elif value_type == "CONTAINER":
            report.refuse("nested-container", "CONTAINER below the root", path, IOD)
        concept = elements.get(CONCEPT_NAME)
        made = ContentItem(
            relationship,
            value_type,
            one_code(concept, CONCEPT_NAME, path, report, required=value_type in _NAMED)
            if concept is not None or value_type in _NAMED
            else None,
            self._value(value_type, elements, path) if placed is not None else None,
        )
        if OBSERVATION_DATETIME in elements:
            made.observation_datetime = self._datetime(elements, path)
        if OBSERVATION_UID in elements:
            made.observation_uid = self._uid(elements, path)
        if CONTENT_SEQUENCE in elements:
            made.children = self._children(node, value_type, f"{path}.")
        if placed is None or not elements.keys() <= placed or node.faulty:
            made.other = self._other(node, placed or _COMMON, path)
        if report.count == before:
            node.content = made
        return made

    def _other(self, node: Item, placed: frozenset[int], path: str) -> tuple[RawElement, ...]:
        """Elements without a member, and those whose text does not decode: their bytes are kept."""
        elements = sorted(node.elements.items())
        if node.faulty and any(tag != CONTENT_SEQUENCE and _undecoded(e) for tag, e in elements):
            self.report.undecoded(path)
        return tuple(raw(tag, e) for tag, e in elements if tag not in placed or isinstance(e[1], Undecoded))

    # --- values ---

    def _value(self, value_type: str, elements: dict[int, Element], path: str) -> Value:
        simple = _SIMPLE.get(value_type)
        if simple is not None:
            tag, valid, reason = simple
            text = _plain(elements, tag)
            if value_type != "TEXT":
                text = text.strip(" ")
            if not text:
                self.report.refuse("value-missing", f"{value_type} item without a value", path)
            elif not valid(text):
                self.report.refuse("value-invalid", reason, path)
            return text
        if value_type == "CODE":
            return one_code(elements.get(CONCEPT_CODE), CONCEPT_CODE, path, self.report)
        if value_type == "NUM":
            return self._number(elements, path)
        if value_type in _REFERENCES:
            return self._reference(elements, path)
        return self._continuity(elements, path)

    def _number(self, elements: dict[int, Element], path: str) -> Numeric:
        report = self.report
        qualifier: Code | None = None
        if QUALIFIER in elements:
            qualifier = one_code(elements[QUALIFIER], QUALIFIER, path, report)
        element = elements.get(MEASURED_VALUE)
        if element is None or type(element[1]) is not list:
            report.refuse("measured-value-missing", "NUM item without Measured Value Sequence", path)
            return Numeric(None, None, qualifier)
        if not element[1]:
            return Numeric(None, None, qualifier)
        if len(element[1]) > 1:
            report.refuse("measured-value-items", "more than one measured value", path)
        measured = element[1][0].elements
        text = text_of(measured, NUMERIC_VALUE)
        if not is_ds(text):
            reason = "Numeric Value is no valid DS" if text else "measured value without Numeric Value"
            report.refuse("numeric-value", reason, path)
        units = one_code(measured.get(UNITS), UNITS, path, report)
        other = () if measured.keys() <= _PLACED_MEASURED else rest_of(measured, _PLACED_MEASURED)
        return Numeric(text or None, units, qualifier, other)

    def _reference(self, elements: dict[int, Element], path: str) -> Reference | None:
        element = elements.get(REFERENCED_SOP)
        if element is None or type(element[1]) is not list or len(element[1]) != 1:
            self.report.refuse("reference-items", "not one item in Referenced SOP Sequence", path)
            if element is None or type(element[1]) is not list or not element[1]:
                return None
        referenced = element[1][0].elements
        sop_class, instance = text_of(referenced, SOP_CLASS), text_of(referenced, SOP_INSTANCE)
        for uid, name in ((sop_class, "Class"), (instance, "Instance")):
            if not is_ui(uid):
                self.report.refuse("reference-uid", f"Referenced SOP {name} UID is missing or no UID", path)
        return Reference(sop_class, instance, rest_of(referenced, _PLACED_REFERENCE))

    def _continuity(self, elements: dict[int, Element], path: str) -> str:
        text = text_of(elements, CONTINUITY)
        if text not in {"SEPARATE", "CONTINUOUS"}:
            self.report.refuse("continuity", "Continuity Of Content is missing or unknown", path)
        return text

    def _template(self, elements: dict[int, Element]) -> str:
        element, report = elements.get(CONTENT_TEMPLATE), self.report
        if element is None:
            report.lenient("content-template-missing", "Content Template Sequence is missing", "")
            return ""
        items = element[1]
        if type(items) is not list or len(items) != 1:
            report.refuse("content-template-items", "not one item in Content Template Sequence", "")
            return ""
        template = text_of(items[0].elements, TEMPLATE_IDENTIFIER)
        if text_of(items[0].elements, MAPPING_RESOURCE) != "DCMR":
            report.refuse("content-template", "Mapping Resource of the template must be DCMR", "")
        if not (template.isascii() and template.isdigit()) or template.startswith("0"):
            report.refuse("content-template", "Template Identifier must be digits only", "")
        elif template != "3001":
            report.lenient("content-template", "Template Identifier should be 3001", "", IOD)
        return template

    def _datetime(self, elements: dict[int, Element], path: str) -> str:
        if OBSERVATION_DATETIME not in elements:
            return ""
        text = text_of(elements, OBSERVATION_DATETIME)
        if text and not is_dt(text):
            self.report.refuse("observation-datetime", "Observation DateTime is no valid DT", path)
        return text

    def _uid(self, elements: dict[int, Element], path: str) -> str:
        if OBSERVATION_UID not in elements:
            return ""
        text = text_of(elements, OBSERVATION_UID)
        if text and not is_ui(text):
            self.report.refuse("observation-uid", "Observation UID is no valid UID", path)
        return text


def _plain(elements: dict[int, Element], tag: int) -> str:
    """A text value, or empty."""
    element = elements.get(tag)
    if element is None:
        return ""
    value = element[1]
    if type(value) is str:
        return value
    return str(value) if isinstance(value, str) else ""


def text_of(elements: dict[int, Element], tag: int) -> str:
    """A text value without spaces around it, or empty."""
    return _plain(elements, tag).strip(" ")


def rest_of(elements: dict[int, Element], placed: frozenset[int]) -> tuple[RawElement, ...]:
    """The elements without a member, kept whole."""
    return tuple(raw(tag, e) for tag, e in sorted(elements.items()) if tag not in placed)


def _undecoded(element: Element) -> bool:
    """Whether text in it does not decode; of content items below each says so itself."""
    value = element[1]
    return isinstance(value, Undecoded) or (type(value) is list and any(item.faulty for item in value))
