"""Procedure Action (PS3.16 TID 3100)."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from plscp.content.model import ContentItem
from plscp.templates.rows import (
    CODE,
    HAS_PROPERTIES,
    MC,
    NUM,
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
    entry,
    entry_value,
    include,
    row,
)
from plscp.templates.terms import ACTION_ITEM
from plscp.templates.tid3010 import Qualifiers
from plscp.templates.values import CodeValue, Entry, PersonName, Quantity, Text


def _conveyed_by_step(_parent: ContentItem | None, siblings: Sequence[ContentItem]) -> bool | None:
    """Whether a Performed Procedure Step conveys the status: known only from the other of the two rows."""
    of_step = {"121126", "121127"}
    return any(item.concept and item.concept.value in of_step for item in siblings) or None


STEP = Condition(
    "IFF", "a Performed Procedure Step SOP Class conveys the status of the step", _conveyed_by_step, inferred=True
)


class ProcedureAction(Entry):
    """TID 3100 Procedure Action: a step of the procedure starts, ends, pauses or goes on."""

    head: ClassVar[Template] = Template("3100", "Procedure Action")
    kind: Literal["procedure_action"] = "procedure_action"

    action: CodeValue = entry("1", CODE, dcid(3421), inferred=["concept", "value"])
    procedure: CodeValue = entry_value(bcid(3405))
    item_id: Text | None = row("2", ">", HAS_PROPERTIES, TEXT, ACTION_ITEM, "1", M, inferred=["concept"])
    performers: list[PersonName] = row("3", ">", HAS_PROPERTIES, PNAME, dcid(7453), "1-n", U, inferred=["concept"])
    duration: Quantity | None = row(
        "4", ">", HAS_PROPERTIES, NUM, dcm("121128", "Procedure Action Duration"), "1", U, inferred=["concept"]
    )
    qualifiers: Qualifiers | None = include("5", ">", Qualifiers, "1", U)
    step_instance_uid: Text | None = row(
        "6", ">", HAS_PROPERTIES, UIDREF, dcm("121126", "Performed Procedure Step SOP Instance UID"), "1", MC, when=STEP
    )
    step_class_uid: Text | None = row(
        "7", ">", HAS_PROPERTIES, UIDREF, dcm("121127", "Performed Procedure Step SOP Class UID"), "1", MC, when=STEP,
        inferred=["concept"],
    )  # fmt: skip
