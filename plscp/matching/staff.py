"""Changes of operators, planned from what the operators' file, HTTP and the hospital's staff master file say."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from plscp.errors import InvalidBody
from plscp.matching.bodies import OperatorBody, parse
from plscp.matching.model import Operator, Policy
from plscp.matching.operators import Code
from plscp.matching.plan import Plan
from plscp.matching.registry import Registry
from plscp.store.port import RegistryRecord

UNSAID: Final[dict[str, Any]] = {"status": "active", "locations": [], "valid_from": None, "valid_until": None}
"""What holds of an operator about whom nothing more is said: of a row that says all there is, the members that it leaves out."""


def plan_operator(plan: Plan, given: Mapping[str, Any], said_by: str) -> OperatorBody:
    """Plan what a body says about an operator; returns it parsed. Members that are absent stay as they are.

    Args:
        said_by: ``file``, ``http`` or ``hl7``: whose word it is from now on.

    Raises:
        InvalidBody: it is none, or its validity ends before it begins.
    """
    body = parse(OperatorBody, given)
    before = plan.view.operators.known(body.value, body.scheme)
    said: dict[str, Any] = {
        name: getattr(body, name) for name in ("locations", "valid_from", "valid_until") if body.said(name)
    }
    if body.said("status"):
        said["active"] = body.status == "active"
    after = replace(before or Operator(body.value, body.scheme), **said)
    if after.valid_from is not None and after.valid_until is not None and after.valid_until < after.valid_from:
        raise InvalidBody("operator: valid_until lies before valid_from")
    _plan(plan, before, after, said_by)
    return body


def take_out(plan: Plan, value: str, scheme: str, said_by: str) -> None:
    """Plan that an operator may add nothing from now on; what else was said about him is kept."""
    before = plan.view.operators.known(value, scheme)
    _plan(plan, before, replace(before or Operator(value, scheme), active=False), said_by)


def _plan(plan: Plan, before: Operator | None, after: Operator, said_by: str) -> None:
    if before is not None and after == before:
        return  # whoever repeats what is known says nothing
    change = {"what": "operator.changed", **replace(after, said_by=said_by).as_json()}
    code = f"{after.scheme}|{after.value}"
    plan.add(change, None, code, code)


# --- what HTTP says by itself ---


def put_operator(registry: Registry, given: Mapping[str, Any], policy: Policy, now: datetime) -> list[RegistryRecord]:
    """PUT /api/v1/operators/{scheme}/{value}."""
    plan = Plan(registry, policy, now)
    plan_operator(plan, given, "http")
    return plan.records


def delete_operator(registry: Registry, code: Code, policy: Policy, now: datetime) -> list[RegistryRecord]:
    """DELETE /api/v1/operators/{scheme}/{value}: the operator stays known, as taken out."""
    plan = Plan(registry, policy, now)
    take_out(plan, *code, "http")
    return plan.records
