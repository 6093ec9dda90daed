"""What a body says that is legal and probably not meant: a line each, without the patient's ID or name.

Asked after the change, of the registry that has it: only then is it known which issuer an ID got.
"""

from plscp.matching.bodies import AdmissionBody, Body, PatientBody, StudyBody
from plscp.matching.records import PatientId
from plscp.matching.registry import Registry

NO_ISSUER = "the ID has no issuer, so it agrees under any: give one, or set [matching] patient_id_issuer"


def cautions(body: Body, registry: Registry) -> list[str]:
    """What should be said beside a change that was taken.

    Args:
        body: a patient, an admission or a study as it was given.
        registry: with the change applied.
    """
    match body:
        case StudyBody():
            study = registry.study(body.study_instance_uid)
            named = body.patient is not None and body.patient.id
            whose = study.patient_id if study is not None and named else None
            return [*_location(body.location, registry), *_issuer("patient", whose)]
        case AdmissionBody():
            admission = registry.admission(body.id, body.issuer)
            return _issuer("patient", admission.patient_id if admission is not None and body.patient else None)
        case PatientBody():
            owner = registry.owner(PatientId(body.id, body.issuer))
            said = {other.id for other in body.other_ids}
            bare = [other for other in (owner.other_ids if owner else ()) if other.id in said and not other.issuer]
            return [*_issuer("issuer", owner.current if owner else None), *_issuer("other_ids", next(iter(bare), None))]
    return []


def _location(name: str, registry: Registry) -> list[str]:
    line = unknown_location(name, registry)
    return [f"location: {line}"] if line else []


def unknown_location(name: str, registry: Registry) -> str:
    """That no `[locations]` entry lists a name, with the nearest that one lists; empty where one does, or there are none."""
    locations = registry.locations
    if not name or not locations.names or locations.resolve(name) is not None:
        return ""
    nearest = locations.nearest(name)
    hint = f'did you mean "{nearest}"?' if nearest else f"known are {', '.join(locations.names[:8])}"
    return f'no [locations] entry lists "{name}": a place of its own; {hint}'


def _issuer(where: str, named: PatientId | None) -> list[str]:
    return [f"{where}: {NO_ISSUER}"] if named is not None and not named.issuer else []
