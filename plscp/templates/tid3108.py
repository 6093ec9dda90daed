"""Intervention (PS3.16 TID 3108)."""

from typing import ClassVar, Literal

from plscp.templates.rows import (
    CODE,
    HAS_CONCEPT_MOD,
    HAS_PROPERTIES,
    IMAGE,
    MC,
    NUM,
    TEXT,
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
    sct,
)
from plscp.templates.terms import PROCEDURE_SITE, TOPOGRAPHICAL_MODIFIER
from plscp.templates.tid3010 import Qualifiers
from plscp.templates.values import Coded, CodeValue, Entry, Quantity, Reference, Text


class InterventionSite(Coded):
    """TID 3108 row 2 with the rows below it."""

    modifier: Coded | None = row("3", ">>", HAS_CONCEPT_MOD, CODE, TOPOGRAPHICAL_MODIFIER, "1", U, dcid(3019))


class InterventionDevice(Coded):
    """TID 3108 row 5 with the rows below it."""

    primary: Coded | None = row(
        "6", ">>", HAS_CONCEPT_MOD, CODE, dcm("122111", "Primary Intervention Device"), "1", MC, dcid(230),
        when=Condition("IF", "the device is primary for this lesion"),
    )  # fmt: skip


class Intervention(Entry):
    """TID 3108 Intervention: what was done at a lesion, by which attempt and device."""

    head: ClassVar[Template] = Template("3108", "Intervention")
    kind: Literal["intervention"] = "intervention"

    concept: CodeValue = entry("1", CODE, dcm("122090", "Intervention Action"))
    action: CodeValue = entry_value(dcid(3412))
    site: InterventionSite = row("2", ">", HAS_PROPERTIES, CODE, PROCEDURE_SITE, "1", M, dcid(3604))
    attempt: Text = row("4", ">", HAS_PROPERTIES, TEXT, dcm("121154", "Intervention attempt identifier"), "1", M)
    devices: list[InterventionDevice] = row(
        "5", ">", HAS_PROPERTIES, CODE, sct("116682006", "Uses Equipment"), "1-n", U, bcid(3411)
    )
    # Row 7, which may repeat: two parameters of CID 3425 have names, the others and repetitions go to `parameters`.
    inflation_pressure: Quantity | None = row(
        "7", ">", HAS_PROPERTIES, NUM, sct("371851006", "Angioplasty Inflation pressure"), "1", U
    )
    inflation_duration: Quantity | None = row(
        "7", ">", HAS_PROPERTIES, NUM, sct("371852004", "Angioplasty Inflation duration"), "1", U
    )
    parameters: list[Quantity] = row("7", ">", HAS_PROPERTIES, NUM, dcid(3425), "1-n", U)
    # IMAGE is no target of HAS PROPERTIES in PS3.3 Table A.35.7-2: noted, never refused.
    image: Reference | None = row("8", ">", HAS_PROPERTIES, IMAGE, bcid(7003), "1", U, conflicts=True)
    qualifiers: Qualifiers | None = include("9", ">", Qualifiers, "1", U)
