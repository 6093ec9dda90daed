"""What typed entries are made of: codes, quantities, references and texts, each with everything that was sent (PS3.3 C.17.3)."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from copy import copy
from math import isfinite
from typing import Any, ClassVar, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from plscp.content.codes import known
from plscp.content.model import Code, ContentItem, Numeric, RawElement, ReferencedSop, Value
from plscp.templates.rows import Row, Template, Term


class Model(BaseModel):
    """Base of everything that is published: members that a newer version adds are passed over.

    Attributes:
        head: of the template's table; None for what is no template. It is given with the class's bases.
    """

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)
    head: ClassVar[Template | None] = None

    def __init_subclass__(cls, *, head: Template | None = None, **kwargs: Any) -> None:
        """Takes the head of a template's class."""
        super().__init_subclass__(**kwargs)
        if head is not None:
            cls.head = head


class Raw(Model):
    """An element that has no member of its own, whole: one of `text`, `base64` and `items` is given."""

    tag: str = Field(description="Group and element, eight hexadecimal digits.", pattern="^[0-9A-F]{8}$")
    vr: str
    text: str | None = None
    base64: str | None = Field(default=None, description="The value in little endian.")
    items: "list[list[Raw]] | None" = None


class KnownCode(Model):
    """A code as PS3.16 spells it today."""

    value: str
    scheme: str
    meaning: str


class CodeValue(Model):
    """A coded concept as sent, and as it is known where that differs (PS3.3 Table 8.8-1)."""

    value: str
    scheme: str = ""
    meaning: str = ""
    version: str | None = None
    known: KnownCode | None = Field(
        default=None, description="Present where a retired code was mapped or the meaning differs from PS3.16's."
    )
    elements: list[Raw] = Field(default_factory=list)


class Amount(Model):
    """A number with its unit."""

    value: float | None = Field(default=None, description="None where no value was given, or it is past a double.")
    text: str | None = Field(default=None, description="The decimal string as sent.")
    unit: CodeValue | None = Field(default=None, description="As a rule a UCUM code.")
    qualifier: CodeValue | None = Field(default=None, description="Why there is no value, or what is odd about it.")
    elements: list[Raw] = Field(default_factory=list)


class ObjectReference(Model):
    """A reference to a DICOM instance."""

    sop_class_uid: str
    sop_instance_uid: str
    elements: list[Raw] = Field(default_factory=list)


class Moment(Model):
    """A DICOM DateTime as sent: precision and offset are what was written."""

    text: str
    precision: str | None = Field(
        default=None, description="year, month, day, hour, minute, second or fraction; None if it is not a DateTime."
    )


class Item(Model):
    """A content item that no row describes, whole (PS3.3 C.17.3)."""

    relationship: str = ""
    value_type: str
    concept: CodeValue | None = None
    text: str | None = None
    code: CodeValue | None = None
    quantity: Amount | None = None
    reference: ObjectReference | None = None
    children: "list[Item]" = Field(default_factory=list)
    observation_datetime: Moment | None = None
    observation_uid: str | None = None
    content_template: str | None = None
    item_elements: list[Raw] = Field(default_factory=list)


class Extras(Model):
    """What any typed item may carry beside its rows, so that nothing that was sent is missing."""

    observation_datetime: Moment | None = None
    observation_uid: str | None = None
    content_template: str | None = None
    other: list[Item] = Field(default_factory=list, description="Children that no row describes.")
    order: list[int] = Field(
        default_factory=list,
        description="Where the children stood, 1-based, in the order in which this object lists them; empty: just so.",
    )
    item_elements: list[Raw] = Field(default_factory=list)


class Child(Extras):
    """A typed child item; `concept` is there where it is not just the row's own code."""

    concept: CodeValue | None = None


class Text(Child):
    """A TEXT or UIDREF item."""

    text: str


class PersonName(Child):
    """A PNAME item: the name with its carets and equals signs, as sent."""

    text: str


class DateTime(Child):
    """A DATETIME item."""

    text: str


class Coded(Child, CodeValue):
    """A CODE item."""


class Quantity(Child, Amount):
    """A NUM item."""


class Reference(Child, ObjectReference):
    """An IMAGE, WAVEFORM or COMPOSITE item."""


