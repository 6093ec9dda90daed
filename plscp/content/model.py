"""Content items as plscp holds them: what the reader makes from bytes and the templates are matched against (PS3.3 C.17.3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


class RawElement(NamedTuple):
    """An element that plscp does not interpret, kept whole so that nothing a device sent is dropped.

    Attributes:
        tag: group and element as one int.
        vr: as sent, or from the dictionary for implicit VR, or ``UN``.
        value: text for text VRs, the list of items for SQ, the padded bytes in little endian otherwise.
    """

    tag: int
    vr: str
    value: "str | bytes | Sequence[Sequence[RawElement]]"


class Code(NamedTuple):
    """A coded concept as sent (PS3.3 Table 8.8-1). Compare by value and scheme, never by meaning (PS3.16 6.1.8).

    Attributes:
        value: Code Value, Long Code Value or URN Code Value, whichever was sent.
        scheme: Coding Scheme Designator, empty only with a URN Code Value.
        other: the other elements of the code item.
    """

    value: str
    scheme: str
    meaning: str = ""
    version: str = ""
    other: Sequence[RawElement] = ()


class Numeric(NamedTuple):
    """The value of a NUM item (PS3.3 C.18.1).

    Attributes:
        text: Numeric Value (0040,A30A) as sent without padding; None with zero items of Measured Value Sequence.
        other: further elements of the measured value item (floating point, rational).
    """

    text: str | None
    units: Code | None = None
    qualifier: Code | None = None
    other: Sequence[RawElement] = ()


class ReferencedSop(NamedTuple):
    """The value of a COMPOSITE, IMAGE or WAVEFORM item: its Referenced SOP Sequence item."""

    sop_class_uid: str
    sop_instance_uid: str
    other: Sequence[RawElement] = ()


Value = str | Code | Numeric | ReferencedSop | None
"""TEXT, DATETIME, DATE, TIME, PNAME, UIDREF: str as sent without padding; CONTAINER: Continuity Of Content."""


@dataclass(slots=True)
class ContentItem:
    """One content item with its children, by value.

    Attributes:
        relationship: to its parent; empty on the root.
        observation_datetime, observation_uid: as sent, or empty.
        template: Template Identifier of a CONTAINER, or empty.
        digest: a first-level item in canonical form (contract section 1): bytes, equal for equal content in whatever
            transfer syntax or character set.
        other: elements that have no place above, kept whole.
    """

    relationship: str
    value_type: str
    concept: Code | None
    value: Value
    children: "list[ContentItem]" = field(default_factory=list)
    observation_datetime: str = ""
    observation_uid: str = ""
    template: str = ""
    digest: bytes = b""
    other: Sequence[RawElement] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a data set may be at most; past it: 0213H for length, C102 or 0115H for shape (contract section 2, step 5)."""

    data_set: int = 1 << 20
    depth: int = 32
    elements: int = 20_000
    value: int = 1 << 16
