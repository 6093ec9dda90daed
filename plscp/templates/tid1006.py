"""Subject Context: whom or what an observation is about (PS3.16 TID 1006 to 1010)."""

from collections.abc import Sequence
from typing import ClassVar

from plscp.content.codes import known
from plscp.content.model import Code, ContentItem
from plscp.templates.rows import (
    CODE,
    DATE,
    HAS_OBS_CONTEXT,
    MC,
    NUM,
    PNAME,
    TEXT,
    UIDREF,
    Condition,
    M,
    Template,
    U,
    dcid,
    dcm,
    either,
    include,
    ln,
    named,
    row,
    sct,
    ucum,
)
from plscp.templates.terms import SPECIMEN_TYPE
from plscp.templates.values import Coded, Included, PersonName, Quantity, Text

SUBJECT_CLASS = dcm("121024", "Subject Class")
SUBJECT_UID = dcm("121028", "Subject UID")
SUBJECT_ID = dcm("121030", "Subject ID")
FETUS_ID = ln("11951-1", "Fetus ID")
PATIENT, FETUS, SPECIMEN, DEVICE = "121025", "121026", "121027", "121192"


class SubjectPatient(Included):
    """TID 1007 Subject Context, Patient."""

    head: ClassVar[Template] = Template("1007", "Subject Context, Patient", extensible=False)

    uid: Text | None = row("1", "", HAS_OBS_CONTEXT, UIDREF, SUBJECT_UID, "1", U)
    name: PersonName | None = row("2", "", HAS_OBS_CONTEXT, PNAME, dcm("121029", "Subject Name"), "1", U)
    id: Text | None = row("3", "", HAS_OBS_CONTEXT, TEXT, SUBJECT_ID, "1", U, inferred=["value type"])
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


class Fetus(Included):
    """TID 1008 Subject Context, Fetus."""

    head: ClassVar[Template] = Template("1008", "Subject Context, Fetus", extensible=False)

    mother: PersonName | None = row("1", "", HAS_OBS_CONTEXT, PNAME, dcm("121036", "Mother of fetus"), "1", U)
    uid: Text | None = row("2", "", HAS_OBS_CONTEXT, UIDREF, SUBJECT_UID, "1", U)
    id: Text | None = row("3", "", HAS_OBS_CONTEXT, TEXT, SUBJECT_ID, "1", MC, when=either("4", TEXT, FETUS_ID))
    fetus_id: Text | None = row("4", "", HAS_OBS_CONTEXT, TEXT, FETUS_ID, "1", MC, when=either("3", TEXT, SUBJECT_ID))
    number_of_fetuses: Quantity | None = row(
        "5", "", HAS_OBS_CONTEXT, NUM, ln("11878-6", "Number of Fetuses"), "1", U, units=ucum("1")
    )


class SubjectDevice(Included):
    """TID 1010 Subject Context, Device."""

    head: ClassVar[Template] = Template("1010", "Subject Context, Device", extensible=False)

    name: Text | None = row("1", "", HAS_OBS_CONTEXT, TEXT, dcm("121193", "Device Subject Name"), "1", M)
    uid: Text | None = row("2", "", HAS_OBS_CONTEXT, UIDREF, dcm("121198", "Device Subject UID"), "1", U)
    manufacturer: Text | None = row(
        "3", "", HAS_OBS_CONTEXT, TEXT, dcm("121194", "Device Subject Manufacturer"), "1", U
    )
    model_name: Text | None = row("4", "", HAS_OBS_CONTEXT, TEXT, dcm("121195", "Device Subject Model Name"), "1", U)
    serial_number: Text | None = row(
        "5", "", HAS_OBS_CONTEXT, TEXT, dcm("121196", "Device Subject Serial Number"), "1", U
    )
    location: Text | None = row(
        "6", "", HAS_OBS_CONTEXT, TEXT, dcm("121197", "Device Subject Physical Location during observation"), "1", U
    )


def _subject(items: Sequence[ContentItem]) -> str:
    """Code value of Subject Class; without one the subject is the patient."""
    for item in items:
        if named(item, SUBJECT_CLASS) and isinstance(item.value, Code):
            return known(item.value).key[0]
    return PATIENT


def _is_patient(before: Sequence[ContentItem]) -> bool:
    return _subject(before) not in {FETUS, SPECIMEN}


def _is_fetus(before: Sequence[ContentItem]) -> bool:
    return _subject(before) == FETUS


def _when(subject: str, words: str) -> Condition:
    """IFF row 1 says so. The names of the templates tell the conditions, no text does."""

    def judge(_parent: ContentItem | None, siblings: Sequence[ContentItem]) -> bool | None:
        # That the patient is the subject where nothing says so asks for none of the patient's rows, all of them U.
        return _subject(siblings) == subject

    return Condition("IFF", words, judge, inferred=True)


class Subject(Included):
    """TID 1006 Subject Context: patient, fetus, specimen or device; without a Subject Class, the patient.

    TID 1007 and 1008 have concepts in common, and TID 1009 includes TID 1007: Subject Class, the first row, parts them.
    """

    head: ClassVar[Template] = Template("1006", "Subject Context", extensible=False)

    subject_class: Coded | None = row("1", "", HAS_OBS_CONTEXT, CODE, SUBJECT_CLASS, "1", U, dcid(271))
    patient: SubjectPatient | None = include(
        "2", "", SubjectPatient, "1", MC, when=_when(PATIENT, "the subject is the patient"), gate=_is_patient
    )
    fetus: Fetus | None = include("3", "", Fetus, "1", MC, when=_when(FETUS, "the subject is a fetus"), gate=_is_fetus)
    specimen: Specimen | None = include("4", "", Specimen, "1", MC, when=_when(SPECIMEN, "the subject is a specimen"))
    device: SubjectDevice | None = include(
        "5", "", SubjectDevice, "1", MC, when=_when(DEVICE, "the subject is a device")
    )
