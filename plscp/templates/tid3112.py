"""Specimen Obtained, with the specimen and patient context that it includes (PS3.16 TID 3112, 1009, 1007)."""

from typing import ClassVar, Literal

from plscp.templates.rows import (
    CODE,
    DATE,
    HAS_ACQ_CONTEXT,
    HAS_OBS_CONTEXT,
    NUM,
    PNAME,
    TEXT,
    UC,
    UIDREF,
    Condition,
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
from plscp.templates.terms import PROCEDURE_SITE, SPECIMEN_TYPE, STATUS_OR_EVENT
from plscp.templates.values import Coded, CodeValue, Entry, Included, PersonName, Quantity, Text


class SubjectPatient(Included):
    """TID 1007 Subject Context, Patient."""

    head: ClassVar[Template] = Template("1007", "Subject Context, Patient", extensible=False)

    uid: Text | None = row("1", "", HAS_OBS_CONTEXT, UIDREF, dcm("121028", "Subject UID"), "1", U)
    name: PersonName | None = row("2", "", HAS_OBS_CONTEXT, PNAME, dcm("121029", "Subject Name"), "1", U)
    id: Text | None = row("3", "", HAS_OBS_CONTEXT, TEXT, dcm("121030", "Subject ID"), "1", U, inferred=["value type"])
    # DATE is no target of HAS OBS CONTEXT in PS3.3 Table A.35.7-2.
    birth_date: Text | None = row(
        "4", "", HAS_OBS_CONTEXT, DATE, dcm("121031", "Subject Birth Date"), "1", U, conflicts=True
    )
    sex: Coded | None = row("5", "", HAS_OBS_CONTEXT, CODE, dcm("121032", "Subject Sex"), "1", U, dcid(7455))
    age: Quantity | None = row("6", "", HAS_OBS_CONTEXT, NUM, dcm("121033", "Subject Age"), "1", U, units=dcid(7456))
    species: Coded | None = row("7", "", HAS_OBS_CONTEXT, CODE, dcm("121034", "Subject Species"), "1", U, dcid(7454))
    breed: Coded | None = row("8", "", HAS_OBS_CONTEXT, CODE, dcm("121035", "Subject Breed"), "1", U, dcid(7480))
    racial_group: Coded | None = row(
        "9", "", HAS_OBS_CONTEXT, CODE, sct("415229000", "Racial group"), "1", U, dcid(6099)
    )


class Specimen(Included):
    """TID 1009 Subject Context, Specimen."""

    head: ClassVar[Template] = Template("1009", "Subject Context, Specimen", extensible=False)

    uid: Text | None = row("1", "", HAS_OBS_CONTEXT, UIDREF, dcm("121039", "Specimen UID"), "1", U)
    patient: SubjectPatient | None = include("2", "", SubjectPatient, "1", U)
    id: Text | None = row("3", "", HAS_OBS_CONTEXT, TEXT, dcm("121041", "Specimen Identifier"), "1", U)
    issuer: Text | None = row("4", "", HAS_OBS_CONTEXT, TEXT, dcm("111724", "Issuer of Specimen Identifier"), "1", U)
    type: Coded | None = row("5", "", HAS_OBS_CONTEXT, CODE, SPECIMEN_TYPE, "1", U, dcid(8103), conflicts=True)
    container: Text | None = row("6", "", HAS_OBS_CONTEXT, TEXT, dcm("111700", "Specimen Container Identifier"), "1", U)


class SpecimenObtained(Entry):
    """TID 3112 Specimen Obtained; rows 2 and 3 as they stand contradict PS3.3 Table A.35.7-2."""

    head: ClassVar[Template] = Template("3112", "Specimen Obtained")
    kind: Literal["specimen_obtained"] = "specimen_obtained"

    concept: CodeValue = entry("1", CODE, STATUS_OR_EVENT)
    collection: CodeValue = entry_value(dcid(3515))
    type: Coded | None = row(
        "2", ">", HAS_ACQ_CONTEXT, CODE, SPECIMEN_TYPE, "1", UC, dcid(3520),
        when=Condition("IFF", "the specimen is a blood sample"), conflicts=True,
    )  # fmt: skip
    site: Coded | None = row("3", ">", HAS_ACQ_CONTEXT, CODE, PROCEDURE_SITE, "1", U, bcid(3630), conflicts=True)
    specimen: Specimen | None = include("4", ">", Specimen, "1", U)
