"""Whether a record is what its published contract says: as the consumer library reads it, and as the schema files describe it."""

import json
from collections.abc import Hashable
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from plscp.records import values as records

SCHEMAS = Path(__file__).parents[2] / "schemas"
_judged: set[tuple[str, Hashable]] = set()


@cache
def validator(kind: str) -> Draft202012Validator:
    """The validator of the checked-in schema of a type."""
    made = json.loads((SCHEMAS / f"{kind}.json").read_text("utf-8"))
    return Draft202012Validator(made, format_checker=Draft202012Validator.FORMAT_CHECKER)


def judge(kind: str, value: bytes) -> Any:
    """The typed record of a value that is valid; AssertionError where it is not.

    The schema has to look at each form only once: which members there are, and of which types.
    """
    try:
        typed = records.read(kind, value)
    except ValueError as error:
        raise AssertionError(f"{error}: {value.decode('utf-8', 'replace')}") from error
    json.loads(typed.model_dump_json(exclude_unset=True))
    plain = json.loads(value)
    seen = (kind, _form(plain))
    if seen not in _judged:
        errors = [f"{error.json_path}: {error.message[:200]}" for error in validator(kind).iter_errors(plain)]
        assert errors == [], value.decode("utf-8", "replace")
        _judged.add(seen)
    return typed


def _form(value: Any) -> Hashable:
    if isinstance(value, dict):
        kept = ("kind", "template", "what", "status", "tag")
        return tuple((name, each if name in kept else _form(each)) for name, each in sorted(value.items()))
    if isinstance(value, list):
        return frozenset(map(_form, value))
    return type(value).__name__
