"""Patient Support and Patient Assessment (PS3.16 TID 3113, 3114).

The tables themselves were not read: what is here follows from code definitions and context groups, and refuses nothing.
Of TID 3115, ECG ST Assessment, only the name is known: its entries stay untyped.
"""

from typing import ClassVar, Literal

from plscp.templates.rows import (
    CODE,
    HAS_PROPERTIES,
    NUM,
    Groups,
    Template,
    U,
    dcid,
    dcm,
    entry,
    entry_value,
    include,
    row,
)
from plscp.templates.tid3010 import Qualifiers
from plscp.templates.values import CodeValue, Entry, Quantity


class PatientSupport(Entry):
    """TID 3113 Patient Support: oxygen, circulatory support, ventilation or pacing begins or ends."""

    head: ClassVar[Template] = Template("3113", "Patient Support")
    kind: Literal["patient_support"] = "patient_support"

    action: CodeValue = entry("1", CODE, Groups((3530, 3550, 3551, 3552)), verified=False)
    support: CodeValue = entry_value(dcid(3531), dcid(3553), dcid(3554), dcid(3555))
    oxygen_rate: Quantity | None = row(
        "2", ">", HAS_PROPERTIES, NUM, dcm("121160", "Oxygen Administration Rate"), "1", U, verified=False
    )
    qualifiers: Qualifiers | None = include("3", ">", Qualifiers, "1", U, verified=False)


class PatientAssessment(Entry):
    """TID 3114 Patient Assessment."""

    head: ClassVar[Template] = Template("3114", "Patient Assessment")
    kind: Literal["patient_assessment"] = "patient_assessment"

    concept: CodeValue = entry("1", CODE, dcm("121165", "Patient Assessment Performed"), verified=False)
    assessment: CodeValue = entry_value(dcid(3441))
    qualifiers: Qualifiers | None = include("2", ">", Qualifiers, "1", U, verified=False)
