"""What would match: the rules asked without a request, for people who look for the reason of a refusal."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from plscp.matching import rules
from plscp.matching.model import Instant, Question
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile, Profiles
from plscp.statuses import STATUSES
from plscp.templates.request import Identifiers


def explain_match(keeper: RegistryKeeper, profiles: Profiles, query: Mapping[str, str]) -> dict[str, Any]:
    """The decision on one entry that occurs now.

    Args:
        query: ``study_instance_uid``, ``patient_id``, ``issuer``, ``study_id``, ``location``, ``ae_title``; all optional.

    Returns:
        The published ``match`` object, with status name, study, patient, findings and comment beside it.
    """
    with keeper.lock:  # the settings do not change between the two
        profile = profiles(query.get("ae_title", ""))
        decision = rules.decide(_question(profile, query), keeper.registry)
    return decision.explanation() | {
        "status_name": STATUSES[decision.status].name,
        "comment": decision.comment,
        "study_instance_uid": decision.study_instance_uid,
        "patient": {"id": decision.patient_id, "issuer": decision.issuer},
        "findings": [finding.as_json() for finding in decision.findings],
    }


def _question(profile: Profile, query: Mapping[str, str]) -> Question:
    now = datetime.now(UTC)
    given = Identifiers(
        study_instance_uid=query.get("study_instance_uid", "").strip(),
        patient_id=query.get("patient_id", "").strip(),
        issuer_of_patient_id=query.get("issuer", "").strip(),
        study_id=query.get("study_id", "").strip(),
        performed_location=query.get("location", "").strip(),
        synchronization_frame_of_reference_uid=profile.policy.synchronization_frame_of_reference_uid,
    )
    moment = Instant(now.strftime("%Y%m%d%H%M%S.%f") + "+0000", now, now, "own")
    return Question(given, profile.device, profile.policy, [moment], now)
