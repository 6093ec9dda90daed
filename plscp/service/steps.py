"""Steps 1 to 10 of contract section 2, in their order: from a request to the draft that the store takes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

from plscp.content.model import Bounds
from plscp.content.reader import Decoded, decode, too_large
from plscp.content.syntax import is_ui
from plscp.dicom.answer import Encodable, Status
from plscp.errors import DoesNotMatchTemplate, InvalidArgument, MissingAttribute, Refused
from plscp.findings import Finding
from plscp.matching import rules, substance
from plscp.matching.corrections import MOVE, proposal_id, proposed
from plscp.matching.known_entries import StoredEntry, check_known_administration, check_known_entries
from plscp.matching.match_context import occurred_between
from plscp.matching.model import Decision, Instant, MatchQuestion, Move, SubstanceQuestion
from plscp.matching.registry import Registry, microseconds
from plscp.records.parts import (
    ADMINISTRATION_TYPE,
    ENTRY_TYPE,
    Match,
    Refusal,
    Replayed,
    Sender,
    published,
    utc,
)
from plscp.records.values import Own, given_study, match_of, seconds, sender_of, shared
from plscp.service.clock import ClockDifferences
from plscp.service.profile import Profile
from plscp.service.reply import comment
from plscp.statuses import INSTANCES, PROCEDURAL_EVENT_LOGGING, STATUSES
from plscp.store.port import Accepted, EntryDraft, KnownEntry, RegistryRecord, Rejected, Stored
from plscp.store.quarantine import ReplayOf
from plscp.templates.procedure_log import read_log
from plscp.templates.request import ProcedureLog, SubstanceAdministration, TypedEntry
from plscp.templates.substance import read_administration

Answer = tuple[Status, Encodable | None]

NOT_ALLOWED: Final = Finding("sop-class-not-allowed", "calling AE title may not use this SOP Class")
RECORD: Final = 1
"""Action Type ID of both SOP Classes (Tables P.2-2 and P.3-2)."""


class SignOfLife(NamedTuple):
    """That a study was alive at a place when the request's latest entry occurred; microseconds since the epoch."""

    place: str
    earliest_us: int
    latest_us: int  # the device's clock may be slow


class DatedContent(NamedTuple):
    """What steps 6 and 7 make of a data set: checked and typed, its entries in UTC, and the question where they belong."""

    typed: ProcedureLog | SubstanceAdministration
    entries: Sequence[EntryDraft]
    question: MatchQuestion | SubstanceQuestion


@dataclass(frozen=True, slots=True)
class Replaying:
    """That a request comes out of quarantine: nobody waits for its answer, and nothing is measured or counted of it.

    Attributes:
        item: identity of the quarantine item.
        source: who has it replayed, as of a `RegistryDraft`.
        started: UTC; the request's own arrival is that of long ago.
        entries: indexes of the only ones that are wanted; empty: all.
        keep: asked of each acceptance, under the registry's lock, whether it is to be kept; else it is a trial.
    """

    item: bytes
    source: str
    started: datetime
    keep: "Callable[[Pending, Decision, Registry], bool]"
    entries: tuple[int, ...] = ()


