"""Device Used (PS3.16 TID 3107)."""

from typing import ClassVar, Literal

from plscp.templates.rows import (
    CODE,
    HAS_CONCEPT_MOD,
    HAS_PROPERTIES,
    NUM,
    TEXT,
    Template,
    U,
    bcid,
    dcid,
    dcm,
    dt,
    entry,
    entry_value,
    include,
    row,
    sct,
)
from plscp.templates.terms import HAS_INTENT, MATERIAL, PROCEDURE_SITE
from plscp.templates.tid3010 import Qualifiers
from plscp.templates.values import Coded, CodeValue, Entry, Quantity, Text


class DeviceUsed(Entry):
    """TID 3107 Device Used: a catheter, guide wire, stent or other device in or on the patient."""

    head: ClassVar[Template] = Template("3107", "Device Used")
    kind: Literal["device_used"] = "device_used"

    action: CodeValue = entry("1", CODE, dcid(3422))
    device: CodeValue = entry_value(bcid(3429))
    device_codes: list[Coded] = row("2", ">", HAS_PROPERTIES, CODE, dcm("121150", "Device Code"), "1-n", U)
    material: Text | None = row("3", ">", HAS_PROPERTIES, TEXT, MATERIAL, "1", U)
    # Row 4, which may repeat: the characteristics of CID 3423 have names, repetitions go to `characteristics`.
    diameter: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, sct("81827009", "Diameter"), "1", U)
    length: Quantity | None = row("4", ">", HAS_PROPERTIES, NUM, sct("410668003", "Length"), "1", U)
    characteristics: list[Quantity] = row("4", ">", HAS_PROPERTIES, NUM, dcid(3423), "1-n", U)
    site: Coded | None = row("5", ">", HAS_PROPERTIES, CODE, PROCEDURE_SITE, "1", U, bcid(3630))
    intent: Coded | None = row("6", ">", HAS_CONCEPT_MOD, CODE, HAS_INTENT, "1", U, dt(dcm("121155", "Deployment")))
    qualifiers: Qualifiers | None = include("7", ">", Qualifiers, "1", U)
