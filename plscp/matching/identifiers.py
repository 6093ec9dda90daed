"""Identifiers as devices give them: placeholders, the issuer chain, to find and to compare (contracts section 3)."""

from functools import lru_cache
from typing import Literal

from plscp.matching.model import Device, Policy
from plscp.matching.records import GENERATED_ISSUER, GENERATED_PREFIX, Patient, PatientId
from plscp.matching.registry import Registry


@lru_cache(maxsize=64)
def _folded(placeholders: frozenset[str]) -> frozenset[str]:
    return frozenset(placeholder.strip(" ").casefold() for placeholder in placeholders)


def is_placeholder(patient_id: str, placeholders: frozenset[str]) -> bool:
    """Whether a Patient ID counts as not given; compared without regard to case."""
    return patient_id.strip(" ").casefold() in _folded(placeholders)


def issuer_of(patient_id: str, given: str, device: Device, policy: Policy, registry: Registry) -> str:
    """P's issuer: as sent, else the device's, else the policy's, else none."""
    return given or own_issuer(patient_id, registry) or device.patient_id_issuer or policy.patient_id_issuer


def own_issuer(patient_id: str, registry: Registry) -> str:
    """Plscp's issuer for a `PLSCP-<n>` that it gave, else empty.

    An Action Reply has no issuer (Table P.2-4), so such an ID comes back without.
    """
    given = patient_id.startswith(GENERATED_PREFIX) and registry.owner(PatientId(patient_id, GENERATED_ISSUER))
    return GENERATED_ISSUER if given else ""


def agrees(registry: Registry, patient: Patient, patient_id: str, issuer: str) -> Literal["", "current", "superseded"]:
    """Whether P names the patient found: by its current ID, by a superseded or other one, or (empty) not at all.

    With an issuer the patient must have that ID under it, or under none; without, under any.
    """
    current = patient.current
    if current.id == patient_id and (not issuer or current.issuer == issuer):
        return "current"  # nearly always; a current identifier names nobody else
    if patient.number not in [other.number for other in registry.named(patient_id, issuer)]:
        return ""
    return "current" if current.id == patient_id and not current.issuer else "superseded"
