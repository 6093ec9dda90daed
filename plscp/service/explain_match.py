"""What a request would be answered now, for people who look for the reason of a refusal; nothing is stored, no clock is measured."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from plscp.errors import InvalidBody
from plscp.matching import rules, substance
from plscp.matching.model import Decision, Instant, MatchQuestion, SubstanceQuestion
from plscp.matching.registry import Registry
from plscp.records.values import match_of, seconds
from plscp.service.clock import ClockDifferences
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile, Profiles
from plscp.service.refusals import hint
from plscp.service.steps import NOT_ALLOWED, occurred_of
from plscp.statuses import INSTANCES, PROCEDURAL_EVENT_LOGGING, SOP_CLASS_NAMES, STATUSES
from plscp.templates.request import Identifiers

SOP_CLASSES: Final = {SOP_CLASS_NAMES[uid]: uid for uid in INSTANCES}

_ISO: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(\.\d{1,6})?\d*)?(?:([Zz])|([+-]\d\d):?(\d\d))?", re.ASCII
)


def as_dt(text: str) -> str:
    """A time in ISO 8601 as the DICOM DT that a device would stamp; a DT, and what is neither, as it is."""
    matched = _ISO.fullmatch(text.strip())
    if matched is None:
        return text.strip()
    *parts, zulu, hours, minutes = (part or "" for part in matched.groups())
    return "".join(parts) + ("+0000" if zulu else hours + minutes)


def explain_match(
    keeper: RegistryKeeper, profiles: Profiles, clocks: ClockDifferences, query: Mapping[str, str]
) -> dict[str, Any]:
    """The decision on a request that arrives now with one entry, by the device's clock as it was measured.

    Args:
        query: ``sop_class`` (of SOP_CLASSES), ``ae_title``, ``at`` (when the entry occurred, as the device stamps it: a DT or ISO 8601,
            without offset in the device's time zone; now by default), and the identifiers: ``study_instance_uid``, ``patient_id``,
            ``issuer``, ``issuer_universal_entity_id``, ``study_id``, ``location``, ``frame``; of an administration also
            ``patient_name``, ``admission_id``, ``issuer_of_admission_id``, and ``operator`` as ``value^scheme``. All are optional;
            without ``ae_title`` it is a device that may send everything and has no settings of its own.

    Returns:
        The published ``match`` object, and more beside it.

    Raises:
        InvalidBody: ``at`` is no time.
    """
    now = datetime.now(UTC)
    sop_class = SOP_CLASSES[query.get("sop_class") or "procedural-event-logging"]
    with keeper.lock:  # the settings do not change between the two
        profile = profiles(query.get("ae_title", ""))
        policy = profile.policy
        text = as_dt(query.get("at", "")) or now.strftime("%Y%m%d%H%M%S.%f") + "+0000"
        try:
            moment = profile.instant(text, now)
        except ValueError as error:
            raise InvalidBody(f"at: {error}") from None
        frame = query.get("frame", policy.synchronization_frame_of_reference_uid).strip()
        synchronized = frame == policy.synchronization_frame_of_reference_uid
        ae_title = profile.device.ae_title
        difference = clocks.current(ae_title, now, policy.clock_tolerance, for_a_day=synchronized)
        if ae_title and sop_class not in profile.sop_classes:  # without a device nobody is asked what he may send
            decision = Decision(0x0124, findings=[NOT_ALLOWED], registry_position=keeper.registry.position)
        elif sop_class == PROCEDURAL_EVENT_LOGGING:
            given = Identifiers(
                study_instance_uid=_said(query, "study_instance_uid"),
                patient_id=_said(query, "patient_id"),
                issuer_of_patient_id=_said(query, "issuer"),
                issuer_universal_entity_id=_said(query, "issuer_universal_entity_id"),
                study_id=_said(query, "study_id"),
                performed_location=_said(query, "location"),
                synchronization_frame_of_reference_uid=frame,
            )
            question = MatchQuestion(given, profile.device, policy, [moment], now, difference)
            decision = rules.decide(question, keeper.registry)
        else:
            decision = _administration(query, profile, moment, now, keeper.registry)
    status = STATUSES[decision.status]
    why = hint(decision.status, decision.comment, decision.findings, profile, sop_class)
    return match_of(decision) | {
        "status_name": status.name,
        "comment": decision.comment,
        "hint": "" if status.performed else why,
        "study_instance_uid": decision.study_instance_uid,
        "patient": {"id": decision.patient_id, "issuer": decision.issuer},
        "findings": [finding.as_json() for finding in decision.findings],
        "occurred": occurred_of(
            moment, seconds(difference), synchronized=synchronized and sop_class == PROCEDURAL_EVENT_LOGGING
        ),
    }


def _said(query: Mapping[str, str], name: str) -> str:
    return query.get(name, "").strip()


def _administration(
    query: Mapping[str, str], profile: Profile, moment: Instant, now: datetime, registry: Registry
) -> Decision:
    """Steps 7 to 9; what step 7 refuses for its time is answered before the patient is looked for."""
    value, _, scheme = query.get("operator", "").partition("^")
    question = SubstanceQuestion(
        patient_id=_said(query, "patient_id"),
        issuer_of_patient_id=_said(query, "issuer"),
        issuer_universal_entity_id=_said(query, "issuer_universal_entity_id"),
        patient_name=_said(query, "patient_name"),
        admission_id=_said(query, "admission_id"),
        issuer_of_admission_id=_said(query, "issuer_of_admission_id"),
        operators=[(value, scheme)] if value else [],
        device=profile.device,
        policy=profile.policy,
        time=moment,
        arrival=now,
        allowed=profile.operators,
    )
    dated = substance.time_findings(question, strict=profile.strict)
    refusing = next((finding for finding in dated if finding.refuse), None)
    if refusing is not None:
        return Decision(0x0115, findings=dated, registry_position=registry.position, comment=refusing.reason)
    decision = substance.decide(question, registry)
    decision.findings = [*dated, *decision.findings]
    return decision
