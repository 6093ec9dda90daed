"""The patient of a Substance Administration, and whether the operator may add to the record (PS3.4 P.3.2.3, P.3.2.4)."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from plscp.findings import Finding
from plscp.matching import comments
from plscp.matching.match_context import Issuer, SentIssuer, find_issuer
from plscp.matching.model import Decision, MatchCandidate, SubstanceQuestion
from plscp.matching.records import Patient
from plscp.matching.registry import Registry
from plscp.matching.rules import SUPERSEDED

_ADMISSION_UNKNOWN: Final = Finding(
    "admission-unknown", "Admission ID is not known; the patient is named by Patient ID"
)
_ADMISSION_CANCELLED: Final = Finding("admission-cancelled", "Admission ID is that of a cancelled admission")
_ADMISSION_DISCHARGED: Final = Finding("admission-discharged", "Admission ID is that of a patient discharged from it")
_NAME_DIFFERS: Final = Finding("patient-name-differs", comments.NAME_DIFFERS)
_DATETIME: Final = "(0044,0010)"
_COARSE: Final = Finding("coarse-datetime", "not dated to the minute", _DATETIME)
_FUTURE: Final = Finding("in-the-future", "later than its arrival", _DATETIME)
_FAR_FUTURE: Final = Finding("in-the-future", "more than a day later than its arrival", _DATETIME, refuse=True)
_MINUTE: Final = timedelta(minutes=1)
_DAY: Final = timedelta(days=1)


def time_findings(question: SubstanceQuestion, *, strict: bool) -> list[Finding]:
    """What is wrong with when an administration is said to have occurred; what a strict profile refuses, or any, says so.

    It is held against its arrival for every device alike: a record must not say that a drug was given at a time that has not
    come yet, whoever is to blame.
    """
    time, arrival = question.time, question.arrival
    found: list[Finding] = []
    if time.latest - time.earliest >= _MINUTE:  # a minute ends a microsecond before the next one
        found.append(_COARSE)
    if time.earliest > arrival + _DAY:
        found.append(_FAR_FUTURE)
    elif time.earliest > arrival + question.policy.clock_tolerance:
        found.append(_FUTURE)
    return [finding._replace(refuse=finding.refuse or strict) for finding in found]


class _Admitted(NamedTuple):
    """Whom an Admission ID names, through an admission or, by setting, a study's Accession Number."""

    patients: tuple[Patient, ...]
    rule: str
    findings: tuple[Finding, ...]


def decide(question: SubstanceQuestion, registry: Registry) -> Decision:
    """Find the patient whose record an administration belongs to, and ask whether an operator may add to it: 0000, C110 or C10E."""
    (patient_id, issuer), admission_id = _named_patient(question, registry), question.admission_id.strip(" ")
    given = _given(question, registry, issuer)
    admitted = _admitted(question, registry, admission_id)
    findings = list(admitted.findings)
    if patient_id:
        if issuer.unusable is not None:
            return _refused(given, registry, issuer.unusable.reason, (), [issuer.unusable])
        patients = registry.named(patient_id, issuer.name)
        if len(patients) != 1:
            comment = comments.AMBIGUOUS_PATIENT if patients else comments.PATIENT_NOT_KNOWN
            return _refused(given, registry, comment, patients)
        patient, rule = patients[0], "patient"
        if admitted.patients and admitted.patients != (patient,):
            one_of = patient in admitted.patients
            comment = comments.ADMISSION_AMBIGUOUS if one_of else comments.ADMISSION_DIFFERS
            return _refused(given, registry, comment, (patient, *admitted.patients))
        if admission_id and not admitted.patients and not findings:
            findings.append(_ADMISSION_UNKNOWN)
        if registry.agrees(patient, patient_id, issuer.name) == "superseded":
            findings.append(SUPERSEDED)
    elif not admission_id:
        return _refused(given, registry, comments.NO_PATIENT_GIVEN)
    elif len(admitted.patients) != 1:
        comment = comments.ADMISSION_AMBIGUOUS if admitted.patients else comments.ADMISSION_NOT_KNOWN
        return _refused(given, registry, comment, admitted.patients)
    else:
        patient, rule = admitted.patients[0], admitted.rule
    if _family_names_differ(question.patient_name, patient.name):
        if question.policy.name_mismatch == "refuse":
            return _refused(given, registry, comments.NAME_DIFFERS, (patient,))
        findings.append(_NAME_DIFFERS)
    decision = Decision(
        status=0,
        rule=rule,
        patient_id=patient.current.id,
        issuer=patient.current.issuer,
        patient_key=patient.key,
        given=given,
        found={name: value for name, value in patient.current.as_json().items() if value},
        findings=findings,
        registry_position=registry.position,
    )
    if not _operator_allowed(question, registry):
        decision.status, decision.comment = 0xC10E, comments.OPERATOR_NOT_ALLOWED
        decision.findings = [Finding("operator-not-authorized", decision.comment, refuse=True), *findings]
    return decision


