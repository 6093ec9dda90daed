"""Whether readers of a released schema can read what a newer one describes.

Both are JSON Schemas of the same CloudEvents type. What is published may become narrower, and objects may get members; all
else would surprise somebody who reads by the released schema.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

Schema = Mapping[str, Any]

_LIMITS: Final = ("pattern", "format", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


class Break(NamedTuple):
    """A change that breaks readers.

    Attributes:
        field: where, as in ``entry(drug_administered).dose.unit``; empty is the value itself.
        change: what happened to it.
    """

    field: str
    change: str


def breaks(released: Schema, new: Schema) -> list[Break]:
    """Every change from one schema to another that breaks readers of the first, in the order of its fields."""
    return list(dict.fromkeys(_Comparison(released, new).compare(released, new, "")))


class _Comparison:
    def __init__(self, released: Schema, new: Schema) -> None:
        self._defs = (released.get("$defs", {}), new.get("$defs", {}))
        self._done: set[tuple[str, str]] = set()

    def compare(self, old: Schema, new: Schema, field: str) -> Iterator[Break]:
        """What breaks at a field and below."""
        pair = (_reference(old), _reference(new))
        if all(pair):
            if pair in self._done:
                return
            self._done.add(pair)
        if "default" in old and "default" in new and old["default"] != new["default"]:
            yield Break(field, f"means {new['default']!r} where it is left out, was {old['default']!r}")
        before, after = self._alternatives(old, 0), self._alternatives(new, 1)
        for gone in before.keys() - after.keys():
            # A value that is written down anew under another name is still the same value.
            fresh = [name for name in after if name not in before and "null" not in {name, gone}]
            if len(fresh) == 1 and len(before.keys() - after.keys() - {"null"}) == 1:
                after[gone] = after.pop(fresh[0])
        several = len(before.keys() - {"null"}) > 1
        for name, one in before.items():
            place = f"{field}({name})" if several else field
            if name in after:
                yield from self._one(one, after[name], place)
            elif name != "null":
                yield Break(place, "was removed")
        added = sorted(after.keys() - before.keys())
        # What is told apart by its `kind` is made to grow: readers pass over kinds that they do not know.
        if added and not all("const" in one.get("properties", {}).get("kind", {}) for one in before.values()):
            yield Break(field, f"may be {', '.join(added)} now")

    def _one(self, old: Schema, new: Schema, field: str) -> Iterator[Break]:
        before, after = old.get("type"), new.get("type")
        if before is not None and after != before and (before, after) != ("number", "integer"):
            yield Break(field, f"is {after or 'anything'} now, was {before}")
            return
        yield from _values(old, new, field)
        required = new.get("required", ())
        there = new.get("properties", {})
        for name, member in old.get("properties", {}).items():
            place = f"{field}.{name}" if field else name
            if name not in there:
                yield Break(place, "was removed")
                continue
            if name in old.get("required", ()) and name not in required:
                yield Break(place, "may be left out now, was always there")
            yield from self.compare(member, there[name], place)
        for below, sign in (("items", "[]"), ("additionalProperties", ".*")):
            if isinstance(old.get(below), dict):
                inner = new.get(below)
                yield from self.compare(old[below], inner if isinstance(inner, dict) else {}, f"{field}{sign}")

    def _alternatives(self, schema: Schema, side: int) -> dict[str, Schema]:
        """What a value may be, by its `kind`, name or type; a choice within a choice counts as one."""
        if reference := _reference(schema):
            schema = self._defs[side].get(reference.rpartition("/")[2], {})
        choices = [one for choice in ("oneOf", "anyOf") for one in schema.get(choice, ())]
        if not choices:
            kind = schema.get("properties", {}).get("kind", {}).get("const")
            return {str(kind or schema.get("title") or schema.get("type") or "anything"): schema}
        found: dict[str, Schema] = {}
        for one in choices:
            found |= self._alternatives(one, side)
        return found


def _reference(schema: Schema) -> str:
    """The class that a schema names, be it beside a description of the member; empty where it names none."""
    return str(schema.get("$ref") or next((one.get("$ref", "") for one in schema.get("allOf", ())), ""))


def _values(old: Schema, new: Schema, field: str) -> Iterator[Break]:
    before, after = _allowed(old), _allowed(new)
    if before is not None and (after is None or after - before):
        shown = "anything" if after is None else ", ".join(sorted(after - before))
        yield Break(field, f"may be {shown} now, was {' or '.join(sorted(before))}")
    for limit in _LIMITS:
        if limit in old and new.get(limit) != old[limit]:
            yield Break(field, f"{limit} {old[limit]} became {new.get(limit, 'none')}")


def _allowed(schema: Schema) -> set[str] | None:
    if "const" in schema:
        return {repr(schema["const"])}
    return {repr(value) for value in schema["enum"]} if "enum" in schema else None
