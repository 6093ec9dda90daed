"""Pieces of JSON text for codes, numbers, references and whole content items: the published form of `plscp.templates.values`.

Text is put together instead of building objects to serialise: this runs for every item of every request.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from json.encoder import encode_basestring
from math import isfinite
from typing import Final

from plscp.content.codes import known
from plscp.content.model import Code, ContentItem, Numeric, RawElement, Reference

MEMO: Final = 4096
"""Entries of a memo before it is emptied: enough for every code of a hospital, small against a flood of made-up ones."""

quoted: Final = encode_basestring
"""A JSON string in quotation marks; characters beyond ASCII stay as they are."""

_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_PRECISIONS: Final = {4: "year", 6: "month", 8: "day", 10: "hour", 12: "minute", 14: "second"}
_MOMENT: Final = re.compile(r"(\d{4,14})(\.\d{1,6})?([+-]\d{4})?", re.ASCII)

_codes: dict[Code, str] = {}


def small(code: Code) -> bool:
    """Whether a code may stand in a memo: bounded in size, and hashable."""
    return not code.other and len(code.value) + len(code.scheme) + len(code.meaning) + len(code.version) <= 256


def code_members(code: Code) -> str:
    """The members of a `CodeValue`, without braces."""
    if not code.other:
        members = _codes.get(code)
        if members is not None:
            return members
    members = f'"value":{quoted(code.value)},"scheme":{quoted(code.scheme)},"meaning":{quoted(code.meaning)}'
    if code.version:
        members += f',"version":{quoted(code.version)}'
    key, meaning, retired = known(code)
    if retired or (meaning and meaning != code.meaning):
        members += f',"known":{{"value":{quoted(key[0])},"scheme":{quoted(key[1])},"meaning":{quoted(meaning or code.meaning)}}}'
    if code.other:
        members += f',"elements":{raw_elements(code.other)}'
    elif small(code):
        if len(_codes) >= MEMO:
            _codes.clear()
        _codes[code] = members
    return members


def number(text: str | None) -> str:
    """A decimal string as a JSON number, or null where there is none or it is past a double."""
    if text is None or len(text) > 400 or not _NUMBER.fullmatch(text):
        return "null"
    value = float(text)
    return repr(value) if isfinite(value) else "null"


def amount_members(value: Numeric, unit: str | None = None) -> str:
    """The members of an `Amount`, without braces.

    Args:
        value: the NUM item's value.
        unit: the members of its unit where the caller has them.
    """
    text, units, qualifier, other = value
    members = f'"value":{number(text)}'
    if text is not None:
        members += f',"text":{quoted(text)}'
    if units is not None:
        members += f',"unit":{{{unit or code_members(units)}}}'
    if qualifier is not None:
        members += f',"qualifier":{{{code_members(qualifier)}}}'
    if other:
        members += f',"elements":{raw_elements(other)}'
    return members


def reference_members(value: Reference) -> str:
    """The members of an `ObjectReference`, without braces."""
    members = f'"sop_class_uid":{quoted(value.sop_class_uid)},"sop_instance_uid":{quoted(value.sop_instance_uid)}'
    return members + f',"elements":{raw_elements(value.other)}' if value.other else members


def precision(text: str) -> str:
    """How far a DateTime goes, from ``year`` to ``fraction``; empty where the text is none (PS3.5 6.2)."""
    found = _MOMENT.fullmatch(text)
    if not found:
        return ""
    if found[2]:
        return "fraction" if len(found[1]) == 14 else ""
    return _PRECISIONS.get(len(found[1]), "")


def moment(text: str) -> str:
    """A `Moment` object."""
    how = precision(text)
    return f'{{"text":{quoted(text)},"precision":"{how}"}}' if how else f'{{"text":{quoted(text)}}}'


def raw_elements(elements: Sequence[RawElement]) -> str:
    """A list of `Raw` objects."""
    return "[" + ",".join(map(_raw, elements)) + "]"


def _raw(element: RawElement) -> str:
    tag, vr, value = element
    head = f'{{"tag":"{tag:08X}","vr":{quoted(vr)}'
    if isinstance(value, str):
        return f'{head},"text":{quoted(value)}}}'
    if isinstance(value, bytes):
        return f'{head},"base64":"{b64encode(value).decode()}"}}'
    return f'{head},"items":[{",".join(map(raw_elements, value))}]}}'


def value_member(value: object) -> str:
    """The member of an `Item` that holds its value, with a comma before it; empty where there is none."""
    if isinstance(value, str):
        return f',"text":{quoted(value)}'
    if isinstance(value, Code):
        return f',"code":{{{code_members(value)}}}'
    if isinstance(value, Numeric):
        return f',"quantity":{{{amount_members(value)}}}'
    if isinstance(value, Reference):
        return f',"reference":{{{reference_members(value)}}}'
    return ""


def extras(item: ContentItem) -> str:
    """The members that any item may have beside value and children, each with a comma before it."""
    members = ""
    if item.observation_datetime:
        members += f',"observation_datetime":{moment(item.observation_datetime)}'
    if item.observation_uid:
        members += f',"observation_uid":{quoted(item.observation_uid)}'
    if item.template:
        members += f',"content_template":{quoted(item.template)}'
    if item.other:
        members += f',"item_elements":{raw_elements(item.other)}'
    return members


def whole(item: ContentItem) -> str:
    """An `Item` object: the content item with everything below it."""
    head = f'{{"relationship":{quoted(item.relationship)},"value_type":{quoted(item.value_type)}'
    if item.concept is not None:
        head += f',"concept":{{{code_members(item.concept)}}}'
    children = f',"children":[{",".join(map(whole, item.children))}]' if item.children else ""
    return head + value_member(item.value) + children + extras(item) + "}"


def encoded(text: str) -> bytes:
    """JSON text as UTF-8; a lone surrogate, which no character set gives, as its escape."""
    return text.encode("utf-8", "backslashreplace")
