"""Who observed, whom or what, in which procedure, and what is quoted from elsewhere (PS3.16 TID 1000 to 1010)."""

from collections.abc import Sequence

from plscp.content.codes import Key
from plscp.content.model import ContentItem
from plscp.templates.values import Coded, Included, PersonName, Quantity, Reference, Text

from plscp.templates.rows import (  # isort: skip
    CODE, COMPOSITE, DATE, HAS_CONCEPT_MOD, HAS_OBS_CONTEXT, MC, NUM, PNAME, TEXT, UC, UIDREF, Condition, M, Template, U,
    bcid, coded, dcid, dcm, either, include, ln, named, row, sct, ucum,
)  # fmt: skip

OBSERVER_TYPE = dcm("121005", "Observer Type")
SUBJECT_CLASS, SUBJECT_UID = dcm("121024", "Subject Class"), dcm("121028", "Subject UID")
SUBJECT_NAME, SUBJECT_ID = dcm("121029", "Subject Name"), dcm("121030", "Subject ID")
NOT_INHERITED = Condition("IF", "not inherited")
PERSON, DEVICE = ("121006", "DCM"), ("121007", "DCM")
PATIENT, FETUS, SPECIMEN, DEVICE_SUBJECT = (("121025", "DCM"), ("121026", "DCM"), ("121027", "DCM"), ("121192", "DCM"))
FETUS_ID = ln("11951-1", "Fetus ID")
BY_US, BY_ANY_METHOD = ln("11878-6", "Number of Fetuses by US"), ln("55281-0", "Number of Fetuses")
SPECIMEN_TYPE = sct("371439000", "Specimen Type")
QUOTATION_MODE = dcm("121001", "Quotation Mode")
ISSUER = dcm("110190", "Issuer of Identifier")
PROCEDURE_CODE = dcm("121023", "Procedure Code")


def _observer_is(kind: Key, words: str) -> Condition:
    """By Observer Type; without one the observer is a person."""
    return Condition("IFF", words, lambda _, siblings: (coded(siblings, OBSERVER_TYPE) or PERSON) == kind)


class PersonRole(Coded):
    """TID 1003 row 4 with the rows below it."""

    identifier: Text | None = row(
        "5", ">", HAS_OBS_CONTEXT, TEXT, dcm("128775", "Identifier within Person Observer's Role"), "1", U
    )


class PersonObserver(Included, head=Template("1003", "Person Observer Identifying Attributes", extensible=False)):
    """TID 1003 Person Observer Identifying Attributes."""

    name: PersonName | None = row("1", "", HAS_OBS_CONTEXT, PNAME, dcm("121008", "Person Observer Name"), "1", M)
    login_name: Text | None = row(
        "1a", "", HAS_OBS_CONTEXT, TEXT, dcm("128774", "Person Observer's Login Name"), "1", U
    )
    organization: Text | None = row(
        "2", "", HAS_OBS_CONTEXT, TEXT, dcm("121009", "Person Observer's Organization Name"), "1", U
    )
    role_in_organization: Coded | None = row(
        "3", "", HAS_OBS_CONTEXT, CODE, dcm("121010", "Person Observer's Role in the Organization"), "1", U, bcid(7452)
    )
    role_in_procedure: PersonRole | None = row(
        "4", "", HAS_OBS_CONTEXT, CODE, dcm("121011", "Person Observer's Role in this Procedure"), "1", U, bcid(7453)
    )


class DeviceObserver(Included, head=Template("1004", "Device Observer Identifying Attributes", extensible=False)):
    """TID 1004 Device Observer Identifying Attributes; later editions append rows, all of them optional."""

    uid: Text | None = row("1", "", HAS_OBS_CONTEXT, UIDREF, dcm("121012", "Device Observer UID"), "1", M)
    name: Text | None = row("2", "", HAS_OBS_CONTEXT, TEXT, dcm("121013", "Device Observer Name"), "1", U)
    manufacturer: Text | None = row(
        "3", "", HAS_OBS_CONTEXT, TEXT, dcm("121014", "Device Observer Manufacturer"), "1", U
    )
    model_name: Text | None = row("4", "", HAS_OBS_CONTEXT, TEXT, dcm("121015", "Device Observer Model Name"), "1", U)
    serial_number: Text | None = row(
        "5", "", HAS_OBS_CONTEXT, TEXT, dcm("121016", "Device Observer Serial Number"), "1", U
    )
    location: Text | None = row(
        "6", "", HAS_OBS_CONTEXT, TEXT, dcm("121017", "Device Observer Physical Location During Observation"), "1", U
    )
    roles: list[Coded] = row(
        "7", "", HAS_OBS_CONTEXT, CODE, dcm("113876", "Device Role in Procedure"), "1-n", U, bcid(7445)
    )
    station_ae_title: Text | None = row("8", "", HAS_OBS_CONTEXT, TEXT, dcm("110119", "Station AE Title"), "1", U)


