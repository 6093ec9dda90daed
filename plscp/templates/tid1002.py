"""Observer Context: who reports (PS3.16 TID 1002, 1003, 1004)."""

from collections.abc import Sequence
from typing import ClassVar

from plscp.content.codes import known
from plscp.content.model import Code, ContentItem
from plscp.templates.rows import (
    CODE,
    HAS_OBS_CONTEXT,
    MC,
    PNAME,
    TEXT,
    UIDREF,
    Condition,
    M,
    Template,
    U,
    bcid,
    dcid,
    dcm,
    include,
    row,
)
from plscp.templates.values import Coded, Included, PersonName, Text

OBSERVER_TYPE = dcm("121005", "Observer Type")


def _observer_type(siblings: Sequence[ContentItem]) -> str:
    for item in siblings:
        if isinstance(item.value, Code) and item.concept and item.concept[:2] == ("121005", "DCM"):
            return known(item.value).key[0]
    return "121006"


def _is_person(_parent: ContentItem | None, siblings: Sequence[ContentItem]) -> bool:
    return _observer_type(siblings) == "121006"


def _is_device(_parent: ContentItem | None, siblings: Sequence[ContentItem]) -> bool:
    return _observer_type(siblings) == "121007"


class PersonRole(Coded):
    """TID 1003 row 4 with the rows below it."""

    identifier: Text | None = row(
        "5", ">", HAS_OBS_CONTEXT, TEXT, dcm("128775", "Identifier within Person Observer's Role"), "1", U
    )


class PersonObserver(Included):
    """TID 1003 Person Observer Identifying Attributes."""

    head: ClassVar[Template] = Template("1003", "Person Observer Identifying Attributes", extensible=False)

    name: PersonName | None = row("1", "", HAS_OBS_CONTEXT, PNAME, dcm("121008", "Person Observer Name"), "1", M)
    login_name: Text | None = row(
        "1a", "", HAS_OBS_CONTEXT, TEXT, dcm("128774", "Person Observer's Login Name"), "1", U
    )
    organization: Text | None = row(
        "2", "", HAS_OBS_CONTEXT, TEXT, dcm("121009", "Person Observer's Organization Name"), "1", U
    )
    role_in_organization: Coded | None = row(
        "3", "", HAS_OBS_CONTEXT, CODE, dcm("121010", "Person Observer's Role in the Organization"), "1", U, bcid(7452)
    )
    role_in_procedure: PersonRole | None = row(
        "4", "", HAS_OBS_CONTEXT, CODE, dcm("121011", "Person Observer's Role in this Procedure"), "1", U, bcid(7453)
    )


class DeviceObserver(Included):
    """TID 1004 Device Observer Identifying Attributes."""

    head: ClassVar[Template] = Template("1004", "Device Observer Identifying Attributes", extensible=False)

    uid: Text | None = row("1", "", HAS_OBS_CONTEXT, UIDREF, dcm("121012", "Device Observer UID"), "1", M)
    name: Text | None = row("2", "", HAS_OBS_CONTEXT, TEXT, dcm("121013", "Device Observer Name"), "1", U)
    manufacturer: Text | None = row(
        "3", "", HAS_OBS_CONTEXT, TEXT, dcm("121014", "Device Observer Manufacturer"), "1", U
    )
    model_name: Text | None = row("4", "", HAS_OBS_CONTEXT, TEXT, dcm("121015", "Device Observer Model Name"), "1", U)
    serial_number: Text | None = row(
        "5", "", HAS_OBS_CONTEXT, TEXT, dcm("121016", "Device Observer Serial Number"), "1", U
    )
    location: Text | None = row(
        "6", "", HAS_OBS_CONTEXT, TEXT, dcm("121017", "Device Observer Physical Location During Observation"), "1", U
    )
    roles: list[Coded] = row(
        "7", "", HAS_OBS_CONTEXT, CODE, dcm("113876", "Device Role in Procedure"), "1-n", U, dcid(7445)
    )


class Observer(Included):
    """TID 1002 Observer Context: a person, or a device; without an Observer Type, a person."""

    head: ClassVar[Template] = Template("1002", "Observer Context", extensible=False)

    type: Coded | None = row("1", "", HAS_OBS_CONTEXT, CODE, OBSERVER_TYPE, "1", U, dcid(270))
    person: PersonObserver | None = include(
        "2", "", PersonObserver, "1", MC, when=Condition("IFF", "row 1 is Person or absent", _is_person)
    )
    device: DeviceObserver | None = include(
        "3", "", DeviceObserver, "1", MC, when=Condition("IFF", "row 1 is Device", _is_device)
    )