class Included(Model):
    """An included template: its items are siblings of the others, so the extras are the parent's."""

    other: list[Item] = Field(default_factory=list, description="Items of this inclusion that no row took.")


def always_published(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Members that whoever writes an entry may leave out, and that are there in all that is published."""
    made = (
        name
        for name, field in model.model_fields.items()
        if name in {"kind", "template"} or isinstance(field.default, CodeValue)
    )
    schema["required"] = [*dict.fromkeys((*made, *schema.get("required", [])))]


class Entry(Extras):
    """A first-level log entry; one that is made takes its template, and its concept where the table names just one."""

    model_config = ConfigDict(json_schema_extra=always_published)

    template: str = Field(default="", description="Template Identifier, digits; 3001 for the Procedure Log's own rows.")

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Defaults that only a kind of entry knows."""
        super().__pydantic_init_subclass__(**kwargs)
        if cls.head is not None:
            fields = cls.__pydantic_fields__
            fields["template"] = copy(fields["template"])
            fields["template"].default = cls.head.identifier
            for field in fields.values():
                declared = field.json_schema_extra
                if isinstance(declared, Row) and declared.role == "concept" and isinstance(declared.concept, Term):
                    term = declared.concept
                    field.default = CodeValue(value=term.value, scheme=term.scheme, meaning=term.meaning)
            cls.model_rebuild(force=True)


# --- what these classes validate, from content items ---

REMEMBERED_CODES, LONGEST_CODE_CHARACTERS = 16_384, 256
"""What was made of codes, about one KiB each: a hospital's codes fit in, and a flood of made-up ones stays small."""
_codes: Final[dict[tuple[object, Code], Any]] = {}
_T = TypeVar("_T")
_PRECISIONS: Final = {4: "year", 6: "month", 8: "day", 10: "hour", 12: "minute", 14: "second"}
_MOMENT: Final = re.compile(r"(\d{4,14})(\.\d{1,6})?([+-]\d{4})?", re.ASCII)


def of_code(code: Code, owner: object, make: Callable[[Code], _T]) -> _T:
    """What an owner makes of a code, which is not to be changed: it is the same for the same code while that is remembered."""
    if code.other:  # may hold lists
        return make(code)
    made: _T | None = _codes.get((owner, code))
    if made is None:
        made = make(code)
        if sum(map(len, code)) <= LONGEST_CODE_CHARACTERS:
            if len(_codes) >= REMEMBERED_CODES:
                _codes.clear()
            _codes[owner, code] = made
    return made


def code_value(code: Code) -> CodeValue:
    """A code as an object, which is not to be changed."""
    return of_code(code, CodeValue, _code_value)


def _code_value(code: Code) -> CodeValue:
    return CodeValue.model_validate(code_members(code))


def code_members(code: Code) -> dict[str, Any]:
    """The members of a `CodeValue`."""
    value, scheme, meaning, version, other = code
    members: dict[str, Any] = {"value": value, "scheme": scheme, "meaning": meaning}
    if version:
        members["version"] = version
    key, standard, retired = known(code)
    if retired or (standard and standard != meaning):
        members["known"] = {"value": key[0], "scheme": key[1], "meaning": standard or meaning}
    if other:
        members["elements"] = raw_elements(other)
    return members


def number(text: str | None) -> float | None:
    """A decimal string as a number, or None where there is none or it is past a double."""
    if text is None or len(text) > 400 or text.strip("0123456789.eE+-"):
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if isfinite(value) else None


def amount(value: Numeric, unit: CodeValue | None = None) -> dict[str, Any]:
    """The members of an `Amount`; its unit, made here unless it is given, is not to be changed."""
    text, units, qualifier, other = value
    if unit is None and units is not None:
        unit = code_value(units)
    members: dict[str, Any] = {"value": number(text)}
    if text is not None:
        members["text"] = text
    if unit is not None:
        members["unit"] = unit
    if qualifier is not None:
        members["qualifier"] = code_value(qualifier)
    if other:
        members["elements"] = raw_elements(other)
    return members


def reference(value: ReferencedSop) -> dict[str, Any]:
    """The members of an `ObjectReference`."""
    members: dict[str, Any] = {"sop_class_uid": value.sop_class_uid, "sop_instance_uid": value.sop_instance_uid}
    if value.other:
        members["elements"] = raw_elements(value.other)
    return members


def precision(text: str) -> str:
    """How far a DateTime goes, from ``year`` to ``fraction``; empty where the text is none (PS3.5 6.2)."""
    if text.isascii() and text.isdigit():
        return _PRECISIONS.get(len(text), "")
    found = _MOMENT.fullmatch(text)
    if not found:
        return ""
    if found[2]:
        return "fraction" if len(found[1]) == 14 else ""
    return _PRECISIONS.get(len(found[1]), "")


def moment(text: str) -> dict[str, Any]:
    """The members of a `Moment`."""
    how = precision(text)
    return {"text": text, "precision": how} if how else {"text": text}


def raw_elements(elements: Sequence[RawElement]) -> list[dict[str, Any]]:
    """The members of `Raw` elements."""
    made = []
    for tag, vr, value in elements:
        members: dict[str, Any] = {"tag": f"{tag:08X}", "vr": vr}
        if isinstance(value, str):
            members["text"] = value
        elif isinstance(value, bytes):
            members["base64"] = b64encode(value).decode()
        else:
            members["items"] = list(map(raw_elements, value))
        made.append(members)
    return made


def add_extras(members: dict[str, Any], item: ContentItem) -> None:
    """Adds what any item may have beside value and children."""
    if item.observation_datetime:
        members["observation_datetime"] = moment(item.observation_datetime)
    if item.observation_uid:
        members["observation_uid"] = item.observation_uid
    if item.template:
        members["content_template"] = item.template
    if item.other:
        members["item_elements"] = raw_elements(item.other)


def whole(item: ContentItem) -> dict[str, Any]:
    """The members of an `Item`: the content item with everything below it."""
    members: dict[str, Any] = {"relationship": item.relationship, "value_type": item.value_type}
    value = item.value
    if item.concept is not None:
        members["concept"] = code_value(item.concept)
    if isinstance(value, str):
        members["text"] = value
    elif isinstance(value, Code):
        members["code"] = code_value(value)
    elif isinstance(value, Numeric):
        members["quantity"] = amount(value)
    elif isinstance(value, ReferencedSop):
        members["reference"] = reference(value)
    if item.children:
        members["children"] = list(map(whole, item.children))
    add_extras(members, item)
    return members


# --- and back ---


def code_of(value: CodeValue) -> Code:
    """A code as it was sent."""
    return Code(value.value, value.scheme, value.meaning, value.version or "", raw(value.elements))


def whole_item(item: Item) -> ContentItem:
    """The content item that `whole` was made from."""
    value: Value = item.text
    for given in (item.code, item.quantity, item.reference):
        if given is not None:
            value = value_of(given)
    concept = code_of(item.concept) if item.concept is not None else None
    children = [whole_item(child) for child in item.children]
    return with_extras(ContentItem(item.relationship, item.value_type, concept, value, children), item)


def value_of(value: Any) -> Value:
    """The value of a content item from a code, number, reference or text."""
    if isinstance(value, Amount):
        return Numeric(
            value.text,
            code_of(value.unit) if value.unit is not None else None,
            code_of(value.qualifier) if value.qualifier is not None else None,
            raw(value.elements),
        )
    if isinstance(value, CodeValue):
        return code_of(value)
    if isinstance(value, ObjectReference):
        return ReferencedSop(value.sop_class_uid, value.sop_instance_uid, raw(value.elements))
    return str(value)


def raw(elements: Sequence[Raw]) -> tuple[RawElement, ...]:
    """Elements that were kept whole."""
    return tuple(RawElement(int(e.tag, 16), e.vr, _raw_value(e)) for e in elements)


def _raw_value(element: Raw) -> "str | bytes | Sequence[Sequence[RawElement]]":
    if element.items is not None:
        return tuple(map(raw, element.items))
    return b64decode(element.base64) if element.base64 is not None else element.text or ""


def with_extras(item: ContentItem, given: Extras | Item) -> ContentItem:
    """The item with what `add_extras` took from it."""
    if given.observation_datetime is not None:
        item.observation_datetime = given.observation_datetime.text
    item.observation_uid = given.observation_uid or ""
    item.template = given.content_template or ""
    item.other = raw(given.item_elements)
    return item
