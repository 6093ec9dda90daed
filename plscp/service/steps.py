"""Steps 1 to 9 of contract section 2, a function each: from a request to the decision where it belongs."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from plscp.content.model import Bounds
from plscp.content.reader import Decoded, decode
from plscp.dicom.answer import Encodable, Status
from plscp.errors import DoesNotMatchTemplate, InvalidArgument, MissingAttribute, Refused, TooLarge
from plscp.findings import Finding
from plscp.matching import rules, substance
from plscp.matching.known import Judgement, Standing, judge, judge_administration
from plscp.matching.match_context import occurred_between
from plscp.matching.model import Decision, Instant, Question, SubstanceQuestion
from plscp.matching.registry import Registry, microseconds
from plscp.matching.times import instant
from plscp.records.parts import ADMINISTRATION_TYPE, ENTRY_TYPE, Sender, published, utc
from plscp.records.values import Own, given_study, match_of, sender_of
from plscp.service.clock import ClockDifferences
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile, Profiles
from plscp.statuses import (
    PROCEDURAL_EVENT_LOGGING,
    PROCEDURAL_EVENT_LOGGING_INSTANCE,
    STATUSES,
    SUBSTANCE_ADMINISTRATION_LOGGING,
    SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE,
)
from plscp.store.port import EntryDraft, KnownEntry
from plscp.templates import action
from plscp.templates.request import Identifiers, ProcedureLog, SubstanceAdministration, TypedEntry

Answer = tuple[Status, Encodable | None]

INSTANCES: Final = {
    PROCEDURAL_EVENT_LOGGING: PROCEDURAL_EVENT_LOGGING_INSTANCE,
    SUBSTANCE_ADMINISTRATION_LOGGING: SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE,
}
_UID: Final = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")
RECORD: Final = 1
"""Action Type ID of both SOP Classes (Tables P.2-2 and P.3-2)."""
KEPT_OF_TOO_LONG_BYTES: Final = 64 * 1024


class SignOfLife(NamedTuple):
    """That a study was alive at a place: when the request's latest entry occurred, microseconds since the epoch.

    Attributes:
        latest_us: the latest time at which it may have occurred: the device's clock may be slow.
    """

    place: str
    earliest_us: int
    latest_us: int


@dataclass(slots=True)
class Pending:
    """One request between its last byte and its answer.

    Attributes:
        identity, dated, raw: what step 5 makes of it.
        noticed: findings of steps 1 to 7.
        content, entries, question: what steps 6 and 7 make of it; or `refused`.
        known: those of its entries that are stored already, as the store has told them.
        decision: the last one; steps 8 and 9.
        alive: whether it is a sign of life of its study, by that decision.
        kept: whether it stands in quarantine.
    """

    event: Any
    profile: Profile
    sop_class: str
    calling_ae: str
    arrival: datetime
    request_id: str
    resolve: Callable[[Answer], None]
    identity: bytes = b""
    dated: str = ""
    raw: bytes = b""
    noticed: list[Finding] = field(default_factory=list)
    content: ProcedureLog | SubstanceAdministration | None = None
    entries: Sequence[EntryDraft] = ()
    question: Question | SubstanceQuestion | None = None
    refused: Refused | None = None
    known: tuple[KnownEntry, ...] = ()
    decision: Decision | None = None
    alive: SignOfLife | None = None
    kept: bool = False
    answered: bool = False

    def begin_again(self, profile: Profile) -> None:
        """Forget what was read by another profile; what the store said of its content stays true."""
        self.profile, self.noticed = profile, []
        self.content, self.entries, self.question, self.refused, self.decision = None, (), None, None, None

    @property
    def procedural(self) -> bool:
        """Whether it is of Procedural Event Logging; else of Substance Administration Logging."""
        return self.sop_class == PROCEDURAL_EVENT_LOGGING

    @property
    def sender(self) -> Sender:
        """Who sent it, as it is published."""
        places = self.profile.device.locations
        return sender_of(self.calling_ae, places[0] if len(places) == 1 else "", self.address)

    @property
    def address(self) -> str:
        """Where it came from."""
        return str(self.event.assoc.requestor.address)

    def kinds(self) -> list[str]:
        """The kinds of its entries, each once, as far as they could be read."""
        if self.content is None and self.refused is not None:
            return list(dict.fromkeys(self.refused.kinds))
        return list(dict.fromkeys(entry.kind for entry in entries_of(self.content)))

    def quarantined(self) -> str:
        """What people type to see it in quarantine, where it is kept there; else empty."""
        return self.identity.hex()[:16] if self.kept else ""

    def about(self) -> dict[str, Any]:
        """What each log line about it names it by."""
        return {
            "calling_ae": self.calling_ae,
            "association": str(getattr(self.event.assoc, "id", "")),
            "message_id": int(self.event.message_id or 0),
            "request_id": self.request_id,
        }


# --- steps 1 to 4: the command -------------------------------------------------------------------------------------------


def command(request: Any, abstract_syntax: str, profile: Profile) -> Finding | None:
    """Steps 1 to 4.

    Args:
        request: pynetdicom's N_ACTION primitive, or the acceptor's own with the same attributes.
        abstract_syntax: the presentation context's.

    Returns:
        A finding where lenient validation lets something pass.

    Raises:
        Refused: 0118H, 0117H, 0119H, 0112H, 0123H or 0124H.
    """
    sop_class = str(request.RequestedSOPClassUID or "")
    if sop_class != abstract_syntax or sop_class not in INSTANCES:
        raise Refused(0x0118, [Finding("sop-class-differs", "Requested SOP Class is not the context's", "(0000,0003)")])
    instance = str(request.RequestedSOPInstanceUID or "")
    finding = None
    if instance != INSTANCES[sop_class]:
        finding = _instance(instance, profile)
    if request.ActionTypeID != RECORD:
        raise Refused(0x0123, [Finding("action-type", "Action Type ID must be 1", "(0000,1008)")])
    if sop_class not in profile.sop_classes:
        reason = "calling AE title may not use this SOP Class"
        raise Refused(0x0124, [Finding("sop-class-not-allowed", reason)])
    return finding


def _instance(instance: str, profile: Profile) -> Finding | None:
    """Step 2 for a Requested SOP Instance UID that is not the class's own; a UID as PS3.5 section 9.1 says."""
    place = "(0000,1001)"
    if not instance:
        if profile.strict:
            raise Refused(0x0112, [Finding("sop-instance-absent", "Requested SOP Instance UID is absent", place)])
        return Finding("sop-instance-absent", "Requested SOP Instance UID is absent", place)
    if len(instance) > 64 or not _UID.fullmatch(instance):
        raise Refused(0x0117, [Finding("sop-instance-invalid", "Requested SOP Instance UID is no valid UID", place)])
    if instance in INSTANCES.values():
        raise Refused(0x0119, [Finding("class-instance-conflict", "the instance is the other SOP Class's", place)])
    raise Refused(0x0112, [Finding("no-such-instance", "the instance is not the well-known one", place)])


