"""Identifiers as devices give them: placeholders, the issuer chain, to find and to compare (contracts section 3)."""

from functools import lru_cache
from typing import Final, Literal, NamedTuple

from plscp.findings import Finding
from plscp.matching import comments
from plscp.matching.model import Device, Policy
from plscp.matching.records import GENERATED_ISSUER, GENERATED_PREFIX, Patient, PatientId
from plscp.matching.registry import Registry


@lru_cache(maxsize=64)
def _folded(placeholders: frozenset[str]) -> frozenset[str]:
    return frozenset(placeholder.strip(" ").casefold() for placeholder in placeholders)


def is_placeholder(patient_id: str, placeholders: frozenset[str]) -> bool:
    """Whether a Patient ID counts as not given; compared without regard to case."""
    return patient_id.strip(" ").casefold() in _folded(placeholders)


class Issuer(NamedTuple):
    """P's issuer.

    Attributes:
        name: in its one spelling; empty where none is known.
        unusable: why an issuer that was sent cannot be used: then the ID names nobody.
    """

    name: str
    unusable: Finding | None = None


NOT_LISTED: Final = Finding("issuer-not-listed", comments.ISSUER_NOT_LISTED)
CONTRADICTORY: Final = Finding("issuers-contradict", comments.ISSUERS_CONTRADICT)
UNUSABLE_ISSUERS: Final = frozenset({NOT_LISTED.code, CONTRADICTORY.code})
"""Codes of the findings about an issuer that was sent and cannot be used."""


class SentIssuer(NamedTuple):
    """P's issuer as a request gives it.

    Attributes:
        name: Issuer of Patient ID (0010,0021).
        universal_entity_id: of Issuer of Patient ID Qualifiers Sequence (0010,0024).
    """

    name: str
    universal_entity_id: str


def find_issuer(patient_id: str, sent: SentIssuer, device: Device, policy: Policy, registry: Registry) -> Issuer:
    """P's issuer in its one spelling: as sent, else the device's, else the policy's, else none."""
    spell = registry.issuers.spell
    authorities = {spell(one.strip(" ")) for one in sent if one.strip(" ")}
    if authorities:
        if not all(map(registry.knows_issuer, authorities)):
            return Issuer("", NOT_LISTED)
        return Issuer(authorities.pop()) if len(authorities) == 1 else Issuer("", CONTRADICTORY)
    configured = device.patient_id_issuer.strip(" ") or policy.patient_id_issuer.strip(" ")
    return Issuer(own_issuer(patient_id, registry) or spell(configured))


def issuers_given(issuer: Issuer, sent: SentIssuer) -> dict[str, str]:
    """The issuer as it is used, and as it was sent where that differs: members of the published ``match.given``."""
    members = {
        "issuer": issuer.name,
        "issuer_as_sent": sent.name.strip(" "),
        "issuer_universal_entity_id": sent.universal_entity_id.strip(" "),
    }
    return {name: value for name, value in members.items() if value and (name == "issuer" or value != issuer.name)}


def own_issuer(patient_id: str, registry: Registry) -> str:
    """Plscp's issuer for a `PLSCP-<n>` that it gave, else empty.

    An Action Reply has no issuer (Table P.2-4), so such an ID comes back without.
    """
    given = patient_id.startswith(GENERATED_PREFIX) and registry.owner(PatientId(patient_id, GENERATED_ISSUER))
    return GENERATED_ISSUER if given else ""


def agrees(registry: Registry, patient: Patient, patient_id: str, issuer: str) -> Literal["", "current", "superseded"]:
    """Whether P names the patient found: by its current ID, by a superseded or other one, or (empty) not at all.

    With an issuer the patient must have that ID of that authority, or of none; without, of any.
    """
    current = patient.current
    if current.id == patient_id and (not issuer or current.issuer == issuer):
        return "current"  # nearly always; a current identifier names nobody else
    if not registry.has_id(patient, patient_id, issuer):
        return ""
    spell = registry.issuers.spell
    is_current = current.id == patient_id and (not current.issuer or spell(current.issuer) == spell(issuer))
    return "current" if is_current else "superseded"
