"""Procedure Log: the root's context and the entries that are rows of its own (PS3.16 TID 3001)."""

from typing import ClassVar, Literal

from plscp.templates.rows import (
    CODE,
    HAS_ACQ_CONTEXT,
    PNAME,
    TEXT,
    M,
    Template,
    U,
    dcid,
    dcm,
    entry,
    entry_value,
    include,
    row,
    sct,
)
from plscp.templates.terms import STATUS_OR_EVENT
from plscp.templates.tid1002 import Observer
from plscp.templates.tid3010 import Qualifiers
from plscp.templates.tid3601 import ProcedureContext
from plscp.templates.values import CodeValue, Entry, Extras, Text

PROCEDURE_LOG = Template("3001", "Procedure Log", ordered=False)
TITLE = dcid(3400)  # row 1: the concept name of the root


class LogContext(Extras):
    """TID 3001 rows 1 to 5: what every entry of the log inherits."""

    head: ClassVar[Template] = PROCEDURE_LOG

    title: CodeValue | None = None
    continuity: str | None = None
    observers: list[Observer] = include("2", ">", Observer, "1-n", M)
    procedure: ProcedureContext | None = include("3", ">", ProcedureContext, "1", M)
    room: Text | None = row("4", ">", HAS_ACQ_CONTEXT, TEXT, dcm("121121", "Room identification"), "1", U)
    equipment: list[Text] = row("5", ">", HAS_ACQ_CONTEXT, TEXT, dcm("121122", "Equipment identification"), "1-n", U)


class Note(Entry):
    """TID 3001 row 6: a log note."""

    head: ClassVar[Template] = PROCEDURE_LOG
    kind: Literal["note"] = "note"

    type: CodeValue = entry("6", TEXT, dcid(3401))
    text: str = entry_value()
    qualifiers: Qualifiers | None = include("7", ">>", Qualifiers, "1", U)


class PatientEvent(Entry):
    """TID 3001 row 8: what happened to the patient, or how the patient is."""

    head: ClassVar[Template] = PROCEDURE_LOG
    kind: Literal["patient_event"] = "patient_event"

    concept: CodeValue = entry("8", CODE, STATUS_OR_EVENT)
    event: CodeValue = entry_value(dcid(3402))
    qualifiers: Qualifiers | None = include("9", ">>", Qualifiers, "1", U)


class StaffAction(Entry):
    """TID 3001 row 10: somebody came, went, was called or consulted."""

    head: ClassVar[Template] = PROCEDURE_LOG
    kind: Literal["staff_action"] = "staff_action"

    action: CodeValue = entry("10", PNAME, dcid(3404))
    person: str = entry_value()
    qualifiers: Qualifiers | None = include("11", ">>", Qualifiers, "1", U)


class EquipmentEvent(Entry):
    """TID 3001 row 12: equipment came, went, got ready or failed."""

    head: ClassVar[Template] = PROCEDURE_LOG
    kind: Literal["equipment_event"] = "equipment_event"

    event: CodeValue = entry("12", TEXT, dcid(3427))
    equipment: str = entry_value()
    qualifiers: Qualifiers | None = include("13", ">>", Qualifiers, "1", U)


class Complication(Entry):
    """TID 3001 row 23: a complication of the procedure."""

    head: ClassVar[Template] = PROCEDURE_LOG
    kind: Literal["complication"] = "complication"

    concept: CodeValue = entry("23", CODE, sct("116224001", "Complication of Procedure"), inferred=["value"])
    complication: CodeValue = entry_value(dcid(3413))
    qualifiers: Qualifiers | None = include("24", ">>", Qualifiers, "1", U, verified=False)
