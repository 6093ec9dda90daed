"""What planners of registry changes have in common: a plan that sees its own earlier changes, and the records it makes."""

from datetime import datetime
from typing import Any, Final

from plscp.errors import Conflict, InvalidBody
from plscp.matching.identifiers import is_placeholder, own_issuer
from plscp.matching.model import Policy
from plscp.matching.records import (
    GENERATED_ISSUER,
    GENERATED_PREFIX,
    Admission,
    Patient,
    PatientId,
    Study,
)
from plscp.matching.registry import Registry, microseconds
from plscp.store.port import RegistryRecord, Topic

_STUDY_TYPES: Final = {
    "study.scheduled": "org.plscp.study.updated.v1",
    "study.opened": "org.plscp.study.opened.v1",
    "study.updated": "org.plscp.study.updated.v1",
    "study.closed": "org.plscp.study.closed.v1",
    "study.cancelled": "org.plscp.study.cancelled.v1",
}


class Plan:
    """Registry changes being planned.

    Attributes:
        view: the registry as it will be after what is planned so far.
        policy: `[matching]`.
        now: UTC.
        records: what is planned.
    """

    def __init__(self, registry: Registry, policy: Policy, now: datetime) -> None:
        self._registry = registry
        self.view = registry
        self.policy = policy
        self.now = now
        self.records: list[RegistryRecord] = []

    def add(
        self,
        change: dict[str, Any],
        topic: Topic | None,
        key: str,
        kind: str,
        subject: str,
        *,
        without_entries: str = "",
    ) -> None:
        """Plan one change; `view` has it applied.

        Args:
            without_entries: a study under which no entry may stand for the change to be made, or empty.
        """
        if not self.records:
            self.view = self.view.fork()
        self.records.append(RegistryRecord(change, topic, key, kind, subject, without_entries))
        self.view.apply(self.view.position + 1, microseconds(self.now), change)

    def take_back(self, count: int) -> None:
        """Forget all but the first `count` changes."""
        kept, self.records, self.view = self.records[:count], [], self._registry
        for record in kept:
            self.add(*record[:5], without_entries=record.without_entries)

    def study(self, what: str, study: Study, reason: str = "", *, without_entries: str = "") -> None:
        """Plan a change of a study to its full new state.

        Args:
            without_entries: as in `add`.
        """
        uid = study.study_instance_uid
        change = {"what": what, **study.as_json(), **({"reason": reason} if reason else {})}
        self.add(change, "study", uid, _STUDY_TYPES[what], uid, without_entries=without_entries)

    def patient(self, patient: Patient, was: PatientId | None = None) -> None:
        """Plan a change of a patient to its full new state; demographics are published only by setting.

        Args:
            was: the identifier it had, when that changes.
        """
        publish = self.policy.publish_demographics
        owner = self.view.owner(was or patient.current)
        before = owner if owner is not None and owner.number == patient.number else None
        if publish or before is None or before.identifiers() != patient.identifiers():
            change = {"what": "patient.changed", **patient.identifiers(), **(patient.demographics() if publish else {})}
            if was is not None:
                change["was"] = was.as_json()
            self._patient(change, patient, "org.plscp.patient.changed.v1")
        after = self.view.owner(patient.current)
        if not publish and after is not None and after.demographics() != patient.demographics():
            kept = {"what": "patient.demographics", **patient.current.as_json(), **patient.demographics()}
            self.add(kept, None, patient.key, "org.plscp.patient.demographics.v1", _subject(patient))

    def merge(self, survivor: Patient, prior: PatientId) -> None:
        """Plan that an identifier, and the patient it names, is merged into another one."""
        change = {"what": "patient.merged", **survivor.identifiers(), "merged": prior.as_json()}
        self._patient(change, survivor, "org.plscp.patient.merged.v1")

    def _patient(self, change: dict[str, Any], patient: Patient, kind: str) -> None:
        self.add(change, "patient", patient.key, kind, _subject(patient))

    def admission(self, admission: Admission) -> None:
        """Plan a change of an admission; kept, not published."""
        change = {"what": "admission.changed", **admission.as_json()}
        self.add(change, None, f"{admission.issuer}|{admission.id}", "org.plscp.admission.changed.v1", admission.id)

    # --- whom a feed means ---------------------------------------------------------------------------------------------

    def identifier(self, patient_id: str, issuer: str) -> PatientId:
        """A patient's identifier as a feed, file or body gives it, its issuer in the one spelling.

        Without issuer it gets the policy's, or plscp's own.
        """
        given = issuer or own_issuer(patient_id, self.view) or self.policy.patient_id_issuer.strip(" ")
        return PatientId(patient_id, self.view.issuers.spell(given))

    def known(self, patient_id: str, issuer: str) -> Patient | None:
        """The patient whom a feed names, or None for one not known.

        Raises:
            Conflict: it may be several.
        """
        found = self.view.named_as_given(patient_id, issuer or self.identifier(patient_id, "").issuer)
        if len(found) > 1:
            raise Conflict("the Patient ID names several patients: give the issuer, as it is spelled for the one meant")
        return found[0] if found else None

    def same(self, one: PatientId, other: PatientId) -> bool:
        """Whether two identifiers are one, in two spellings of its issuer or in one."""
        spell = self.view.issuers.spell
        return one.id == other.id and spell(one.issuer) == spell(other.issuer)

    def is_current(self, patient_id: PatientId) -> bool:
        """Whether an identifier is its owner's current one."""
        owner = self.view.owner(patient_id)
        return owner is not None and owner.current == patient_id

    def holders(self, patient_id: PatientId) -> set[int]:
        """The patients, by number, who have an ID of its authority, or of none for an identifier without issuer."""
        owners = map(self.view.owner, self.view.spellings(patient_id))
        return {owner.number for owner in owners if owner is not None}

    def usable(self, patient_id: str) -> bool:
        """Whether a Patient ID counts as given."""
        return bool(patient_id) and not is_placeholder(patient_id, self.policy.placeholder_patient_ids)

    def require_usable(self, patient_id: str) -> None:
        """Raises InvalidBody for a placeholder where a patient must be named."""
        if not self.usable(patient_id):
            raise InvalidBody("patient: id: a placeholder names nobody")

    def make_patient(self, patient_id: str, issuer: str) -> Patient:
        """Plan a new patient; returns it."""
        current = self.identifier(patient_id, issuer)
        self.patient(Patient(0, current, key_of(current)))
        return self._made(current)

    def make_generated(self, placeholder: str) -> Patient:
        """Plan a patient with an ID of plscp's own, for a study that came without a usable one (Table P.2-4: 3/1)."""
        current = PatientId(f"{GENERATED_PREFIX}{self.view.generated + 1}", GENERATED_ISSUER)
        self.patient(Patient(0, current, key_of(current), placeholder=placeholder))
        return self._made(current)

    def _made(self, current: PatientId) -> Patient:
        made = self.view.owner(current)
        assert made is not None
        return made


def key_of(current: PatientId) -> str:
    """The partition key of a patient first seen under this identifier."""
    return f"{current.issuer}|{current.id}"


def _subject(patient: Patient) -> str:
    return key_of(patient.current)
