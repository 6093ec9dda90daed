"""The way back: from typed entries and their JSON to content items, equal to those that were sent (PS3.3 C.17.3)."""

from base64 import b64decode
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from plscp.content.model import Code, ContentItem, Numeric, RawElement, Reference, Value
from plscp.templates.clinical_entries import (
    CirculatorySupport,
    CodedFinding,
    CodedMeasurement,
    DeviceUsed,
    DrugAdministered,
    EcgStAssessment,
    Impression,
    Intervention,
    LesionIdentified,
    Measurement,
    OxygenAdministration,
    Pacing,
    PatientAssessment,
    PercutaneousEntry,
    SpecimenObtained,
    Ventilation,
)
from plscp.templates.entries import PLANS
from plscp.templates.log_entries import (
    Complication,
    Consumable,
    EquipmentEvent,
    ImageAcquired,
    LogContext,
    Note,
    ObjectReferenced,
    PatientEvent,
    ProcedureAction,
    StaffAction,
    WaveformAcquired,
)
from plscp.templates.plans import Node, Plan, Slot
from plscp.templates.procedure_log import CONTEXT
from plscp.templates.rows import CONTAINS
from plscp.templates.values import Amount, CodeValue, Extras, Item, Model, ObjectReference, Raw, always_published


class Untyped(Model):
    """A first-level entry of no known template, whole."""

    model_config = ConfigDict(json_schema_extra=always_published)

    kind: Literal["untyped"] = "untyped"
    template: str = ""
    item: Item


AnyEntry = Annotated[
    Note | SpecimenObtained | PatientAssessment | EcgStAssessment | PatientEvent | StaffAction | EquipmentEvent
    | ProcedureAction | ImageAcquired | WaveformAcquired | ObjectReferenced | Consumable | LesionIdentified
    | DrugAdministered | DeviceUsed | Intervention | Complication | Measurement | CodedMeasurement | CodedFinding
    | Impression | PercutaneousEntry | OxygenAdministration | CirculatorySupport | Ventilation | Pacing | Untyped,
    Field(discriminator="kind"),
]  # fmt: skip
"""Any entry of a Procedure Log, told apart by `kind`."""

ENTRIES: Final[TypeAdapter[Any]] = TypeAdapter(AnyEntry)


def parse_entry(json: bytes | str) -> Any:
    """A typed entry from its JSON.

    Raises:
        pydantic.ValidationError: it is not an entry.
    """
    return ENTRIES.validate_json(json)


def entry_item(entry: Any) -> ContentItem:
    """The first-level content item of a typed entry."""
    if isinstance(entry, Untyped):
        return whole_item(entry.item)
    kind = PLANS[entry.kind]
    concept = getattr(entry, kind.concept)
    value = getattr(entry, kind.value)
    return _with_extras(
        ContentItem(
            CONTAINS,
            kind.row.value_type,
            code(concept) if concept is not None else None,
            _value(value),
            _children(entry, kind.plan),
        ),
        entry,
    )


def log_root(context: LogContext, entries: Sequence[Any]) -> ContentItem:
    """The root CONTAINER of a log: its context, and its entries in the order given."""
    inherited = [item for _, item in _rows(context, CONTEXT.nodes, CONTEXT)]
    inherited += [whole_item(item) for item in context.other]
    children = [entry_item(entry) for entry in entries]
    if context.order:
        for position, item in sorted(zip(context.order, inherited, strict=True), key=lambda pair: pair[0]):
            children.insert(position - 1, item)
    else:
        children = inherited + children
    title = code(context.title) if context.title is not None else None
    return _with_extras(ContentItem("", "CONTAINER", title, context.continuity, children), context)


def code(value: CodeValue) -> Code:
    """A code as it was sent."""
    return Code(value.value, value.scheme, value.meaning, value.version or "", raw(value.elements))


def whole_item(item: Item) -> ContentItem:
    """A content item that no row described."""
    value: Value = item.text
    for given in (item.code, item.quantity, item.reference):
        if given is not None:
            value = _value(given)
    made = ContentItem(
        item.relationship,
        item.value_type,
        code(item.concept) if item.concept is not None else None,
        value,
        [whole_item(child) for child in item.children],
    )
    return _with_extras(made, item)


def raw(elements: Sequence[Raw]) -> tuple[RawElement, ...]:
    """Elements that were kept whole."""
    return tuple(RawElement(int(e.tag, 16), e.vr, _raw_value(e)) for e in elements)


def _raw_value(element: Raw) -> "str | bytes | Sequence[Sequence[RawElement]]":
    if element.items is not None:
        return tuple(map(raw, element.items))
    return b64decode(element.base64) if element.base64 is not None else element.text or ""


def _value(value: Any) -> Value:
    if isinstance(value, Amount):
        return Numeric(
            value.text,
            code(value.unit) if value.unit is not None else None,
            code(value.qualifier) if value.qualifier is not None else None,
            raw(value.elements),
        )
    if isinstance(value, CodeValue):
        return code(value)
    if isinstance(value, ObjectReference):
        return Reference(value.sop_class_uid, value.sop_instance_uid, raw(value.elements))
    return str(value)


def _with_extras(item: ContentItem, given: Extras | Item) -> ContentItem:
    if given.observation_datetime is not None:
        item.observation_datetime = given.observation_datetime.text
    item.observation_uid = given.observation_uid or ""
    item.template = given.content_template or ""
    item.other = raw(given.item_elements)
    return item


def _children(model: Extras, plan: Plan) -> list[ContentItem]:
    listed = [item for _, item in _rows(model, plan.nodes, plan)]
    listed += [whole_item(item) for item in model.other]
    if not model.order:
        return listed
    return [item for _, item in sorted(zip(model.order, listed, strict=True), key=lambda pair: pair[0])]


def _rows(model: Any, nodes: Sequence[Node], plan: Plan) -> Iterator[tuple[Slot, ContentItem]]:
    """The items of the rows, in the order in which the typed object lists them."""
    for node in nodes:
        if not isinstance(node, int):
            name, _, _, inner = node
            included = getattr(model, name)
            if included is not None:
                yield from _rows(included, inner, plan)
            continue
        slot = plan.slots[node]
        given = getattr(model, slot.name)
        for one in given if isinstance(given, list) else [given] if given is not None else []:
            if slot.shape == "group":
                yield from _rows(one, slot.child.nodes, slot.child)
                for item in one.other:
                    yield slot, whole_item(item)
            else:
                yield slot, _child(slot, one)


def _child(slot: Slot, given: Any) -> ContentItem:
    concept = code(given.concept) if given.concept is not None else slot.canonical
    value = given.text if slot.shape == "text" else _value(given)
    item = ContentItem(slot.row.relationship, slot.row.value_type, concept, value, _children(given, slot.child))
    return _with_extras(item, given)
