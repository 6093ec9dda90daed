"""Procedure Context (PS3.16 TID 3601)."""

from typing import ClassVar

from plscp.templates.rows import CODE, HAS_ACQ_CONTEXT, HAS_OBS_CONTEXT, TEXT, Template, U, bcid, dcm, row, sct
from plscp.templates.terms import HAS_INTENT
from plscp.templates.values import Coded, Included, Text


class ProcedureContext(Included):
    """TID 3601 Procedure Context."""

    head: ClassVar[Template] = Template("3601", "Procedure Context")

    description: Text | None = row("1", "", HAS_ACQ_CONTEXT, TEXT, dcm("121065", "Procedure Description"), "1", U)
    intent: Coded | None = row("2", "", HAS_ACQ_CONTEXT, CODE, HAS_INTENT, "1", U, bcid(3629))
    priority: Coded | None = row(
        "3", "", HAS_ACQ_CONTEXT, CODE, sct("260870009", "Procedure Priority"), "1", U, bcid(3414)
    )
    codes: list[Coded] = row("4", "", HAS_OBS_CONTEXT, CODE, dcm("121023", "Procedure Code"), "1-n", U)