@dataclass(slots=True)
class Pending:
    """One request between its last byte and its answer.

    Attributes:
        raw, identity, dated: what step 5 makes of it.
        noticed: findings of steps 1 to 7.
        content: what steps 6 and 7 make of it; or `refused`.
        known: those of its entries that are stored already, as the store has told them.
        decision: the last one of steps 8 and 9; `alive`: of what study it is a sign of life, by that decision.
        replaying: where it comes out of quarantine; `trial`: whether the last decision, if any, is not to be kept.
        stored: what the store has said in the end.
    """

    event: Any
    give: Callable[[Answer], None]
    profile: Profile
    calling_ae: str
    sop_class: str
    arrival: datetime
    request_id: str
    raw: bytes = b""
    identity: bytes = b""
    dated: str = ""
    noticed: list[Finding] = field(default_factory=list)
    content: DatedContent | None = None
    refused: Refused | None = None
    known: Sequence[KnownEntry] = ()
    decision: Decision | None = None
    alive: SignOfLife | None = None
    answered: bool = False
    replaying: Replaying | None = None
    trial: bool = False
    stored: Stored | None = None

    def begin_again(self, profile: Profile) -> None:
        """Forget what was read by another profile; what the store said of its content stays true."""
        self.profile, self.noticed, self.content, self.refused, self.decision = profile, [], None, None, None

    @property
    def procedural(self) -> bool:
        """Whether it is of Procedural Event Logging; else of Substance Administration Logging."""
        return self.sop_class == PROCEDURAL_EVENT_LOGGING

    @property
    def entries(self) -> Sequence[TypedEntry]:
        """Its entries, as far as they could be read."""
        return entries_of(self.content.typed) if self.content is not None else ()

    @property
    def sender(self) -> Sender:
        """Who sent it, as it is published."""
        places = self.profile.device.locations
        return sender_of(self.calling_ae, places[0] if len(places) == 1 else "", self.address)

    @property
    def address(self) -> str:
        """Where it came from."""
        return str(self.event.assoc.requestor.address)

    @property
    def association(self) -> str:
        """The association's id."""
        return str(getattr(self.event.assoc, "id", ""))

    @property
    def message_id(self) -> int:
        """Message ID (0000,0110)."""
        return int(self.event.message_id or 0)

    @property
    def quarantine_id(self) -> str:
        """What people type to see it in quarantine, where it is kept there."""
        return self.identity.hex()[:16]

    def about(self) -> dict[str, Any]:
        """What each log line about it names it by."""
        return {
            "calling_ae": self.calling_ae,
            "association": self.association,
            "message_id": self.message_id,
            "request_id": self.request_id,
        }


# --- steps 1 to 4: the command -------------------------------------------------------------------------------------------


def check_command(request: Any, abstract_syntax: str, profile: Profile) -> Finding | None:
    """Steps 1 to 4 of an N-ACTION request; a finding where lenient validation lets something pass.

    Raises Refused: 0118H, 0117H, 0119H, 0112H, 0123H or 0124H.
    """
    sop_class = str(request.RequestedSOPClassUID or "")
    if sop_class != abstract_syntax or sop_class not in INSTANCES:
        raise Refused(0x0118, [Finding("sop-class-differs", "Requested SOP Class is not the context's", "(0000,0003)")])
    instance = str(request.RequestedSOPInstanceUID or "")
    finding = None if instance == INSTANCES[sop_class] else _check_instance(instance, profile)
    if request.ActionTypeID != RECORD:
        raise Refused(0x0123, [Finding("action-type", "Action Type ID must be 1", "(0000,1008)")])
    if sop_class not in profile.sop_classes:
        raise Refused(0x0124, [NOT_ALLOWED])
    return finding


def _check_instance(instance: str, profile: Profile) -> Finding | None:
    """Step 2 for a Requested SOP Instance UID that is not the class's own."""
    place = "(0000,1001)"
    if not instance:
        absent = Finding("sop-instance-absent", "Requested SOP Instance UID is absent", place)
        if profile.strict:
            raise Refused(0x0112, [absent])
        return absent
    if not is_ui(instance):
        raise Refused(0x0117, [Finding("sop-instance-invalid", "Requested SOP Instance UID is no valid UID", place)])
    if instance in INSTANCES.values():
        raise Refused(0x0119, [Finding("class-instance-conflict", "the instance is the other SOP Class's", place)])
    raise Refused(0x0112, [Finding("no-such-instance", "the instance is not the well-known one", place)])


# --- steps 5 to 7: the data set ------------------------------------------------------------------------------------------


def read_data_set(pending: Pending, bounds: Bounds) -> Decoded:
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
            raise too_large()
        if not raw:
            raise MissingAttribute((), [Finding("no-data-set", "the request has no Action Information", refuse=True)])
        decoded = decode(
            pending.raw,
            str(pending.event.context.transfer_syntax),
            calling_ae=pending.calling_ae,
            sop_class=pending.sop_class,
            bounds=bounds,
        )
        pending.identity, pending.dated = decoded.identity, decoded.dated
    finally:
        if not pending.identity:  # its bytes, or the digest of what was too long to keep
            content = getattr(request, "truncated_digest", b"") or pending.raw
            parts = (b"bytes", pending.calling_ae.encode(), pending.sop_class.encode(), bytes(content))
            pending.identity = sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
    return decoded


