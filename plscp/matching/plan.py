"""A plan of registry changes: what is to be stored, and the registry as it will be then."""

from datetime import datetime
from typing import Any, Final

from plscp.errors import Conflict, InvalidBody
from plscp.matching.model import Policy
from plscp.matching.records import Patient, PatientId, Study
from plscp.matching.registry import Registry, microseconds
from plscp.store.port import RegistryRecord, Topic

_TYPED_AS: Final = {"study.scheduled": "study.updated", "file.read": "registry.file"}
"""Changes whose CloudEvents type, such as ``org.plscp.study.opened.v1``, is not named as they are."""


class Plan:
    """Registry changes being planned.

    Attributes:
        view: the registry as it will be after what is planned so far.
        records: what is planned.
    """

    def __init__(self, registry: Registry, policy: Policy, now: datetime) -> None:
        self._registry = registry
        self.view = registry
        self.policy = policy
        self.now = now
        self.records: list[RegistryRecord] = []

    def add(
        self, change: dict[str, Any], topic: Topic | None, key: str, subject: str, *, without_entries: str = ""
    ) -> None:
        """Plan one change; `view` has it applied. The arguments are those of a `RegistryRecord`."""
        kind = f"org.plscp.{_TYPED_AS.get(change['what'], change['what'])}.v1"
        self._add(RegistryRecord(change, topic, key, kind, subject, without_entries))

    def _add(self, record: RegistryRecord) -> None:
        if record.proposed:
            self.propose(record)
            return
        if self.view is self._registry:
            self.view = self.view.fork()
        self.records.append(record)
        self.view.apply(self.view.position + 1, microseconds(self.now), record.change)

    def propose(self, proposal: RegistryRecord) -> None:
        """Have a correction kept beside what is planned: it changes nothing by itself."""
        self.records.append(proposal)

    def take_back(self, count: int) -> None:
        """Forget all but the first `count` changes."""
        kept, self.records, self.view = self.records[:count], [], self._registry
        for record in kept:
            self._add(record)

    def study(self, what: str, study: Study, reason: str = "", *, without_entries: str = "") -> None:
        """Plan a change of a study to its full new state."""
        uid = study.study_instance_uid
        change = {"what": what, **study.as_json(), **({"reason": reason} if reason else {})}
        self.add(change, "study", uid, uid, without_entries=without_entries)

    def patient(self, patient: Patient, was: PatientId | None = None) -> None:
        """Plan a change of a patient to its full new state; demographics are published only by setting. `was`: an ID that changes."""
        publish = self.policy.publish_demographics
        owner = self.view.owner(was or patient.current)
        before = owner if owner is not None and owner.number == patient.number else None
        if publish or before is None or before.identifiers() != patient.identifiers():
            change = {"what": "patient.changed", **patient.identifiers(), **(patient.demographics() if publish else {})}
            if was is not None:
                change["was"] = was.as_json()
            self.add(change, "patient", patient.key, patient.current.key)
        after = self.view.owner(patient.current)
        if not publish and after is not None and after.demographics() != patient.demographics():
            kept = {"what": "patient.demographics", **patient.current.as_json(), **patient.demographics()}
            self.add(kept, None, patient.key, patient.current.key)

    # --- whom a feed means ---------------------------------------------------------------------------------------------

    def identifier(self, patient_id: str, issuer: str) -> PatientId:
        """A patient's identifier as it is given, its issuer in the one spelling; without issuer it gets the policy's, or plscp's own."""
        given = issuer or self.view.own_issuer(patient_id) or self.policy.patient_id_issuer.strip(" ")
        return PatientId(patient_id, self.view.issuers.spell(given))

    def known(self, patient_id: str, issuer: str) -> Patient | None:
        """The patient whom a feed names, or None for one not known. Raises Conflict: it may be several."""
        found = self.view.named_as_given(patient_id, issuer or self.identifier(patient_id, "").issuer)
        if len(found) > 1:
            raise Conflict("the Patient ID names several patients: give the issuer, as it is spelled for the one meant")
        return found[0] if found else None

    def is_current(self, patient: Patient, named: PatientId) -> bool:
        """Whether an identifier is a patient's current one, in any spelling of its issuer, or where that has none."""
        current, spell = patient.current, self.view.issuers.spell
        return current.id == named.id and (not current.issuer or spell(current.issuer) == spell(named.issuer))

    def means_current(self, patient: Patient, named: PatientId) -> bool:
        """As `is_current`; an identifier without issuer means the current one as well, whatever issuer that has."""
        return self.is_current(patient, named) or (not named.issuer and patient.current.id == named.id)

    def is_former(self, patient: Patient, named: PatientId) -> bool:
        """Whether an identifier, in any spelling of its issuer or without one, is one that was merged away or changed."""
        spell = self.view.issuers.spell
        return any(
            one.id == named.id and (not one.issuer or not named.issuer or spell(one.issuer) == spell(named.issuer))
            for one in patient.former_ids
        )

    def gave_away(self, patient: Patient, named: PatientId) -> bool:
        """Whether an identifier, in any spelling of its issuer, was a patient's and is another patient's now."""
        owner = self.known(*named)
        spellings = self.view.spellings(self.identifier(*named))
        return (
            owner is not None
            and owner.number != patient.number
            and not {*self.view.named_by(patient)}.isdisjoint(spellings)
        )

    def names_another(self, patient_id: PatientId, patient: Patient | None) -> bool:
        """Whether others than this patient have an ID of its authority, or of none for an identifier without issuer."""
        owners = map(self.view.owner, self.view.spellings(patient_id))
        return any(owner is not None and (patient is None or owner.number != patient.number) for owner in owners)

    def usable(self, patient_id: str) -> bool:
        """Whether a Patient ID counts as given."""
        return bool(patient_id) and not self.policy.is_placeholder(patient_id)

    def require_usable(self, patient_id: str) -> None:
        """Raises InvalidBody for a placeholder where a patient must be named."""
        if not self.usable(patient_id):
            raise InvalidBody("patient: id: a placeholder names nobody")

    def make_patient(self, current: PatientId, placeholder: str = "") -> Patient:
        """Plan a new patient; returns it."""
        self.patient(Patient(0, current, current.key, placeholder=placeholder))
        made = self.view.owner(current)
        assert made is not None
        return made
