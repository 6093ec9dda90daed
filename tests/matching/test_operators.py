"""Operators as feeds say them: the policy that step 9 asks is that of the decision's registry (PS3.4 P.3, contract section 3)."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from plscp.errors import InvalidBody
from plscp.matching import changes
from plscp.matching.model import Device, Operator
from plscp.matching.plan import Plan
from tests.matching.world import NOON, World

LISTED = [Operator("N1001", "L"), Operator("N2002", "L")]
AT_LAB1, AT_LAB2 = Device("PUMP", ("LAB1",)), Device("PUMP", ("LAB2",))
ALLOWED, REFUSED = 0x0000, 0xC10E


@pytest.fixture
def hospital(world: World) -> World:
    """One patient."""
    world.patient("P1")
    return world


def put(world: World, value: str, **said: Any) -> list[str]:
    """PUT an operator; returns what changed."""
    return [
        record.change["what"] for record in world.plan(changes.put_operator, {"value": value, "scheme": "L", **said})
    ]


def asked(world: World, value: str, device: Device = AT_LAB1, scheme: str = "L", **more: Any) -> int:
    """The status of an administration by one operator, where the settings list two."""
    return world.administer("P1", operators=[(value, scheme)], allowed=LISTED, device=device, **more).status


def test_whoever_a_feed_names_is_allowed_beside_the_settings_list(hospital: World) -> None:
    """The policy in force is both together, by code and scheme."""
    assert [asked(hospital, value) for value in ("N1001", "N7007")] == [ALLOWED, REFUSED]
    put(hospital, "N7007")
    assert [asked(hospital, value) for value in ("N1001", "N7007")] == [ALLOWED, ALLOWED]
    assert asked(hospital, "N7007", scheme="99HOSP") == REFUSED
    assert asked(hospital, " N7007 ", scheme=" L") == ALLOWED


def test_who_is_taken_out_is_refused_also_where_the_settings_list_the_code(hospital: World) -> None:
    """What a feed says of a code goes before the settings; taken in again, it counts again."""
    hospital.plan(changes.delete_operator, ("N1001", "L"))
    assert [asked(hospital, value) for value in ("N1001", "N2002")] == [REFUSED, ALLOWED]
    assert put(hospital, "N1001", locations=["LAB1"]) == ["operator.changed"]
    assert asked(hospital, "N1001") == REFUSED, "nothing was said of its status"
    put(hospital, "N1001", status="active")
    assert [asked(hospital, "N1001", device) for device in (AT_LAB1, AT_LAB2)] == [ALLOWED, REFUSED]


def test_a_policy_that_allows_anyone_asks_nobody(hospital: World) -> None:
    """Without a list of the settings, who was taken out may still add."""
    hospital.plan(changes.delete_operator, ("N1001", "L"))
    assert hospital.administer("P1", operators=[("N1001", "L")], allowed=None).status == ALLOWED


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"valid_from": NOON.isoformat()}, ALLOWED),
        ({"valid_from": "2024-05-14T12:00:00"}, ALLOWED),  # without offset: UTC
        ({"valid_from": "2024-05-14T12:00:01+00:00"}, REFUSED),
        ({"valid_until": "2024-05-14T12:00:00Z"}, ALLOWED),
        ({"valid_until": "2024-05-14T13:59:59+02:00"}, REFUSED),
        ({"locations": ["CATH^LAB1"]}, ALLOWED),
        ({"locations": ["LAB2"]}, REFUSED),
        ({"status": "inactive"}, REFUSED),
    ],
)
def test_validity_period_and_locations(hospital: World, said: dict[str, Any], expected: int) -> None:
    """At noon, from a device of LAB1."""
    put(hospital, "N7007", **said)
    assert asked(hospital, "N7007") == expected


def test_saying_the_same_again_changes_nothing(hospital: World) -> None:
    """Nor does it make it the word of another feed."""
    assert put(hospital, "N7007", locations=["LAB1"], valid_from="2024-05-14T12:00:00Z") == ["operator.changed"]
    assert put(hospital, "N7007", locations=["LAB1"], valid_from="2024-05-14T14:00:00+02:00") == []
    assert put(hospital, "N7007") == []
    plan = Plan(hospital.registry, hospital.policy, hospital.now)
    changes.plan_operator(plan, {"value": "N7007", "scheme": "L"}, "hl7")
    assert plan.records == []
    [known] = hospital.registry.operators.all()
    assert known == replace(known, locations=("LAB1",), valid_from=NOON, said_by="http")


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"scheme": ""}, "operator: scheme: must have a value"),
        ({"scheme": "L" * 17}, "operator: scheme: at most 16 characters"),
        ({"status": "away"}, "operator: status: Input should be 'active' or 'inactive'"),
        ({"validfrom": None}, "operator: unknown key validfrom: did you mean valid_from?"),
        ({"valid_from": "soon"}, "operator: valid_from: not a time such as"),
        ({"valid_until": "0001-01-01T00:00:00+14:00"}, "operator: valid_until: not a time such as"),
        ({"valid_from": "9999-12-31T23:00:00-14:00"}, "operator: valid_from: not a time such as"),
        (
            {"valid_from": NOON.isoformat(), "valid_until": (NOON - timedelta(seconds=1)).isoformat()},
            "operator: valid_until lies before valid_from",
        ),
    ],
)
def test_what_is_no_operator_is_refused(hospital: World, said: dict[str, Any], fault: str) -> None:
    """With one line; nothing is planned."""
    with pytest.raises(InvalidBody) as caught:
        put(hospital, "N7007", **said)
    assert str(caught.value).startswith(fault)


def test_a_restart_knows_them(hospital: World) -> None:
    """The changes in the store make the same operators."""
    put(hospital, "N7007", locations=["LAB1"], valid_until="2024-05-14T13:00:00Z")
    hospital.plan(changes.delete_operator, ("N1001", "L"))
    again = World()
    for entry in hospital.log:
        again.registry.apply(*entry)
    assert again.registry.operators.all() == hospital.registry.operators.all()
    with pytest.raises(ValueError, match="not known to this version"):
        again.registry.apply(99, 0, {"what": "operator.sung"})
