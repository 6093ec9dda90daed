"""Steps 5 to 7 of contracts section 2: from encoded bytes to entries and the question where they belong."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from time import perf_counter
from typing import Any, Final, NamedTuple, Protocol

from plscp.content.model import Bounds
from plscp.content.reader import decode
from plscp.errors import DoesNotMatchTemplate, InvalidArgument, Refused
from plscp.findings import Finding
from plscp.logs import log
from plscp.matching import rules, substance
from plscp.matching.known import Move, Standing, judge, judge_administration
from plscp.matching.match_context import occurred_between
from plscp.matching.model import Decision, Instant, Question, SubstanceQuestion
from plscp.matching.registry import microseconds
from plscp.matching.times import instant
from plscp.network.answer import Encodable, Status
from plscp.records import fragments
from plscp.service import checks
from plscp.service.clock import ClockDifferences
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from plscp.store.port import EntryDraft, KnownEntry
from plscp.templates import action
from plscp.templates.engine import NOT_VALID
from plscp.templates.entries import entry_json
from plscp.templates.procedure_log import context_json
from plscp.templates.request import ProcedureLog, SubstanceAdministration, TypedEntry

Answer = tuple[Status, Encodable | None]

ENTRY: Final = "org.plscp.procedure-log.entry.v1"
ADMINISTRATION: Final = "org.plscp.medication-administration.v1"
KEPT_OF_TOO_LONG: Final = 64 * 1024


def _nothing(_seconds: float) -> None:
    """Nobody counts."""


class Counters(Protocol):
    """What the service counts; every method must be cheap."""

    def answered(self, sop_class: str, status: int, seconds: float) -> None:
        """A request was answered, so long after its last byte."""

    def retried(self, sop_class: str) -> None:
        """A request was a repeat of one whose answer is not known to have arrived, and got the stored answer."""

    def noticed(self, finding: Finding) -> None:
        """A finding was made."""

    def matched(self, rule: str, result: int) -> None:
        """A decision was made."""

    def issuer_unusable(self, device: str, reason: str) -> None:
        """A Patient ID came with an issuer that cannot be used; the reason is a finding's code."""

    def device_refused(self, device: str) -> None:
        """A request of a device was answered with a failure."""

    def stage(self, name: str) -> Callable[[float], None]:
        """The function that takes the seconds of a stage: ``decode``, ``validate`` or ``match``."""


class NoCounters:
    """Counts nothing."""

    def answered(self, sop_class: str, status: int, seconds: float) -> None:
        """Nothing."""

    def retried(self, sop_class: str) -> None:
        """Nothing."""

    def noticed(self, finding: Finding) -> None:
        """Nothing."""

    def matched(self, rule: str, result: int) -> None:
        """Nothing."""

    def issuer_unusable(self, device: str, reason: str) -> None:
        """Nothing."""

    def device_refused(self, device: str) -> None:
        """Nothing."""

    def stage(self, name: str) -> Callable[[float], None]:
        """A function that does nothing."""
        del name
        return _nothing


def count(counters: Counters, finding: Finding) -> None:
    """Counts a finding; that a template's class contradicts its rows is a defect of plscp, and goes to the log as well."""
    counters.noticed(finding)
    if finding.code == NOT_VALID:
        log.error("internal-error", where=f"templates, {finding.template}", why=finding.reason)


class Decided(NamedTuple):
    """A decision, and what is stored with it.

    Attributes:
        inherited: the ``"context":{...}`` member that the entries share, or empty.
        move: the correction that would make it right, where it is refused because of entries that are known.
    """

    decision: Decision
    inherited: bytes = b""
    move: Move | None = None