def check_content(pending: Pending, decoded: Decoded) -> ProcedureLog | SubstanceAdministration:
    """Steps 6 and 7: attributes and templates. Raises Refused: 0115H, 0120H, 0121H or C102."""
    strict, only = pending.profile.strict, pending.replaying.entries if pending.replaying else ()
    if pending.procedural:
        return read_log(decoded, strict=strict, only=only)
    if any(only):
        raise InvalidArgument([Finding("no-such-entry", "an administration is one entry, of index 0", refuse=True)])
    return read_administration(decoded, strict=strict)


def date_entries(
    pending: Pending, typed: ProcedureLog | SubstanceAdministration, clocks: ClockDifferences
) -> DatedContent:
    """The end of step 7: when the entries occurred. What is noticed is left with the request.

    Raises Refused: C102 or 0115H for a DateTime that is none, or that cannot be.
    """
    profile, arrival = pending.profile, pending.arrival
    policy, entries = profile.policy, entries_of(typed)
    times: list[Instant] = []
    for entry in entries:
        try:
            times.append(profile.instant(entry.observation_datetime, arrival, typed.timezone_offset))
        except ValueError as error:
            finding = Finding("bad-datetime", str(error)[:60], path=entry.path, refuse=True)
            refused = DoesNotMatchTemplate([finding]) if pending.procedural else InvalidArgument([finding])
            refused.kinds = tuple(each.kind for each in entries)
            raise refused from None
    question: MatchQuestion | SubstanceQuestion
    synchronized = False
    dated: Sequence[Finding] = ()
    if isinstance(typed, ProcedureLog):
        frame = typed.identifiers.synchronization_frame_of_reference_uid
        synchronized = bool(frame) and frame == policy.synchronization_frame_of_reference_uid
    else:
        question = SubstanceQuestion(
            patient_id=typed.patient_id,
            issuer_of_patient_id=typed.issuer_of_patient_id,
            issuer_universal_entity_id=typed.issuer_universal_entity_id,
            patient_name=typed.patient_name,
            admission_id=typed.admission_id,
            issuer_of_admission_id=typed.issuer_of_admission_id,
            operators=typed.operators,
            device=profile.device,
            policy=policy,
            time=times[0],
            arrival=arrival,
            allowed=profile.operators,
        )
        dated = substance.time_findings(question, strict=profile.strict)
        if any(finding.refuse for finding in dated):
            raise InvalidArgument([*dated, *typed.findings])
    title, tolerance = pending.calling_ae, policy.clock_tolerance
    if not pending.replaying:
        clocks.measure(title, times, arrival, tolerance)
    difference = clocks.current(title, arrival, tolerance, for_a_day=synchronized)
    if isinstance(typed, ProcedureLog):
        numbers = [entry.index + 1 for entry in entries] if typed.count else ()
        question = MatchQuestion(typed.identifiers, profile.device, policy, times, arrival, difference, numbers)
    pending.noticed += [*typed.findings, *dated]
    behind = seconds(difference)
    kind = ENTRY_TYPE if pending.procedural else ADMINISTRATION_TYPE
    drafts = [
        EntryDraft(
            index=entry.index,
            type=kind,
            occurred=utc(moment.earliest),
            observation_uid=entry.observation_uid,
            content=entry.content,
            near_duplicate_key=entry.near_duplicate_key,
            dated=entry.observation_datetime,
            data=Own.model_validate(
                {
                    "observation_uid": entry.observation_uid or None,
                    "occurred": occurred_of(moment, behind, synchronized=synchronized),
                    "entry": entry.typed,
                }
            ).members(),
        )
        for entry, moment in zip(entries, times, strict=True)
    ]
    return DatedContent(typed, drafts, question)


def occurred_of(moment: Instant, behind: float | None, *, synchronized: bool) -> dict[str, Any]:
    """When an entry occurred, as it is published; `behind`: the device's clock difference in seconds."""
    return {
        "time": moment.earliest,
        "until": None if moment.latest == moment.earliest else moment.latest,
        "text": moment.text,
        "basis": moment.basis,
        "synchronized": synchronized,
        "clock_difference_seconds": behind,
    }


def entries_of(typed: ProcedureLog | SubstanceAdministration) -> Sequence[TypedEntry]:
    """The entries of a log; an administration is one."""
    return typed.entries if isinstance(typed, ProcedureLog) else [typed.entry]


# --- steps 8 and 9: where it belongs -------------------------------------------------------------------------------------


