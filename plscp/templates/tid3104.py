"""Consumables (PS3.16 TID 3104)."""

from typing import ClassVar, Literal

from plscp.templates.rows import (
    CODE,
    HAS_PROPERTIES,
    NUM,
    TEXT,
    Template,
    U,
    dcid,
    dcm,
    entry,
    entry_value,
    include,
    row,
)
from plscp.templates.terms import MATERIAL
from plscp.templates.tid3010 import Qualifiers
from plscp.templates.values import Coded, CodeValue, Entry, Quantity, Text


class Consumable(Entry):
    """TID 3104 Consumables: taken from inventory, put back, or thrown away; for inventory and billing."""

    head: ClassVar[Template] = Template("3104", "Consumables")
    kind: Literal["consumable"] = "consumable"

    action: CodeValue = entry("1", CODE, dcid(3408))
    material: CodeValue = entry_value()
    # Row 2, which may repeat: each parameter of CID 3426 has a name, repetitions and extensions go to `parameters`.
    description: Text | None = row("2", ">", HAS_PROPERTIES, TEXT, MATERIAL, "1", U)
    serial_number: Text | None = row("2", ">", HAS_PROPERTIES, TEXT, dcm("121148", "Unit Serial Identifier"), "1", U)
    lot: Text | None = row("2", ">", HAS_PROPERTIES, TEXT, dcm("121149", "Lot Identifier"), "1", U)
    parameters: list[Text] = row("2", ">", HAS_PROPERTIES, TEXT, dcid(3426), "1-n", U)
    quantity: Quantity | None = row("3", ">", HAS_PROPERTIES, NUM, dcm("121146", "Quantity of Material"), "1", U)
    billing_code: Coded | None = row("4", ">", HAS_PROPERTIES, CODE, dcm("121147", "Billing Code"), "1", U)
    qualifiers: Qualifiers | None = include("5", ">", Qualifiers, "1", U)