@dataclass(slots=True)
class Pending:
    """One request between its last byte and its answer.

    Attributes:
        kept: whether it stands in quarantine.
        known: those of its entries that are stored already, as the store has told them.
        occurred_us: when its latest entry occurred, for a sign of life; microseconds since the epoch.
        perhaps_us: the latest time at which it may have occurred: the device's clock may be slow.
        extra: the findings, in JSON, that the decision added to each of its entries.
        alive_at: the place where it is one of its study, by the last decision, or empty.
    """

    event: Any
    profile: Profile
    sop_class: str
    calling_ae: str
    arrival: datetime
    resolve: Callable[[Answer], None]
    sent_by: bytes = b""
    identity: bytes = b""
    raw: bytes = b""
    noticed: list[Finding] = field(default_factory=list)
    decided: Sequence[Finding] = ()
    content: ProcedureLog | SubstanceAdministration | None = None
    entries: Sequence[EntryDraft] = ()
    decide: Callable[[Sequence[KnownEntry]], Decided] | None = None
    refused: Refused | None = None
    answered: bool = False
    kept: bool = False
    request_id: str = ""
    known: tuple[KnownEntry, ...] = ()
    occurred_us: int = 0
    perhaps_us: int = 0
    alive_at: str = ""
    extra: bytes = b""

    def begin_again(self, profile: Profile) -> None:
        """Forget what was read by another profile; what the store said of its content stays true."""
        self.profile = profile
        self.noticed, self.decided = [], ()
        self.content, self.entries, self.decide, self.refused = None, (), None, None
        self.extra = b""

    def typed(self) -> Sequence[TypedEntry]:
        """The entries as the templates made them, in the order of `entries`."""
        if isinstance(self.content, ProcedureLog):
            return self.content.entries
        return [self.content.entry] if self.content is not None else []

    def kinds(self) -> list[str]:
        """The kinds of its entries, as far as they could be read."""
        if self.content is not None:
            return [entry.kind for entry in self.typed()]
        return list(self.refused.kinds) if self.refused is not None else []

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

    def identity_of_bytes(self) -> bytes:
        """Identity of what does not decode: its bytes, or the digest of what was too long to keep."""
        content = getattr(self.event.request, "truncated_digest", b"") or self.raw
        parts = (b"bytes", self.calling_ae.encode(), self.sop_class.encode(), bytes(content))
        return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


