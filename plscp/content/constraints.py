"""Table A.35.7-2 of PS3.3 and what else A.35.7.3.1 says about relationships, as tables."""

from itertools import product
from typing import Final

RELATIONSHIPS: Final = frozenset(
    {
        "CONTAINS",
        "HAS PROPERTIES",
        "HAS OBS CONTEXT",
        "HAS ACQ CONTEXT",
        "INFERRED FROM",
        "SELECTED FROM",
        "HAS CONCEPT MOD",
    }
)
"""Relationship Type (0040,A010), Table C.17-6."""

VALUE_TYPES: Final = (
    "TEXT", "CODE", "NUM", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME", "COMPOSITE", "IMAGE", "WAVEFORM", "CONTAINER",
)  # fmt: skip
"""A.35.7.3.1.3: those that a Procedure Log may use."""

_ANY: Final = VALUE_TYPES
_ITEMS: Final = VALUE_TYPES[:-1]

# Source value types | relationship | target value types
_TABLE: Final = (
    (("CONTAINER",), "CONTAINS", ("TEXT", "CODE", "NUM", "PNAME", "COMPOSITE", "IMAGE", "WAVEFORM")),
    (_ANY, "HAS OBS CONTEXT", ("TEXT", "CODE", "NUM", "DATETIME", "UIDREF", "PNAME")),
    (
        ("CONTAINER", "IMAGE", "WAVEFORM", "COMPOSITE"),
        "HAS ACQ CONTEXT",
        ("TEXT", "CODE", "NUM", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME"),
    ),
    (_ANY, "HAS CONCEPT MOD", ("TEXT", "CODE")),
    (_ITEMS, "HAS PROPERTIES", ("TEXT", "CODE", "NUM", "DATETIME", "UIDREF", "PNAME")),
    (("TEXT", "CODE", "NUM"), "INFERRED FROM", ("IMAGE", "WAVEFORM", "COMPOSITE")),
)

# Rows of PS3.16 that the table does not allow: noted, never refused.
_TEMPLATES: Final = (
    (("CODE", "TEXT"), "HAS PROPERTIES", ("IMAGE",)),  # TID 3108 row 8, TID 3105 row 13
    (("CODE",), "HAS ACQ CONTEXT", ("TEXT", "CODE", "NUM", "DATETIME", "DATE", "TIME", "UIDREF", "PNAME")),  # TID 3112
    (_ANY, "HAS OBS CONTEXT", ("DATE", "COMPOSITE")),  # TID 1007 row 4, TID 1000 row 2
    (("TEXT", "CODE", "NUM"), "INFERRED FROM", ("TEXT", "CODE", "NUM")),  # TID 300
    (("PNAME", "IMAGE", "WAVEFORM", "COMPOSITE"), "INFERRED FROM", ("IMAGE", "WAVEFORM", "COMPOSITE")),  # TID 3010
)

Triple = tuple[str, str, str]


def _triples(table: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...]) -> frozenset[Triple]:
    return frozenset(triple for sources, name, targets in table for triple in product(sources, (name,), targets))


ALLOWED: Final = _triples(_TABLE)
"""(source value type, relationship, target value type) of Table A.35.7-2."""
CONTRADICTED: Final = _triples(_TEMPLATES) - ALLOWED
"""What templates prescribe although the table does not allow it."""
