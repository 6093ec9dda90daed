"""Log Entry Qualifiers (PS3.16 TID 3010)."""

from typing import ClassVar

from plscp.templates.rows import (
    CODE,
    DATETIME,
    HAS_CONCEPT_MOD,
    HAS_OBS_CONTEXT,
    HAS_PROPERTIES,
    TEXT,
    Template,
    U,
    dcid,
    dcm,
    include,
    row,
)
from plscp.templates.tid1002 import Observer
from plscp.templates.values import Coded, DateTime, Included, Text


class Qualifiers(Included):
    """TID 3010 Log Entry Qualifiers, as far as other templates and code definitions tell: none of it refuses."""

    head: ClassVar[Template] = Template("3010", "Log Entry Qualifiers", ordered=False)

    observers: list[Observer] = include("1", "", Observer, "1-n", U, verified=False)
    comment: Text | None = row("2", "", HAS_PROPERTIES, TEXT, dcm("121106", "Comment"), "1", U, verified=False)
    action_item_ids: list[Text] = row(
        "3", "", HAS_PROPERTIES, TEXT, dcm("121124", "Procedure Action Item ID"), "1-n", U, verified=False
    )
    lesion: Text | None = row(
        "4", "", HAS_PROPERTIES, TEXT, dcm("121151", "Lesion Identifier"), "1", U, inferred=["relationship", "vm"]
    )
    recorded: DateTime | None = row(
        "5", "", HAS_OBS_CONTEXT, DATETIME, dcm("121125", "DateTime of Recording of Log Entry"), "1", U, verified=False
    )
    datetime_qualifier: Coded | None = row(
        "6", "", HAS_CONCEPT_MOD, CODE, dcm("121135", "Observation DateTime Qualifier"), "1", U, dcid(3430),
        verified=False,
    )  # fmt: skip