def _operator_allowed(question: SubstanceQuestion, registry: Registry) -> bool:
    """Whether at least one of the operators named may do so by what feeds say, else by the settings' list, here and then (PS3.4 P.3).

    Codes compare by value and scheme, never by meaning; an operator who is bound to locations must be at one of the device's.
    """
    if question.allowed is None:
        return True
    moment = question.arrival if question.device.times == "untrusted" else question.time.earliest
    given = {(value.strip(" "), scheme.strip(" ")) for value, scheme in question.operators}
    here = {registry.place(location) for location in question.device.locations}
    return any(
        operator.active
        and (not operator.locations or not here.isdisjoint(registry.place(place) for place in operator.locations))
        and (operator.valid_from is None or operator.valid_from <= moment)
        and (operator.valid_until is None or moment <= operator.valid_until)
        for operator in registry.operators.in_force(question.allowed, given)
    )


def _named_patient(question: SubstanceQuestion, registry: Registry) -> tuple[str, Issuer]:
    patient_id = question.patient_id.strip(" ")
    if not patient_id or question.policy.is_placeholder(patient_id):
        return "", Issuer("")
    sent = SentIssuer(question.issuer_of_patient_id, question.issuer_universal_entity_id)
    return patient_id, find_issuer(patient_id, sent, question.device, question.policy, registry)


def _admitted(question: SubstanceQuestion, registry: Registry, admission_id: str) -> _Admitted:
    """Whom an Admission ID names: a discharged admission still does, a cancelled one does not.

    With `accession_as_admission` the Accession Number of a study that takes events counts as one without issuer. An ID without
    issuer may be meant by one that was sent with an issuer only where that issuer is known and no authority has given that ID.
    """
    if not admission_id:
        return _Admitted((), "", ())
    policy, issuer = question.policy, question.issuer_of_admission_id.strip(" ")
    named = registry.admissions_named(admission_id, issuer)
    foreign = issuer and not registry.knows_issuer(issuer)
    admissions = [one for one in named if one.status != "cancelled" and (one.issuer or not foreign)]
    of_authorities = any(one.issuer for one in registry.admissions_named(admission_id, ""))
    studies = []
    if policy.accession_as_admission and not (issuer and (foreign or of_authorities)):
        studies = [
            study
            for study in registry.studies_by("accession_number", admission_id)
            if study.takes_events(question.arrival, policy.close_grace)
        ]
    numbers = dict.fromkeys([a.patient for a in admissions] + [s.patient for s in studies])
    patients = tuple(map(registry.patient_number, numbers))
    findings: tuple[Finding, ...] = ()
    if admissions and all(admission.status == "discharged" for admission in admissions) and not studies:
        findings = (_ADMISSION_DISCHARGED,)
    elif not patients and any(one.status == "cancelled" for one in named):
        findings = (_ADMISSION_CANCELLED,)
    return _Admitted(patients, "admission" if admissions else "accession", findings)


def _family_names_differ(given: str, known: str) -> bool:
    """Whether no way of writing that both have (alphabetic, ideographic, phonetic: PS3.5 6.2 PN) has the same family name.

    Names are no identifiers: case does not count, and a name that one side does not have says nothing.
    """
    pairs = [
        (one.split("^")[0].strip(" ").casefold(), other.split("^")[0].strip(" ").casefold())
        for one, other in zip(given.split("="), known.split("="), strict=False)
    ]
    pairs = [(one, other) for one, other in pairs if one and other]
    return bool(pairs) and all(one != other for one, other in pairs)


def _given(question: SubstanceQuestion, registry: Registry, issuer: Issuer) -> dict[str, str]:
    given = {
        "calling_ae": question.device.ae_title,
        "patient_id": question.patient_id.strip(" "),
        "admission_id": question.admission_id.strip(" "),
    }
    if sent := question.issuer_of_admission_id.strip(" "):
        used = registry.issuers.spell(sent)
        given |= {"issuer_of_admission_id": used, "issuer_of_admission_id_as_sent": sent if sent != used else ""}
    given |= issuer.given()
    return {name: value for name, value in given.items() if value}


def _refused(
    given: Mapping[str, str],
    registry: Registry,
    comment: str,
    candidates: tuple[Patient, ...] = (),
    findings: Sequence[Finding] = (),
) -> Decision:
    return Decision(
        status=0xC110,
        given=given,
        candidates=[MatchCandidate(one.current.key, comment) for one in candidates],
        findings=[Finding("patient-not-identified", comment, refuse=True), *findings],
        registry_position=registry.position,
        comment=comment,
    )


def contradicts(question: SubstanceQuestion, registry: Registry, patient: Patient) -> bool:
    """Whether Patient ID or Admission ID, as far as they are given and name anybody, name another patient than this one.

    A Patient ID that names nobody is none of his.
    """
    patient_id, issuer = _named_patient(question, registry)
    if patient_id and (issuer.unusable is not None or not registry.agrees(patient, patient_id, issuer.name)):
        return True
    admitted = _admitted(question, registry, question.admission_id.strip(" "))
    return bool(admitted.patients) and admitted.patients != (patient,)
