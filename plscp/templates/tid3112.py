"""Specimen Obtained (PS3.16 TID 3112)."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from plscp.content.codes import group, known
from plscp.content.model import Code, ContentItem
from plscp.templates.rows import (
    CODE,
    HAS_ACQ_CONTEXT,
    HAS_OBS_CONTEXT,
    UC,
    Condition,
    Template,
    U,
    bcid,
    dcid,
    entry,
    entry_value,
    include,
    named,
    row,
)
from plscp.templates.terms import PROCEDURE_SITE, SPECIMEN_TYPE, STATUS_OR_EVENT
from plscp.templates.tid1006 import Specimen
from plscp.templates.values import Coded, CodeValue, Entry


def _is_blood(_parent: ContentItem | None, siblings: Sequence[ContentItem]) -> bool | None:
    """Whether blood was taken: no Anatomic Pathology Specimen Type (CID 8103) in TID 1009 row 5 is; else it is not said."""
    for item in siblings:
        if item.relationship == HAS_OBS_CONTEXT and named(item, SPECIMEN_TYPE) and isinstance(item.value, Code):
            return False if known(item.value).key in group(8103) else None
    return None


BLOOD = Condition("IFF", "the specimen is a blood sample", _is_blood, inferred=True)


class SpecimenObtained(Entry):
    """TID 3112 Specimen Obtained; rows 2 and 3 as they stand contradict PS3.3 Table A.35.7-2."""

    head: ClassVar[Template] = Template("3112", "Specimen Obtained")
    kind: Literal["specimen_obtained"] = "specimen_obtained"

    concept: CodeValue = entry("1", CODE, STATUS_OR_EVENT)
    collection: CodeValue = entry_value(dcid(3515))
    type: Coded | None = row(
        "2", ">", HAS_ACQ_CONTEXT, CODE, SPECIMEN_TYPE, "1", UC, dcid(3520),
        when=BLOOD, conflicts=True,
    )  # fmt: skip
    site: Coded | None = row("3", ">", HAS_ACQ_CONTEXT, CODE, PROCEDURE_SITE, "1", U, bcid(3630), conflicts=True)
    specimen: Specimen | None = include("4", ">", Specimen, "1", U)
