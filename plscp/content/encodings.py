"""How bytes are to be read: transfer syntaxes' encodings, the memory of bytes read before, and faults with their places."""

from struct import Struct
from typing import Any, Final, NamedTuple

from plscp.content.charset import CharacterSet
from plscp.content.elements import CONTENT_SEQUENCE, tag_text
from plscp.findings import Finding

_MEMORY: Final = 2 << 20


class Memory:
    """Bytes read before, and what they were: one table for all requests, emptied when it is full.

    A key starts with character set and encoding, which decide what the bytes mean.
    """

    def __init__(self) -> None:
        self.table: dict[bytes, Any] = {}
        self.size = 0

    def keep(self, key: bytes, found: Any) -> None:
        """Remembers what bytes are."""
        self.size += len(key)
        if self.size > _MEMORY:
            self.table.clear()
            self.size = len(key)
        self.table[key] = found


memory: Final = Memory()


class Form(NamedTuple):
    """An encoding."""

    name: bytes
    explicit: bool
    big: bool
    head: Any
    """Explicit: group, element, VR, length of two bytes; implicit: group, element, length."""
    length: Any
    item: Any
    """Group, element and length of what has no VR."""


def _form(name: bytes, order: str, *, explicit: bool) -> Form:
    return Form(
        name, explicit, order == ">",
        Struct(f"{order}HH2sH" if explicit else f"{order}HHI").unpack_from,
        Struct(f"{order}I").unpack_from,
        Struct(f"{order}HHI").unpack_from,
    )  # fmt: skip


IMPLICIT: Final = _form(b"i", "<", explicit=False)
LITTLE: Final = _form(b"e", "<", explicit=True)
BIG: Final = _form(b"b", ">", explicit=True)


class Where(NamedTuple):
    """How the bytes at some place are to be read.

    Attributes:
        form: the encoding.
        charset: that of the item around, which holds unless an item has its own (PS3.3 C.12.1.1.2).
        key: what the memory's keys start with; empty where nothing is remembered.
    """

    form: Form
    charset: CharacterSet
    key: bytes


class Fault(Exception):
    """The data set cannot be read; `steps` collects (sequence, item number) on the way out.

    Attributes:
        bound: it is past a bound, rather than broken.
    """

    def __init__(self, code: str, reason: str, tag: int = 0, *, bound: bool = False) -> None:
        super().__init__(reason)
        self.note = Note(code, reason, tag, [])
        self.bound = bound


class Note(NamedTuple):
    """Something odd, with its place from the inside out."""

    code: str
    reason: str
    tag: int
    steps: list[tuple[int, int]]

    def finding(self, *, refuse: bool) -> Finding:
        """The note as a finding; its path is a content item's position where it lies in one, else the outermost tag."""
        positions: list[str] = []
        for tag, number in reversed(self.steps):
            if tag != CONTENT_SEQUENCE:
                break
            positions.append(str(number))
        first = self.steps[-1][0] if self.steps else self.tag
        place = ".".join(positions) or (tag_text(first) if first else "")
        return Finding(self.code, self.reason, place, refuse=refuse)