# --- steps 5 to 7: the data set ------------------------------------------------------------------------------------------


def decoded(pending: Pending, bounds: Bounds) -> Decoded:
    """Step 5; leaves the identity, also of what does not decode.

    Raises:
        MissingAttribute: there is no data set (0120H).
        TooLarge: it was longer than the bound and the rest was discarded (0213H).
        Refused: it does not decode, or not within bounds.
    """
    request = pending.event.request
    raw = getattr(request, "raw", None)
    if raw is None:
        stream = request.ActionInformation
        raw = stream.getvalue() if stream is not None else b""
    pending.raw = bytes(raw)
    pending.identity, pending.dated = b"", ""
    try:
        if getattr(request, "truncated_length", None):
            pending.raw = pending.raw[:KEPT_OF_TOO_LONG_BYTES]
            raise TooLarge([Finding("data-set-too-long", "the data set is longer than this server takes", refuse=True)])
        if not raw:
            raise MissingAttribute((), [Finding("no-data-set", "the request has no Action Information", refuse=True)])
        found = decode(
            pending.raw,
            str(pending.event.context.transfer_syntax),
            calling_ae=pending.calling_ae,
            sop_class=pending.sop_class,
            bounds=bounds,
        )
        pending.identity, pending.dated = found.identity, found.dated
    finally:
        if not pending.identity:  # its bytes, or the digest of what was too long to keep
            content = getattr(request, "truncated_digest", b"") or pending.raw
            parts = (b"bytes", pending.calling_ae.encode(), pending.sop_class.encode(), bytes(content))
            pending.identity = sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
    return found


def checked(pending: Pending, found: Decoded) -> ProcedureLog | SubstanceAdministration:
    """Steps 6 and 7: attributes and templates. Raises Refused: 0115H, 0120H, 0121H or C102."""
    check = action.procedural if pending.procedural else action.substance
    return check(found, strict=pending.profile.strict)


