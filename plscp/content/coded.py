"""Codes: items of the Code Sequence Macro (PS3.3 Table 8.8-1)."""

from typing import Final

from plscp.content.elements import Element, Item, Undecoded, raw, tag_text
from plscp.content.model import Code
from plscp.content.report import Report
from plscp.content.syntax import is_line

CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE = 0x00080100, 0x00080119, 0x00080120
SCHEME, VERSION, MEANING = 0x00080102, 0x00080103, 0x00080104
_PLACED: Final = frozenset({CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE, SCHEME, VERSION, MEANING})
_ABSENT: Final[Element] = ("", "")


def one_code(element: Element | None, tag: int, path: str, report: Report, *, required: bool = True) -> Code | None:
    """The code of a sequence that has exactly one item.

    Args:
        element: the sequence, or None where it is absent.
        tag: its tag, named where it is wrong.
        path: of the content item, for findings.
        required: whether it may be absent.
    """
    if element is None:
        if required:
            report.refuse("code-missing", f"missing code sequence {tag_text(tag)}", path)
        return None
    items = element[1]
    if type(items) is not list or len(items) != 1:
        report.refuse("code-items", f"not one item in {tag_text(tag)}", path)
        if type(items) is not list or not items:
            return None
    item = items[0]
    return item.code or _code(item, path, report)


def _code(item: Item, path: str, report: Report) -> Code | None:
    elements = item.elements
    before = report.count
    given = [text for tag in (CODE_VALUE, LONG_CODE_VALUE, URN_CODE_VALUE) if (text := _text(elements, tag))]
    scheme, meaning = _text(elements, SCHEME), _text(elements, MEANING)
    if len(given) != 1:
        reason = "code item without code value" if not given else "code item with several code values"
        report.refuse("code-value", reason, path)
    elif not is_line(given[0], 16 if CODE_VALUE in elements else len(given[0])):
        report.refuse("code-value", "code value too long or with control characters", path)
    if not scheme and not _text(elements, URN_CODE_VALUE):
        report.refuse("code-scheme", "code item without coding scheme designator", path)
    elif scheme and not is_line(scheme, 16):
        report.refuse("code-scheme", "coding scheme designator is not valid", path)
    if not meaning:
        report.refuse("code-meaning", "code item without code meaning", path)
    elif not is_line(meaning, 64):
        report.refuse("code-meaning", "code meaning too long or with control characters", path)
    other = tuple(
        raw(tag, element)
        for tag, element in sorted(elements.items())
        if tag not in _PLACED or isinstance(element[1], Undecoded)
    )
    if not given:
        return None
    made = Code(given[0], scheme, meaning, _text(elements, VERSION), other)
    if report.count == before and not item.faulty:
        item.code = made
    return made


def _text(elements: dict[int, Element], tag: int) -> str:
    value = elements.get(tag, _ABSENT)[1]
    return str(value).strip(" ") if isinstance(value, str) else ""
