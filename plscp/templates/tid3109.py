"""Measurements, Impressions and Percutaneous Entry (PS3.16 TID 3109, 3110, 3111).

The tables themselves were not read: what is here follows from other templates, code definitions and context groups,
and refuses nothing.
"""

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
from plscp.templates.terms import PROCEDURE_SITE
from plscp.templates.tid300 import MeasurementDetails
from plscp.templates.tid1000 import Quotation
from plscp.templates.tid3010 import Qualifiers
from plscp.templates.values import Amount, Coded, CodeValue, Entry


class Measurement(Entry):
    """TID 3109 Measurements: a measured value of any concept."""

    head: ClassVar[Template] = Template("3109", "Measurements")
    kind: Literal["measurement"] = "measurement"

    measured: CodeValue | None = entry("1", NUM, None, verified=False)
    quantity: Amount = entry_value()
    # Which row includes TID 300, if any does, is not known; TID 300 row 15, a quotation too, is what row 2 here takes.
    details: MeasurementDetails | None = include("", ">", MeasurementDetails, "1", U, verified=False)
    quotation: Quotation | None = include("2", ">", Quotation, "1", U, verified=False)
    qualifiers: Qualifiers | None = include("3", ">", Qualifiers, "1", U, verified=False)


class Impression(Entry):
    """TID 3110 Impressions: a finding, impression or recommendation in words."""

    head: ClassVar[Template] = Template("3110", "Impressions")
    kind: Literal["impression"] = "impression"

    type: CodeValue = entry("1", TEXT, dcid(3419), verified=False)
    text: str = entry_value()
    qualifiers: Qualifiers | None = include("2", ">", Qualifiers, "1", U, verified=False)


class PercutaneousEntry(Entry):
    """TID 3111 Percutaneous Entry."""

    head: ClassVar[Template] = Template("3111", "Percutaneous Entry")
    kind: Literal["percutaneous_entry"] = "percutaneous_entry"

    concept: CodeValue = entry("1", CODE, dcm("121156", "Percutaneous Entry Action"), verified=False)
    action: CodeValue = entry_value(dcid(3403))
    site: Coded | None = row("2", ">", HAS_PROPERTIES, CODE, PROCEDURE_SITE, "1", U, dcid(3746), verified=False)
    qualifiers: Qualifiers | None = include("3", ">", Qualifiers, "1", U, verified=False)