class Reading:
    """Reads requests: the templates room's work, the times, and the question for the matching room.

    Attributes:
        clocks: what was measured of each device's clock.
    """

    def __init__(self, keeper: RegistryKeeper, bounds: Bounds, counters: Counters, clocks: ClockDifferences) -> None:
        self._keeper = keeper
        self._bounds = bounds
        self._counters = counters
        self.clocks = clocks
        self._decoded = counters.stage("decode")
        self._validated = counters.stage("validate")

    def read(self, pending: Pending) -> None:
        """Steps 5 to 7: data set, attributes, templates; leaves the entries and how to decide on them.

        Raises:
            Refused: with the status of the first check that fails.
        """
        request = pending.event.request
        try:
            pending.raw = checks.data_set(request)
        except Refused:
            pending.raw = bytes(getattr(request, "raw", b"") or b"")[:KEPT_OF_TOO_LONG]
            raise
        began = perf_counter()
        decoded = decode(
            pending.raw,
            str(pending.event.context.transfer_syntax),
            calling_ae=pending.calling_ae,
            sop_class=pending.sop_class,
            bounds=self._bounds,
        )
        pending.identity = decoded.identity
        read = perf_counter()
        self._decoded(read - began)
        if pending.sop_class == PROCEDURAL_EVENT_LOGGING:
            self._procedural(pending, action.procedural(decoded, strict=pending.profile.strict))
        else:
            self._substance(pending, action.substance(decoded, strict=pending.profile.strict))
        self._validated(perf_counter() - read)

    def _instant(self, pending: Pending, text: str, offset: str) -> Instant:
        return instant(
            text,
            request_offset=offset,
            device_zone=pending.profile.zone,
            server_zone=pending.profile.server_zone,
            arrival=pending.arrival,
            tolerance=pending.profile.policy.clock_tolerance,
        )

    def _measured(self, pending: Pending, times: Sequence[Instant], *, for_a_day: bool) -> timedelta | None:
        """What is known of the device's clock with this request."""
        tolerance = pending.profile.policy.clock_tolerance
        return self.clocks.measure(pending.calling_ae, times, pending.arrival, tolerance=tolerance, for_a_day=for_a_day)

    def _times(self, pending: Pending, entries: Sequence[TypedEntry], offset: str) -> list[Instant]:
        times: list[Instant] = []
        for typed in entries:
            try:
                times.append(self._instant(pending, typed.observation_datetime, offset))
            except ValueError as error:
                finding = Finding("bad-datetime", str(error)[:60], path=typed.path, refuse=True)
                procedural = pending.sop_class == PROCEDURAL_EVENT_LOGGING
                refused = DoesNotMatchTemplate([finding]) if procedural else InvalidArgument([finding])
                refused.kinds = tuple(entry.kind for entry in entries)
                raise refused from None
        return times

    def _procedural(self, pending: Pending, content: ProcedureLog) -> None:
        policy, device = pending.profile.policy, pending.profile.device
        times = self._times(pending, content.entries, content.timezone_offset)
        given = content.identifiers
        frame = given.synchronization_frame_of_reference_uid
        synchronized = bool(frame) and frame == policy.synchronization_frame_of_reference_uid
        difference = self._measured(pending, times, for_a_day=synchronized)
        pending.content = content
        pending.noticed += content.findings
        pending.entries = [
            self._draft(typed, moment, ENTRY, synchronized=synchronized, difference=difference)
            for typed, moment in zip(content.entries, times, strict=True)
        ]
        question = Question(given, device, policy, times, pending.arrival, difference)
        earliest, latest = occurred_between(question)
        pending.occurred_us, pending.perhaps_us = microseconds(earliest), microseconds(latest)

        def decide(known: Sequence[KnownEntry]) -> Decided:
            registry = self._keeper.registry
            new = question
            if known:
                new = _without(question, {one.entry for one in known})
            decision, move = rules.decide(new, registry), None
            if known:
                standing = [_standing(one) for one in known]
                decision, move = judge(new, registry, standing, decision, every=len(known) == len(times))
            return Decided(decision, context_json(content.context), move)

        pending.decide = decide

    def _substance(self, pending: Pending, content: SubstanceAdministration) -> None:
        [moment] = self._times(pending, [content.entry], content.timezone_offset)
        question = SubstanceQuestion(
            patient_id=content.patient_id,
            issuer_of_patient_id=content.issuer_of_patient_id,
            issuer_universal_entity_id=content.issuer_universal_entity_id,
            patient_name=content.patient_name,
            admission_id=content.admission_id,
            issuer_of_admission_id=content.issuer_of_admission_id,
            operators=content.operators,
            device=pending.profile.device,
            policy=pending.profile.policy,
            time=moment,
            arrival=pending.arrival,
            allowed=pending.profile.operators,
        )
        dated = substance.time_findings(question, strict=pending.profile.strict)
        if any(finding.refuse for finding in dated):
            raise InvalidArgument([*dated, *content.findings])
        pending.content = content
        pending.noticed += [*content.findings, *dated]
        difference = self._measured(pending, [moment], for_a_day=False)
        drafted = self._draft(content.entry, moment, ADMINISTRATION, synchronized=False, difference=difference)
        pending.entries = [drafted]

        def decide(known: Sequence[KnownEntry]) -> Decided:
            registry = self._keeper.registry
            decision = substance.decide(question, registry)
            if not known:
                return Decided(decision)
            decision, move = judge_administration(question, registry, _standing(known[0]), decision)
            return Decided(decision, move=move)

        pending.decide = decide

    def _draft(
        self,
        typed: TypedEntry,
        moment: Instant,
        kind: str,
        *,
        synchronized: bool,
        difference: timedelta | None,
    ) -> EntryDraft:
        for finding in typed.findings:
            count(self._counters, finding)
        occurred = fragments.utc(moment.earliest)
        data = fragments.entry(
            moment,
            occurred,
            typed.observation_uid,
            entry_json(typed.typed),
            synchronized=synchronized,
            difference=difference,
        )
        return EntryDraft(
            index=typed.index,
            type=kind,
            occurred=occurred,
            observation_uid=typed.observation_uid,
            content=typed.content,
            near_duplicate_key=typed.near_duplicate_key,
            data=data,
            findings=fragments.findings(typed.findings),
        )


def _without(question: Question, known: AbstractSet[int]) -> Question:
    """The question of the new entries alone; as it is where there are none."""
    new = [index for index in range(len(question.times)) if index not in known]
    if not new:
        return question
    return replace(question, times=[question.times[index] for index in new], numbers=[index + 1 for index in new])


def _standing(known: KnownEntry) -> Standing:
    where = (known.position, known.study_instance_uid, known.patient_id, known.issuer)
    return Standing(*where, fragments.given_study(known.context))
