"""Lesion Identification and Properties (PS3.16 TID 3105)."""

from collections.abc import Sequence
from typing import ClassVar, Literal

from plscp.content.codes import group, known
from plscp.content.model import Code, ContentItem
from plscp.templates.rows import (
    CODE,
    HAS_CONCEPT_MOD,
    HAS_PROPERTIES,
    NUM,
    TEXT,
    UC,
    Condition,
    M,
    Template,
    U,
    dcid,
    dcm,
    entry,
    entry_value,
    include,
    named,
    row,
    sct,
    ucum,
)
from plscp.templates.terms import FINDING_SITE, LESION, TOPOGRAPHICAL_MODIFIER
from plscp.templates.tid3010 import Qualifiers
from plscp.templates.values import Coded, CodeValue, Entry, Quantity

CORONARIES = group(3015) | {("41801008", "SCT")}  # Coronary artery
UNSURE = {(value, "SCT") for value in ("51114001", "128555001", "128556000", "373095005", "128558004")}
"""Artery; fistulas from a coronary artery to each chamber."""


def _at_coronary(_parent: ContentItem | None, siblings: Sequence[ContentItem]) -> bool | None:
    """Whether the Finding Site is a coronary artery; a code outside CID 3604 cannot be told."""
    for item in siblings:
        if named(item, FINDING_SITE) and isinstance(item.value, Code):
            key = known(item.value).key
            return True if key in CORONARIES else False if key in group(3604) - UNSURE else None
    return None


CORONARY = Condition("IFF", "row 2 specifies a coronary artery", _at_coronary)


class LesionSite(Coded):
    """TID 3105 row 2 with the rows below it."""

    modifier: Coded | None = row("3", ">>", HAS_CONCEPT_MOD, CODE, TOPOGRAPHICAL_MODIFIER, "1", U, dcid(3019))


class Stenosis(Quantity):
    """TID 3105 row 5 with the rows below it."""

    phase: Coded = row(
        "6", ">>", HAS_CONCEPT_MOD, CODE, sct("129085009", "Catheterization Procedure Phase"), "1", M,
        sct("128955008", "Baseline Phase"),
    )  # fmt: skip
    derivation: Coded | None = row("7", ">>", HAS_CONCEPT_MOD, CODE, dcm("121401", "Derivation"), "1", U, dcid(3745))


class LesionIdentified(Entry):
    """TID 3105 Lesion Identification and Properties."""

    head: ClassVar[Template] = Template("3105", "Lesion Identification and Properties")
    kind: Literal["lesion_identified"] = "lesion_identified"

    concept: CodeValue = entry("1", TEXT, LESION)
    lesion: str = entry_value()
    site: LesionSite = row("2", ">", HAS_PROPERTIES, CODE, FINDING_SITE, "1", M, dcid(3604))
    risk: Coded | None = row("4", ">", HAS_PROPERTIES, CODE, dcm("121153", "Lesion Risk"), "1", U, dcid(3418))
    stenosis: Stenosis | None = row(
        "5", ">", HAS_PROPERTIES, NUM, sct("408715008", "Lumen Diameter Stenosis"), "1", U, units=ucum("%")
    )
    timi_flow: Coded | None = row(
        "8", ">", HAS_PROPERTIES, CODE, dcm("122109", "Baseline TIMI Flow"), "1", UC, dcid(3713),
        when=CORONARY,
    )  # fmt: skip
    thrombus: Coded | None = row(
        "9", ">", HAS_PROPERTIES, CODE, dcm("122131", "Degree of Thrombus"), "1", U, dcid(3714)
    )
    margin: Coded | None = row(
        "10", ">", HAS_PROPERTIES, CODE, sct("129737002", "Lesion Margin Characteristics"), "1", U, dcid(3715)
    )
    vessel_morphology: list[Coded] = row(
        "11", ">", HAS_PROPERTIES, CODE, dcm("122134", "Vessel Morphology"), "1-n", U, dcid(3712)
    )
    qualifiers: Qualifiers | None = include("12", ">", Qualifiers, "1", U, verified=False)
