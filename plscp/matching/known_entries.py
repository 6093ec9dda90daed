"""Entries that are stored already and come again in another request: where they stand decides (contract section 1, Identity).

A request that says of another study or patient than the one under which they stand is refused, with a correction to propose.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from plscp.findings import Finding
from plscp.matching import comments
from plscp.matching.match_context import MatchContext, P, S, U
from plscp.matching.model import Decision, MatchCandidate, MatchQuestion, Move, Place, SubstanceQuestion
from plscp.matching.records import Patient
from plscp.matching.registry import Registry
from plscp.matching.rules import BY_PLACE
from plscp.matching.substance import contradicts as administration_contradicts
from plscp.statuses import STATUSES

_STUDY: Final = Finding("identifiers-contradict", comments.KNOWN_ELSEWHERE, refuse=True)
_PATIENT: Final = Finding("patient-not-identified", comments.KNOWN_OF_ANOTHER, refuse=True)


NOWHERE: Final = Place("", "", "")
"""Where what is given names nobody."""


class StoredEntry(NamedTuple):
    """A known entry, and where it stands.

    Attributes:
        position: of its event.
        study_instance_uid: under which it stands; empty for an administration.
        patient_id, issuer: under which it was stored then; `Registry.current_patient` leads on from there.
        standing: of the last correction's event that moved it there, or 0.
        named: the Study Instance UID that its own request gave, which the study found may not have.
    """

    position: int
    study_instance_uid: str
    patient_id: str
    issuer: str
    named: str = ""
    standing: int = 0


def check_known_entries(
    question: MatchQuestion, registry: Registry, known: Sequence[StoredEntry], decision: Decision, *, every: bool
) -> Decision:
    """Decide on a Procedural Event request some entries of which are known.

    Args:
        question: as `decision` was made on it: on the new entries, or on all where every entry is known.
        every: whether every entry is known. Then nothing is matched by place: only the identifiers given count.

    Returns:
        The rules' decision; or 0000 with the study of the first where every entry is known; or C104 with the correction to propose.
    """
    if every:
        case = MatchContext(question, registry)
        elsewhere = [one for one in known if _contradicts(case, one)]
        target = _named_by(case, decision, elsewhere)
    elif STATUSES[decision.status].performed:
        elsewhere = [one for one in known if one.study_instance_uid != decision.study_instance_uid]
        target = Place(decision.study_instance_uid, decision.patient_id, decision.issuer)
    else:
        return decision
    if elsewhere:
        return _refused(registry, decision, elsewhere, target, _STUDY)
    return _stands(registry, decision, known[0]) if every else decision


def check_known_administration(
    question: SubstanceQuestion, registry: Registry, known: StoredEntry, decision: Decision
) -> Decision:
    """Decide on a Substance Administration that is known: 0000, or C110 where Patient ID or Admission ID names another patient."""
    patient = _patient_of(registry, known)
    if patient is not None and not administration_contradicts(question, registry, patient):
        return _stands(registry, decision, known)
    found = STATUSES[decision.status].performed
    target = Place("", decision.patient_id, decision.issuer) if found else NOWHERE
    return _refused(registry, decision, [known], target, _PATIENT)


def _patient_of(registry: Registry, known: StoredEntry) -> Patient | None:
    study = registry.study(known.study_instance_uid) if known.study_instance_uid else None
    if study is not None:
        return registry.patient_number(study.patient)
    return registry.owner(registry.current_patient(known.patient_id, known.issuer, known.standing or known.position))


def _contradicts(case: MatchContext, known: StoredEntry) -> bool:
    """Whether what is given names another study or patient than the one under which a known entry stands."""
    study, patient = case.registry.study(known.study_instance_uid), _patient_of(case.registry, known)
    named = case.named
    itself = case.uid == known.study_instance_uid
    if case.given & P:
        agreed = patient is not None and case.agrees(patient)
        if not agreed and not (itself and case.policy.patient_mismatch == "log"):
            return True
    if named is not None and not itself:
        if patient is None or named.patient != patient.number:
            return True
        # One that was coerced when the entry came first says no more when it comes again.
        if case.takes_events(named) and case.uid != known.named:
            return True
    if case.given & S and not case.given & (U | P):
        return study is not None and bool(study.study_id) and study.study_id != case.study_id
    return False


def _named_by(case: MatchContext, decision: Decision, elsewhere: Sequence[StoredEntry]) -> Place:
    """The study that the identifiers given name, or their patient: never one found by place, nor where the entries stand."""
    if STATUSES[decision.status].performed and decision.rule not in BY_PLACE:
        return Place(decision.study_instance_uid, decision.patient_id, decision.issuer)
    if case.named is not None and all(one.study_instance_uid != case.uid for one in elsewhere):
        return Place(case.uid, *case.registry.patient_number(case.named.patient).current)
    if len(case.patients) == 1:
        return Place("", *case.patients[0].current)
    return NOWHERE if case.issuer.unusable is not None else Place("", case.patient_id, case.issuer.name)


def _stands(registry: Registry, decision: Decision, known: StoredEntry) -> Decision:
    return Decision(
        0x0000,
        study_instance_uid=known.study_instance_uid,
        patient_id=known.patient_id,
        issuer=known.issuer,
        given=decision.given,
        registry_position=registry.position,
    )


def _refused(
    registry: Registry, decision: Decision, elsewhere: Sequence[StoredEntry], target: Place, reason: Finding
) -> Decision:
    patients = [_patient_of(registry, one) for one in elsewhere]
    origins = tuple(
        dict.fromkeys(
            Place(one.study_instance_uid, *(patient.current if patient else (one.patient_id, one.issuer)))
            for one, patient in zip(elsewhere, patients, strict=True)
        )
    )
    return replace(
        decision,
        status=0xC104 if reason is _STUDY else 0xC110,
        warnings=(),
        study_instance_uid="",
        patient_id="",
        issuer="",
        found={},
        candidates=[MatchCandidate(place.key, reason.reason) for place in origins],
        findings=[reason],
        registry_position=registry.position,
        comment=reason.reason,
        alive_at="",
        move=Move(tuple(one.position for one in elsewhere), origins, target),
    )