class Observer(Included, head=Template("1002", "Observer Context", extensible=False)):
    """TID 1002 Observer Context: a person, or a device; without an Observer Type, a person."""

    type: Coded | None = row(
        "1", "", HAS_OBS_CONTEXT, CODE, OBSERVER_TYPE, "1", MC, dcid(270),
        when=Condition("IF", "the observer is a device"),
    )  # fmt: skip
    person: PersonObserver | None = include(
        "2", "", PersonObserver, "1", MC, when=_observer_is(PERSON, "row 1 is Person or absent")
    )
    device: DeviceObserver | None = include(
        "3", "", DeviceObserver, "1", MC, when=_observer_is(DEVICE, "row 1 is Device")
    )


class SubjectPatient(Included, head=Template("1007", "Subject Context, Patient", extensible=False)):
    """TID 1007 Subject Context, Patient."""

    uid: Text | None = row("1", "", HAS_OBS_CONTEXT, UIDREF, SUBJECT_UID, "1", U)
    name: PersonName | None = row("2", "", HAS_OBS_CONTEXT, PNAME, SUBJECT_NAME, "1", MC, when=NOT_INHERITED)
    # Row 3 is a CODE here and TEXT in TID 1008: both are accepted.
    id_code: Coded | None = row("3", "", HAS_OBS_CONTEXT, CODE, SUBJECT_ID, "1", MC, when=NOT_INHERITED)
    id: Text | None = row(
        "3", "", HAS_OBS_CONTEXT, TEXT, SUBJECT_ID, "1", MC, when=NOT_INHERITED, inferred=["value type"]
    )
    # DATE is no target of HAS OBS CONTEXT in PS3.3 Table A.35.7-2.
    birth_date: Text | None = row(
        "4", "", HAS_OBS_CONTEXT, DATE, dcm("121031", "Subject Birth Date"), "1", U, conflicts=True
    )
    sex: Coded | None = row("5", "", HAS_OBS_CONTEXT, CODE, dcm("121032", "Subject Sex"), "1", U, dcid(7455))
    age: Quantity | None = row("6", "", HAS_OBS_CONTEXT, NUM, dcm("121033", "Subject Age"), "1", U, units=dcid(7456))
    species: Coded | None = row(
        "7", "", HAS_OBS_CONTEXT, CODE, dcm("121034", "Subject Species"), "1", MC, dcid(7454), when=NOT_INHERITED
    )
    breed: Coded | None = row("8", "", HAS_OBS_CONTEXT, CODE, dcm("121035", "Subject Breed"), "1", U, dcid(7480))
    racial_group: Coded | None = row(
        "9", "", HAS_OBS_CONTEXT, CODE, sct("415229000", "Racial group"), "1", U, dcid(6099)
    )


class Fetus(Included, head=Template("1008", "Subject Context, Fetus", extensible=False)):
    """TID 1008 Subject Context, Fetus."""

    mother: PersonName | None = row("1", "", HAS_OBS_CONTEXT, PNAME, dcm("121036", "Mother of fetus"), "1", U)
    uid: Text | None = row("2", "", HAS_OBS_CONTEXT, UIDREF, SUBJECT_UID, "1", U)
    id: Text | None = row("3", "", HAS_OBS_CONTEXT, TEXT, SUBJECT_ID, "1", MC, when=either("4", TEXT, FETUS_ID, "IF"))
    fetus_id: Text | None = row(
        "4", "", HAS_OBS_CONTEXT, TEXT, FETUS_ID, "1", MC, when=either("3", TEXT, SUBJECT_ID, "IF")
    )
    number_of_fetuses: Quantity | None = row(
        "5", "", HAS_OBS_CONTEXT, NUM, BY_US, "1", UC, units=ucum("1"), when=either("6", NUM, BY_ANY_METHOD)
    )
    number_of_fetuses_by_any_method: Quantity | None = row(
        "6", "", HAS_OBS_CONTEXT, NUM, BY_ANY_METHOD, "1", UC, units=ucum("1"), when=either("5", NUM, BY_US)
    )


class Specimen(Included, head=Template("1009", "Subject Context, Specimen", extensible=False)):
    """TID 1009 Subject Context, Specimen."""

    uid: Text | None = row("1", "", HAS_OBS_CONTEXT, UIDREF, dcm("121039", "Specimen UID"), "1", U)
    patient: SubjectPatient | None = include(
        "2", "", SubjectPatient, "1", UC,
        when=Condition("IFF", "the source of the specimen is a human or animal patient"),
    )  # fmt: skip
    id: Text | None = row("3", "", HAS_OBS_CONTEXT, TEXT, dcm("121041", "Specimen Identifier"), "1", U)
    issuer: Text | None = row("4", "", HAS_OBS_CONTEXT, TEXT, dcm("111724", "Issuer of Specimen Identifier"), "1", U)
    type: Coded | None = row("5", "", HAS_OBS_CONTEXT, CODE, SPECIMEN_TYPE, "1", U, dcid(8103), conflicts=True)
    container: Text | None = row("6", "", HAS_OBS_CONTEXT, TEXT, dcm("111700", "Specimen Container Identifier"), "1", U)


class SubjectDevice(Included, head=Template("1010", "Subject Context, Device", extensible=False)):
    """TID 1010 Subject Context, Device."""

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