def decide(pending: Pending, content: DatedContent, registry: Registry) -> Decision:
    """Steps 8 and 9, on what is known now; leaves the decision, its findings with the entries, and whether it is a sign of life."""
    question, known = content.question, pending.known
    stored = [StoredEntry(one.position, *one[2:5], given_study(one.context), one.standing) for one in known]
    if isinstance(question, SubstanceQuestion):
        decision = substance.decide(question, registry)
        if stored:
            decision = check_known_administration(question, registry, stored[0], decision)
    else:
        there = {one.entry for one in known}
        new = [index for index in range(len(question.times)) if index not in there]
        if known and new:  # the new entries alone are matched
            times = [question.times[index] for index in new]
            numbers = question.numbers or range(1, len(question.times) + 1)
            question = replace(question, times=times, numbers=[numbers[index] for index in new])
        decision = rules.decide(question, registry)
        if stored:
            decision = check_known_entries(question, registry, stored, decision, every=not new)
    pending.decision, pending.alive = decision, None
    if decision.alive_at and isinstance(content.question, MatchQuestion):
        occurred = occurred_between(content.question)
        pending.alive = SignOfLife(decision.alive_at, *map(microseconds, occurred))
    of_request = [published(finding) for finding in (*pending.noticed, *decision.findings)]
    for draft, entry in zip(content.entries, pending.entries, strict=True):
        draft.findings = [*map(published, entry.findings), *of_request]
    return decision


# --- step 10: what the store is given ------------------------------------------------------------------------------------


def replay_of(pending: Pending) -> ReplayOf | None:
    """What the store is told of a request that comes out of quarantine."""
    replaying = pending.replaying
    if replaying is None:
        return None
    said = Replayed(time=replaying.started, source=replaying.source, arrived=pending.arrival)
    entries = replaying.entries if pending.procedural else ()
    return ReplayOf(replaying.item, pending.identity, said, entries, pending.trial)


def accept(pending: Pending, typed: ProcedureLog | SubstanceAdministration, decision: Decision) -> Accepted:
    """What is stored of an accepted request, beside its entries."""
    alive = pending.alive
    return Accepted(
        status=decision.status,
        topic="procedure-log" if pending.procedural else "medication-administration",
        key=decision.study_instance_uid if pending.procedural else decision.patient_key,
        study_instance_uid=decision.study_instance_uid,
        patient_id=decision.patient_id,
        issuer=decision.issuer,
        context=shared(decision, pending.sender, typed.context if isinstance(typed, ProcedureLog) else None),
        comment=decision.comment,
        alive_at=alive.place if alive else "",
        alive_us=alive.earliest_us if alive else 0,
    )


def reject(pending: Pending, refused: Refused | Decision) -> Rejected:
    """What is stored of a request that steps 5 to 7 have refused, or the decision; with the correction that it proposes, if any."""
    kinds: Sequence[str] = [entry.kind for entry in pending.entries]
    match = proposal = None
    if isinstance(refused, Decision):
        said, match = refused.comment, Match.model_validate(match_of(refused))
        findings: Sequence[Finding] = [*pending.noticed, *refused.findings]
        if refused.move is not None:
            proposal = _propose(pending, refused.move, said)
    else:
        said, findings = comment(refused.findings), refused.findings
        kinds = kinds or refused.kinds
    status = f"{refused.status:04X}"
    data = Refusal(
        sender=pending.sender,
        findings=[published(finding) for finding in findings],
        status=status,
        status_name=STATUSES[refused.status].name,
        comment=said,
        sop_class=pending.sop_class,
        match=match,
        entry_kinds=list(dict.fromkeys(kinds)),
    ).members()
    return Rejected(refused.status, f"{status} {said}", data, said, content_refused=match is None, proposal=proposal)


def _propose(pending: Pending, move: Move, because: str) -> RegistryRecord:
    """A proposed correction: kept, not published. The same events to the same place are the same proposal."""
    change = proposed(
        MOVE,
        move.target,
        because,
        positions=move.positions,
        origins=move.origins,
        calling_ae=pending.calling_ae,
        request_id=pending.request_id,
        quarantine=pending.quarantine_id,
    )
    said = {"positions": move.positions, "to": change["to"]}
    return RegistryRecord.proposal(change, move.origins[0].key, proposal_id(said))
