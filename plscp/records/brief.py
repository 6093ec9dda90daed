"""What a typed entry says in a few words, and how much of what: for people, on a line or in a row."""

from collections.abc import Mapping
from typing import Any, Final

DONE: Final = ("event", "action", "type")
WITH: Final = (
    "product_names", "drug", "device", "material", "procedure", "equipment", "text", "person", "specimen", "measurement",
)  # fmt: skip
AMOUNTS: Final = (
    "dose", "mass", "volume", "rate", "inflation_pressure", "diameter", "length", "number_of_frames", "value",
)  # fmt: skip
"""Fields that say most of a typed entry: what was done, with what, how much."""


def said(entry: Mapping[str, Any]) -> str:
    """A typed entry in a few words; by its kind where no field says what was done."""
    kind = str(entry.get("kind", "")).replace("_", " ").capitalize()
    done = [said for name in DONE if (said := word(entry.get(name)))]
    more = [said for name in (*WITH, *AMOUNTS, "site") if (said := word(entry.get(name)))]
    return ", ".join([*(done or [kind]), *more[:3]])


def word(value: Any) -> str:
    """A field's value in a word: the meaning of a code, a quantity with its unit, the first of several."""
    if isinstance(value, list):
        value = value[0] if value else ""
    if not isinstance(value, Mapping):
        return str(value if value is not None else "")
    unit = value.get("unit")
    if isinstance(unit, Mapping):
        short = "" if unit.get("value") == "1" else str(unit.get("value", "")).strip("[]{}")
        return f"{value.get('text', '')} {short}".strip()
    return str(value.get("meaning") or value.get("text") or "")