def _subject(items: Sequence[ContentItem]) -> Key:
    """Subject Class; without one the subject is the patient."""
    return coded(items, SUBJECT_CLASS) or PATIENT


def _subject_is(kind: Key, words: str) -> Condition:
    return Condition("IFF", words, lambda _, siblings: _subject(siblings) == kind)


def _quotes(before: Sequence[ContentItem]) -> bool:
    return any(named(item, QUOTATION_MODE) for item in before)


class Subject(Included, head=Template("1006", "Subject Context", extensible=False)):
    """TID 1006 Subject Context: patient, fetus, specimen or device; without a Subject Class, the patient.

    TID 1007 and 1008 have concepts in common, and TID 1009 includes TID 1007: Subject Class, the first row, parts them.
    """

    subject_class: Coded | None = row(
        "1", "", HAS_OBS_CONTEXT, CODE, SUBJECT_CLASS, "1", MC, dcid(271),
        when=Condition("IF", "the subject is not the patient"),
    )  # fmt: skip
    patient: SubjectPatient | None = include(
        "2", "", SubjectPatient, "1", UC, when=_subject_is(PATIENT, "row 1 is Patient or absent"),
        gate=lambda before: _quotes(before) and _subject(before) not in {FETUS, SPECIMEN},
    )  # fmt: skip
    fetus: Fetus | None = include(
        "3", "", Fetus, "1", UC, when=_subject_is(FETUS, "row 1 is Fetus"),
        gate=lambda before: _quotes(before) and _subject(before) == FETUS,
    )  # fmt: skip
    specimen: Specimen | None = include("4", "", Specimen, "1", UC, when=_subject_is(SPECIMEN, "row 1 is Specimen"))
    device: SubjectDevice | None = include(
        "5", "", SubjectDevice, "1", UC, when=_subject_is(DEVICE_SUBJECT, "row 1 is Device Subject")
    )


class PlacerNumber(Text):
    """TID 1005 row 3 with the rows below it."""

    issuer: Text | None = row("4", ">", HAS_CONCEPT_MOD, TEXT, ISSUER, "1", U)


class FillerNumber(Text):
    """TID 1005 row 5 with the rows below it."""

    issuer: Text | None = row("6", ">", HAS_CONCEPT_MOD, TEXT, ISSUER, "1", U)


class AccessionNumber(Text):
    """TID 1005 row 7 with the rows below it."""

    issuer: Text | None = row("8", ">", HAS_CONCEPT_MOD, TEXT, ISSUER, "1", U)


class StudyContext(Included, head=Template("1005", "Procedure Study Context", extensible=False)):
    """TID 1005 Procedure Study Context."""

    study_instance_uid: Text | None = row(
        "1", "", HAS_OBS_CONTEXT, UIDREF, dcm("121018", "Procedure Study Instance UID"), "1", U
    )
    component_uids: list[Text] = row(
        "2", "", HAS_OBS_CONTEXT, UIDREF, dcm("121019", "Procedure Study Component UID"), "1-n", U
    )
    placer_number: PlacerNumber | None = row("3", "", HAS_OBS_CONTEXT, TEXT, dcm("121020", "Placer Number"), "1", U)
    filler_number: FillerNumber | None = row("5", "", HAS_OBS_CONTEXT, TEXT, dcm("121021", "Filler Number"), "1", U)
    accession_number: AccessionNumber | None = row(
        "7", "", HAS_OBS_CONTEXT, TEXT, dcm("121022", "Accession Number"), "1", U
    )
    codes: list[Coded] = row("9", "", HAS_OBS_CONTEXT, CODE, PROCEDURE_CODE, "1-n", U)


class ObservationContext(Included, head=Template("1001", "Observation Context", extensible=False)):
    """TID 1001 Observation Context: who observed what in which procedure; what is inherited, a request does not tell."""

    observers: list[Observer] = include(
        "1", "", Observer, "1-n", MC, when=Condition("IF", "not all observer aspects are inherited")
    )
    study: StudyContext | None = include(
        "2", "", StudyContext, "1", MC, when=Condition("IF", "not all procedure aspects are inherited")
    )
    subject: Subject | None = include(
        "3", "", Subject, "1", MC, when=Condition("IF", "not all subject aspects are inherited")
    )


class Quotation(Included, head=Template("1000", "Quotation", extensible=False)):
    """TID 1000 Quotation: what is said is repeated from a document, or from what somebody said.

    An observation context is the quoted source's where a Quotation Mode stands before it, else it is no row of this.
    """

    mode: Coded | None = row(
        "1", "", HAS_OBS_CONTEXT, CODE, QUOTATION_MODE, "1", M, dcm("121003", "Document"), dcm("121004", "Verbal")
    )
    # COMPOSITE is no target of HAS OBS CONTEXT in PS3.3 Table A.35.7-2: noted, never refused.
    source: Reference | None = row(
        "2", "", HAS_OBS_CONTEXT, COMPOSITE, dcm("121002", "Quoted Source"), "1", MC, conflicts=True,
        when=Condition("IF", "the quoted source is a DICOM composite object"),
    )  # fmt: skip
    context: ObservationContext | None = include("3", "", ObservationContext, "1", M, gate=_quotes)
