"""Operators over a real association: a change that is acknowledged is seen by every later decision."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from plscp.matching import changes
from plscp.matching.registry import Registry
from plscp.statuses import SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.store.port import Draft, RegistryRecord, RequestRecord
from tests import events
from tests.service.conftest import POLICY, Running

NURSE = ("N1001", "L", "Nurse")
Plan = Callable[[Registry], list[RegistryRecord]]


def out(value: str) -> Plan:
    """That an operator is taken out."""
    return lambda registry: changes.delete_operator(registry, (value, "L"), POLICY, datetime.now(UTC))


def put(value: str, **said: Any) -> Plan:
    """What is said about an operator."""
    return lambda registry: changes.put_operator(
        registry, {"value": value, "scheme": "L", **said}, POLICY, datetime.now(UTC)
    )


def test_who_was_taken_out_and_acknowledged_is_refused_and_who_was_taken_in_is_not(ours: Running) -> None:
    """On one association, which goes on meanwhile."""
    ours.patient("P1")
    with ours.scu("TABLET") as scu:

        def administer(operator: tuple[str, str, str] = NURSE) -> int:
            wire = events.encoded(events.substance(events.now(), patient="P1", operator=operator))
            return scu.request(SUBSTANCE_ADMINISTRATION_LOGGING, wire).status

        assert administer() == 0
        ours.change(out("N1001"))
        assert administer() == 0xC10E
        assert administer(("N7007", "L", "New")) == 0xC10E
        ours.change(put("N7007", locations=["LAB1"]))
        assert administer(("N7007", "L", "New")) == 0
        ours.change(put("N1001", status="active"))
        assert administer() == 0


def test_who_is_taken_out_while_a_decision_is_under_way_is_refused(ours: Running) -> None:
    """The change is acknowledged after the decision was made and before it was stored: it is made again."""
    ours.patient("P1")
    submit = ours.store.submit
    decided: list[int] = []

    def late(draft: Draft) -> None:
        if isinstance(draft, RequestRecord) and not decided:
            decided.append(draft.decision.status)
            ours.keeper.begin(out("N1001"), "http", lambda _: submit(draft))
        else:
            submit(draft)

    ours.store.submit = late  # type: ignore[method-assign]
    with ours.scu("TABLET") as scu:
        wire = events.encoded(events.substance(events.now(), patient="P1"))
        assert scu.request(SUBSTANCE_ADMINISTRATION_LOGGING, wire).status == 0xC10E
    assert decided == [0]
