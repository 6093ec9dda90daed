"""Values of content items as members of typed objects (`plscp.templates.values`), and the way back."""

import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from math import isfinite
from typing import Any, Final

from plscp.content.codes import known
from plscp.content.model import Code, ContentItem, Numeric, RawElement, Reference, Value
from plscp.templates.values import Amount, CodeValue, Extras, Item, ObjectReference, Raw


class Memory:
    """Dictionaries of what was made before, that together hold so many entries; then all of them are emptied.

    A hospital's codes fit in, and a flood of made-up ones stays small in all of them.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._count = 0
        self._memos: list[dict[Any, Any]] = []

    def memo(self) -> dict[Any, Any]:
        """One more dictionary, to which only `keep` adds."""
        self._memos.append({})
        return self._memos[-1]

    def keep(self, memo: dict[Any, Any], key: Any, made: Any) -> None:
        """Adds an entry."""
        if self._count >= self.most:
            for each in self._memos:
                each.clear()
            self._count = 0
        self._count += 1
        memo[key] = made

    def __len__(self) -> int:
        return sum(map(len, self._memos))


MEMORY: Final = Memory(16_384)
"""Of what the templates made of codes; an entry is about one KiB."""
LONGEST_KEY_CHARACTERS: Final = 256
"""Of a code that is remembered."""
LONGEST_NAME_CHARACTERS: Final = 16
"""Of a Code String."""
_PRECISIONS: Final = {4: "year", 6: "month", 8: "day", 10: "hour", 12: "minute", 14: "second"}
_MOMENT: Final = re.compile(r"(\d{4,14})(\.\d{1,6})?([+-]\d{4})?", re.ASCII)

_codes: Final[dict[Code, dict[str, Any]]] = MEMORY.memo()


def small(code: Code) -> bool:
    """Whether a code may be remembered: bounded in size, and hashable."""
    return (
        not code.other
        and len(code.value) + len(code.scheme) + len(code.meaning) + len(code.version) <= LONGEST_KEY_CHARACTERS
    )


def short_names(*names: str) -> bool:
    """Whether relationships and value types may be remembered: what a device made up may be as long as any value."""
    return all(len(name) <= LONGEST_NAME_CHARACTERS for name in names)


def code_value(code: Code) -> dict[str, Any]:
    """The members of a `CodeValue`; the same dictionary for the same code, which is not to be changed."""
    if code.other:
        return code_members(code)
    made = _codes.get(code)
    if made is None:
        made = code_members(code)
        if small(code):
            MEMORY.keep(_codes, code, made)
    return made


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


def amount(value: Numeric, unit: dict[str, Any] | None) -> dict[str, Any]:
    """The members of an `Amount`."""
    text, _, qualifier, other = value
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


def reference(value: Reference) -> dict[str, Any]:
    """The members of an `ObjectReference`."""
    members: dict[str, Any] = {"sop_class_uid": value.sop_class_uid, "sop_instance_uid": value.sop_instance_uid}
    if value.other:
        members["elements"] = raw_elements(value.other)
    return members


def precision(text: str) -> str:
    """How far a DateTime goes, from ``year`` to ``fraction``; empty where the text is none (PS3.5 6.2)."""
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
    return [{"tag": f"{tag:08X}", "vr": vr, **_raw_member(value)} for tag, vr, value in elements]


def _raw_member(value: "str | bytes | Sequence[Sequence[RawElement]]") -> dict[str, Any]:
    if isinstance(value, str):
        return {"text": value}
    if isinstance(value, bytes):
        return {"base64": b64encode(value).decode()}
    return {"items": list(map(raw_elements, value))}


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
        members["quantity"] = amount(value, code_value(value.units) if value.units is not None else None)
    elif isinstance(value, Reference):
        members["reference"] = reference(value)
    if item.children:
        members["children"] = list(map(whole, item.children))
    add_extras(members, item)
    return members


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
        return Reference(value.sop_class_uid, value.sop_instance_uid, raw(value.elements))
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
