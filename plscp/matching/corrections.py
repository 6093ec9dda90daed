"""Corrections: what is proposed, what people say of one, and where entries are to stand then (contract section 4). Pure functions."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import BeforeValidator, Field, StrictBool
from pydantic_core import to_json

from plscp.digests import sha256
from plscp.errors import Conflict, InvalidBody
from plscp.matching.bodies import LO, Body, Moment, PatientRef, Remark, Uid
from plscp.matching.model import Place
from plscp.matching.records import GENERATED_ISSUER, Patient, PatientId, Study
from plscp.matching.registry import Registry
from plscp.store.port import PROPOSAL

MOVE: Final = f"{PROPOSAL}.move"
REPLAY: Final = f"{PROPOSAL}.replay"
MERGE: Final = f"{PROPOSAL}.merge"
"""A merge that a feed announced and that could not be made: somebody has to say whom it means."""


def proposed(
    what: str,
    to: Place,
    because: str,
    *,
    positions: Sequence[int] = (),
    origins: Iterable[Place] = (),
    calling_ae: str = "",
    request_id: str = "",
    quarantine: str = "",
) -> dict[str, Any]:
    """The change of a proposed correction, as it is kept.

    Args:
        positions: of the entries that it moves; empty: all that stand under its origins.
        request_id, quarantine: of the refused request that it would help.
    """
    return {
        "what": what,
        "positions": positions,
        "to": to.as_json(),
        "from": [origin.as_json() for origin in origins],
        "because": because,
        "calling_ae": calling_ae,
        "request_id": request_id,
        "quarantine": quarantine,
    }


def proposal_id(said: object) -> str:
    """The id of a proposal that says this (JSON-able): what is said again is the same proposal."""
    return sha256(to_json(said)).hex()[:16]


NoUid = Annotated[Uid | Literal[""], BeforeValidator(lambda given: "" if given is None else given)]


class PlaceBody(Body):
    """A study, or a patient."""

    study_instance_uid: NoUid = ""
    patient: PatientRef | None = None

    @property
    def place(self) -> Place:
        """As the rules take it."""
        patient = self.patient or PatientRef()
        return Place(self.study_instance_uid, patient.id, patient.issuer)


class EntriesBody(PlaceBody):
    """Entries by where they stand: under a study, or a patient; of one device, in a time."""

    calling_ae: LO = ""
    since: Moment = None
    until: Moment = None


class SettleBody(Body):
    """What is said of a correction that is known: by whom, and why."""

    why: Remark = ""
    who: Remark = ""
    to: PlaceBody | None = Field(default=None, description="Where to, instead of what was proposed.")
    dry_run: StrictBool = Field(default=False, description="Only say what would move.")


class CorrectionBody(SettleBody):
    """A correction by hand: which entries, by their positions or by where they stand; and where to."""

    positions: tuple[Annotated[int, Field(ge=1, strict=True)], ...] = ()
    entries: EntriesBody | None = None


class Destination(NamedTuple):
    """Where entries go: a study and its patient; without study the patient alone."""

    study: Study | None
    patient: Patient

    def key(self, *, administration: bool) -> str:
        """The partition key there."""
        return self.patient.key if administration or self.study is None else self.study.study_instance_uid


def destination(registry: Registry, place: Place, position: int | None = None) -> Destination:
    """The study or patient that is named.

    Args:
        position: of the event that named it: what was merged since then leads to the patient who survives.

    Raises:
        Conflict: the registry does not know it, or by now it is another patient's. InvalidBody where nothing is named.
    """
    named = _patient(registry, place, position) if place.patient_id else None
    if place.study_instance_uid:
        study = registry.study(place.study_instance_uid)
        if study is None:
            raise Conflict("to: the registry does not know that study")
        if named is not None and named.number != study.patient:
            raise Conflict("to: the study is another patient's: name the study alone, or the patient's own")
        return Destination(study, registry.patient_number(study.patient))
    if named is None:
        raise InvalidBody("to: name the study, or the patient")
    return Destination(None, named)


def _patient(registry: Registry, place: Place, position: int | None) -> Patient:
    if position is not None:
        found = registry.owner(registry.current_patient(place.patient_id, place.issuer, position))
    else:
        found = registry.patient(place.patient_id, registry.issuers.spell(place.issuer) if place.issuer else "")
    if found is None:
        raise Conflict("to: the Patient ID names no patient of the registry, or several: give its issuer, or a study")
    return found


def for_entry(registry: Registry, there: Destination, *, administration: bool) -> Destination:
    """Where one entry goes: an administration to the patient, a log's entry to a study, if need be the patient's only one."""
    if administration:
        return Destination(None, there.patient)
    if there.study is not None:
        return there
    studies = [study for study in registry.studies_of(there.patient.number) if study.status != "cancelled"]
    if len(studies) != 1:
        raise Conflict(f"to: the patient has {len(studies)} studies: name the one that is meant")
    return Destination(studies[0], there.patient)


def merged_by(registry: Registry, change: dict[str, Any], chosen: Place, position: int) -> PatientId:
    """The patient whom the confirmation of a proposed merge means: of the study that is named, or whom the message named."""
    prior = PatientId(change["prior"]["id"], change["prior"]["issuer"])
    if not chosen.study_instance_uid:
        then, now = (registry.owner(registry.current_patient(*prior, at)) for at in (position, None))
        if then != now:
            raise Conflict("the ID that is to be merged was given anew since: merge the patients by hand")
        return prior
    study = registry.study(chosen.study_instance_uid)
    patient = registry.patient_number(study.patient) if study is not None else None
    if patient is None or patient.current.issuer != GENERATED_ISSUER or patient.placeholder != prior.id:
        raise Conflict("to: that study did not come with the placeholder that is to be merged")
    return patient.current


def iso(moment: datetime | None) -> str:
    """ISO 8601 UTC, or empty."""
    return "" if moment is None else moment.isoformat()
