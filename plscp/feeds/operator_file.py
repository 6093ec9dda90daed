"""The operators' file: who may add to the Medication Administration Record. Read as the registry file is; only differences are changes."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from plscp.errors import InvalidBody
from plscp.feeds.registry_file import Entry, Planned, plain, plan_rows, tables
from plscp.matching.model import Policy
from plscp.matching.operators import Code
from plscp.matching.plan import Plan
from plscp.matching.registry import Registry
from plscp.matching.staff import UNSAID, plan_operator, take_out

_SECTION: Final = "operators"


def apply_operators(
    registry: Registry, previous: Mapping[str, Any] | None, current: Mapping[str, Any], policy: Policy, now: datetime
) -> Planned:
    """Plan what a new content of the operators' file changes: all of it, or nothing where one row cannot be taken.

    A row says all that holds of its operator; an operator who is no longer listed is taken out. What has not changed in the file
    changes nothing, whatever HTTP and HL7 have said since.

    Args:
        previous: the content before, or None for what the registry last read.
        current: the file as `tomllib` reads it.

    Raises:
        InvalidBody: the file has a section that it may not have, or one that is no list of tables.
    """
    plan = Plan(registry, policy, now)
    said = {_SECTION: registry.operators.file} if previous is None else previous
    before, after = _indexed(said), _indexed(current)
    changed = [
        (f"{_SECTION} {number}", partial(plan_operator, plan, UNSAID | row, "file"))
        for number, (code, row) in enumerate(after.items(), 1)
        if row != before.get(code)
    ]
    refused, warnings = plan_rows(plan, changed)
    if refused:
        return Planned([], refused, warnings)
    for code in before:
        if code not in after:
            take_out(plan, *code, "file")
    rows = list(after.values())
    if rows != list(registry.operators.file):
        plan.add({"what": "operator.file", "content": rows}, None, "", "")
    return Planned(plan.records, [], warnings)


def _indexed(content: Mapping[str, Any]) -> dict[Code, Entry]:
    """The rows by their codes; of those that share one, or have none, each has a key of its own and is refused by what it is."""
    for name in content:
        if name != _SECTION:
            raise InvalidBody(f"operators' file: {name!r} is not {_SECTION}")
    indexed: dict[Code, Entry] = {}
    for number, row in enumerate(tables(content, _SECTION, "operators' file"), 1):
        value, scheme = (str(row.get(name, "")).strip(" ") for name in ("value", "scheme"))
        if (value, scheme) in indexed:
            raise InvalidBody(
                f"operators' file: {_SECTION} {number}: the code stands in a row before: one row says all of it"
            )
        indexed[value, scheme] = plain(row)
    return indexed
