"""Drugs/Contrast Administered (PS3.16 TID 3106)."""

from typing import ClassVar, Literal

from plscp.templates.rows import (
    CODE,
    HAS_PROPERTIES,
    NUM,
    PNAME,
    TEXT,
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
from plscp.templates.terms import MATERIAL
from plscp.templates.tid3010 import Qualifiers
from plscp.templates.values import Coded, CodeValue, Entry, PersonName, Quantity, Text


class DrugAdministered(Entry):
    """TID 3106 Drugs/Contrast Administered: a drug, contrast agent or infusate was given, started or ended."""

    head: ClassVar[Template] = Template("3106", "Drugs/Contrast Administered")
    kind: Literal["drug_administered"] = "drug_administered"

    action: CodeValue = entry("1", CODE, dcid(3409))
    drug: CodeValue = entry_value(bcid(10), bcid(12))
    material: Text | None = row("2", ">", HAS_PROPERTIES, TEXT, MATERIAL, "1", U)
    route: Coded | None = row(
        "3", ">", HAS_PROPERTIES, CODE, sct("410675002", "Route of administration"), "1", U, bcid(11)
    )
    # Row 4, which may repeat: each parameter of CID 3410 has a name, repetitions and extensions go to `parameters`.
    dose: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("122092", "Undiluted dose administered"), "1", U)
    volume: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("122091", "Volume administered"), "1", U)
    concentration: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("122093", "Concentration"), "1", U)
    rate: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("122094", "Rate of administration"), "1", U)
    duration: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("122095", "Duration of administration"), "1", U)
    volume_discarded: Quantity | None = row(
        "4", ">", HAS_PROPERTIES, NUM, dcm("122096", "Volume unadministered or discarded"), "1", U
    )
    quantity: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("121382", "Quantity administered"), "1", U)
    mass: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, dcm("121383", "Mass administered"), "1", U)
    parameters: list[Quantity] = row("4", ">", HAS_PROPERTIES, NUM, dcid(3410), "1-n", U)
    administered_by: PersonName | None = row(
        "5", ">", HAS_PROPERTIES, PNAME, dcm("121152", "Person administering drug/contrast"), "1", U
    )
    qualifiers: Qualifiers | None = include("6", ">", Qualifiers, "1", U)