def ask(pending: Pending, content: ProcedureLog | SubstanceAdministration, clocks: ClockDifferences) -> None:
    """The end of step 7: when the entries occurred; leaves them, and the question where they belong.

    Raises:
        Refused: C102 or 0115H for a DateTime that is none, or that cannot be.
    """
    profile = pending.profile
    policy, entries = profile.policy, entries_of(content)
    times = _times(pending, entries, content.timezone_offset)
    synchronized = False
    dated: Sequence[Finding] = ()
    if isinstance(content, ProcedureLog):
        frame = content.identifiers.synchronization_frame_of_reference_uid
        synchronized = bool(frame) and frame == policy.synchronization_frame_of_reference_uid
    else:
        administration = SubstanceQuestion(
            patient_id=content.patient_id,
            issuer_of_patient_id=content.issuer_of_patient_id,
            issuer_universal_entity_id=content.issuer_universal_entity_id,
            patient_name=content.patient_name,
            admission_id=content.admission_id,
            issuer_of_admission_id=content.issuer_of_admission_id,
            operators=content.operators,
            device=profile.device,
            policy=policy,
            time=times[0],
            arrival=pending.arrival,
            allowed=profile.operators,
        )
        dated = substance.time_findings(administration, strict=profile.strict)
        if any(finding.refuse for finding in dated):
            raise InvalidArgument([*dated, *content.findings])
    difference = clocks.measure(
        pending.calling_ae, times, pending.arrival, tolerance=policy.clock_tolerance, for_a_day=synchronized
    )
    pending.content = content
    pending.noticed += [*content.findings, *dated]
    behind = None if difference is None else round(difference.total_seconds(), 3)
    pending.entries = [
        EntryDraft(
            index=entry.index,
            type=ENTRY_TYPE if pending.procedural else ADMINISTRATION_TYPE,
            occurred=utc(moment.earliest),
            observation_uid=entry.observation_uid,
            content=entry.content,
            near_duplicate_key=entry.near_duplicate_key,
            dated=entry.observation_datetime,
            data=Own.model_validate(
                {
                    "observation_uid": entry.observation_uid or None,
                    "occurred": {
                        "time": moment.earliest,
                        "until": None if moment.latest == moment.earliest else moment.latest,
                        "text": moment.text,
                        "basis": moment.basis,
                        "synchronized": synchronized,
                        "clock_difference_seconds": behind,
                    },
                    "entry": entry.typed,
                }
            ).members(),
        )
        for entry, moment in zip(entries, times, strict=True)
    ]
    pending.question = (
        Question(content.identifiers, profile.device, policy, times, pending.arrival, difference)
        if isinstance(content, ProcedureLog)
        else administration
    )


def entries_of(content: ProcedureLog | SubstanceAdministration | None) -> Sequence[TypedEntry]:
    """The entries of a log; an administration is one."""
    if isinstance(content, ProcedureLog):
        return content.entries
    return [] if content is None else [content.entry]


def _times(pending: Pending, entries: Sequence[TypedEntry], offset: str) -> list[Instant]:
    times: list[Instant] = []
    for entry in entries:
        try:
            times.append(
                instant(
                    entry.observation_datetime,
                    request_offset=offset,
                    device_zone=pending.profile.zone,
                    server_zone=pending.profile.server_zone,
                    arrival=pending.arrival,
                    tolerance=pending.profile.policy.clock_tolerance,
                )
            )
        except ValueError as error:
            finding = Finding("bad-datetime", str(error)[:60], path=entry.path, refuse=True)
            refused = DoesNotMatchTemplate([finding]) if pending.procedural else InvalidArgument([finding])
            refused.kinds = tuple(each.kind for each in entries)
            raise refused from None
    return times


# --- steps 8 and 9: where it belongs -------------------------------------------------------------------------------------


def decide(pending: Pending, registry: Registry) -> Judgement:
    """Steps 8 and 9, on what is known now; leaves the decision, its findings with the entries, and whether it is a sign of life."""
    question, known = pending.question, pending.known
    standing = [
        Standing(one.position, one.study_instance_uid, one.patient_id, one.issuer, given_study(one.context))
        for one in known
    ]
    if isinstance(question, SubstanceQuestion):
        judgement = Judgement(substance.decide(question, registry))
        if known:
            judgement = judge_administration(question, registry, standing[0], judgement.decision)
    else:
        assert question is not None
        new = _of_new_entries(question, known)
        judgement = Judgement(rules.decide(new, registry))
        if known:
            every = len(known) == len(question.times)
            judgement = judge(new, registry, standing, judgement.decision, every=every)
    pending.decision = decision = judgement.decision
    pending.alive = None
    if decision.alive_at and isinstance(question, Question):
        pending.alive = SignOfLife(decision.alive_at, *map(microseconds, occurred_between(question)))
    of_request = [published(finding) for finding in (*pending.noticed, *decision.findings)]
    for draft, entry in zip(pending.entries, entries_of(pending.content), strict=True):
        draft.findings = [*map(published, entry.findings), *of_request]
    return judgement


def _of_new_entries(question: Question, known: Sequence[KnownEntry]) -> Question:
    """The question of the new entries alone; as it is where there are none."""
    there = {one.entry for one in known}
    new = [index for index in range(len(question.times)) if index not in there]
    if not known or not new:
        return question
    return replace(question, times=[question.times[index] for index in new], numbers=[index + 1 for index in new])


def explain_match(keeper: RegistryKeeper, profiles: Profiles, query: Mapping[str, str]) -> dict[str, Any]:
    """What would match: the decision on one entry that occurs now, for people who look for the reason of a refusal.

    Args:
        query: ``study_instance_uid``, ``patient_id``, ``issuer``, ``study_id``, ``location``, ``ae_title``; all optional.

    Returns:
        The published ``match`` object, with status name, study, patient, findings and comment beside it.
    """
    with keeper.lock:  # the settings do not change between the two
        profile = profiles(query.get("ae_title", ""))
        decision = rules.decide(_question(profile, query), keeper.registry)
    return match_of(decision) | {
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
