"""The N-ACTION handler: calls the steps of contract section 2 in their order, and answers. It holds no rules of its own.

It serves our acceptor, through `begin` and `on_delivery_confirmed`, and a stock `pynetdicom.AE`, through `plscp.service.stock`.
"""

import asyncio
import contextlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from threading import Event, Lock
from time import monotonic, perf_counter
from typing import Any, Final

from plscp.content.model import Bounds
from plscp.content.reader import DEFLATED
from plscp.dicom.answer import Encodable, PendingResponse, Status
from plscp.errors import Refused, StoreError
from plscp.findings import Finding
from plscp.logs import debugging, log
from plscp.matching.match_context import UNUSABLE_ISSUERS
from plscp.matching.model import Decision
from plscp.matching.registry import microseconds
from plscp.metrics import Metrics
from plscp.service import steps
from plscp.service.clock import ClockDifferences
from plscp.service.keeper import RegistryKeeper, now_us
from plscp.service.overview import Devices
from plscp.service.profile import Profiles
from plscp.service.refusals import Refusals
from plscp.service.reply import ActionReply, comment, failure, not_recorded
from plscp.service.steps import Answer, DatedContent, Pending, Replaying
from plscp.statuses import STATUSES
from plscp.store.port import (
    Accepted,
    ClockMeasured,
    Delivered,
    EntriesKnown,
    EventStore,
    Failed,
    Rejected,
    RequestRecord,
    Result,
    Stored,
)
from plscp.templates.engine import NOT_VALID

LARGE_BYTES: Final = 32 * 1024
"""Bytes of a data set beyond which it is read in a thread of its own: 1 MiB within all bounds takes 0.1 s, and the event loop is
everybody's. Small ones gain nothing from a thread."""
DEFLATED_WEIGHT: Final = 16
"""How many times its size a deflated data set counts: what it inflates to is not known before."""

DEFECT: Final = Finding("internal-error", "this server failed on the request", refuse=True)
MOST_ISSUERS_TOLD: Final = 1000
"""Different issuers that the log names: anyone can invent one per request."""

_PROCESS: Final = os.urandom(4).hex()
_numbers: Final = itertools.count(1)
"""Beside the time they make request ids; asking the system for random bytes each time would give up the GIL."""


class Handlers:
    """Answers N-ACTION requests of both SOP Classes.

    Args:
        store: where requests go; nothing is answered Success before it says so.
        profiles: by the settings that hold now; they change under the keeper's lock.
        answer_deadline: seconds after which a device gets a failure although the store has not answered.

    Attributes:
        refusals: the log's lines about refused requests; to be flushed every second or so.
        quarantined: told of each request that was refused by matching and is in quarantine, on any thread, before its answer.
    """

    def __init__(
        self,
        store: EventStore,
        keeper: RegistryKeeper,
        profiles: Profiles,
        *,
        bounds: Bounds | None = None,
        counters: Metrics | None = None,
        answer_deadline: float = 10.0,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._profiles = profiles
        self._counters = counters or Metrics()
        self._took_to_decode, self._took_to_validate, self._took_to_match = map(
            self._counters.stage, ("decode", "validate", "match")
        )
        self._bounds = bounds or Bounds()
        self._deadline = answer_deadline
        self._clock = clock
        self._under_way: deque[tuple[float, Pending]] = deque()
        self._watching = False
        self._answering = Lock()
        self._issuers_told: set[tuple[str, ...]] = set()
        self.devices = Devices()
        self.refusals = Refusals()
        self.quarantined: Callable[[Pending], None] = lambda _pending: None
        self._slow_lane = ThreadPoolExecutor(1, "plscp-large-data-sets")
        self.clocks = ClockDifferences(lambda *measurement: store.submit(ClockMeasured(*measurement)))

    # --- the acceptor's side -----------------------------------------------------------------------------------------

    def begin(self, event: Any) -> PendingResponse:
        """Start on a request, as pynetdicom's `evt.Event` for N-ACTION; in the event loop of our acceptor.

        Returns:
            What has (status, Action Reply), or is given it in the event loop after the commit or at the answer deadline.
        """
        loop = asyncio.get_running_loop()
        response = PendingResponse()

        def give_later(answer: Answer) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                loop.call_soon_threadsafe(response.give, answer)

        pending = self._pending(event, give_later if is_large(event) else response.give)
        self._run(pending)
        if response.answer is not None:
            return response
        under_way = self._under_way
        while under_way and under_way[0][1].answered:
            under_way.popleft()
        if not self._watching:
            self._watching = True
            loop.call_later(self._deadline, self._overdue, loop)
        under_way.append((monotonic() + self._deadline, pending))
        return response

    def _overdue(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer what is past its deadline; look again when the oldest that is left will be: one timer for all."""
        under_way = self._under_way
        while under_way and (under_way[0][1].answered or under_way[0][0] <= monotonic()):
            self._late(under_way.popleft()[1])
        self._watching = bool(under_way)
        if under_way:
            loop.call_later(under_way[0][0] - monotonic(), self._overdue, loop)

    def on_delivery_confirmed(self, receipts: Sequence[object]) -> None:
        """The answers with these receipts are known to have arrived (contract section 1)."""
        self._store.submit(Delivered([str(receipt) for receipt in receipts]))

    def answer(self, event: Any) -> Answer:
        """Answer a request from any thread but the event loop's; blocks until the commit or the answer deadline."""
        response, answered = PendingResponse(), Event()
        response.then(lambda _: answered.set())
        pending = self._pending(event, response.give)
        self._run_steps(pending)
        if not answered.wait(self._deadline):
            self._late(pending)
            answered.wait()  # where the store was quicker
        answer = response.answer
        assert answer is not None
        return answer

    def replay(self, event: Any, replaying: Replaying, done: Callable[[Pending, Answer], None]) -> None:
        """Judge a request out of quarantine like one that arrives, by the settings and the registry of now; from any thread.

        Args:
            event: as of `begin`; its timestamp is when the request arrived first.
            done: called once, on any thread, with what became of it and what a device would be answered.
        """
        pending = self._pending(event, lambda answer: done(pending, answer))
        pending.replaying, pending.arrival = replaying, event.timestamp
        self._run(pending)

    # --- the steps ---

    def _run(self, pending: Pending) -> None:
        if is_large(pending.event):
            self._slow_lane.submit(self._run_steps, pending)
        else:
            self._run_steps(pending)

    def _run_steps(self, pending: Pending) -> None:
        try:
            self._check_and_submit(pending)
        except Exception:
            self._defect(pending)

    def _defect(self, pending: Pending) -> None:
        """What a device sent is not lost by a defect of ours, and whoever waits is answered; called while the exception is handled.

        From step 5 on it is kept in quarantine like any refusal, unless it is there already or even that fails.
        """
        log.exception("internal-error", where="handlers", **pending.about())
        if pending.identity and pending.refused is None and pending.stored is None:
            pending.refused = Refused(0x0110, [DEFECT])
            with contextlib.suppress(Exception):  # of the same kind: it was said
                self._decide_and_submit(pending)
                return
        self._settle(pending)
        self._finish(pending, Status(0x0110), ())

    def _pending(self, event: Any, give: Callable[[Answer], None]) -> Pending:
        calling_ae = str(event.assoc.requestor.ae_title).strip()
        arrival = event.timestamp if self._clock is None else self._clock()
        return Pending(
            event=event,
            give=give,
            profile=self._profiles(calling_ae),
            calling_ae=calling_ae,
            sop_class=str(event.context.abstract_syntax),
            arrival=arrival if arrival.tzinfo else arrival.astimezone(UTC),
            request_id=f"{now_us():016x}{_PROCESS}{next(_numbers) & 0xFFFFFFFF:08x}",
        )

    def _check_and_submit(self, pending: Pending) -> None:
        """Steps 1 to 9 by the profile that the request has, then hand over to the store."""
        try:
            noticed = steps.check_command(pending.event.request, pending.sop_class, pending.profile)
        except Refused as refused:
            self._settle(pending)
            self._finish(pending, failure(refused), refused.findings)
            return
        if noticed is not None:
            pending.noticed.append(noticed)
        try:
            self._read(pending)
        except Refused as refused:
            # Tracebacks would keep all that was read, in a circle that only the garbage collector opens.
            refused.__context__ = None
            pending.refused = refused.with_traceback(None)
        self._decide_and_submit(pending)

    def _read(self, pending: Pending) -> None:
        """Steps 5 to 7."""
        began = perf_counter()
        decoded = steps.read_data_set(pending, self._bounds)
        read = perf_counter()
        self._took_to_decode(read - began)
        pending.content = steps.date_entries(pending, steps.check_content(pending, decoded), self.clocks)
        if pending.replaying is None:
            for entry in pending.entries:
                for finding in entry.findings:
                    self._noticed(finding)
        self._took_to_validate(perf_counter() - read)

    def _noticed(self, finding: Finding) -> None:
        """Count a finding; that a template's class contradicts its rows is a defect of plscp, and goes to the log as well."""
        self._counters.noticed(finding)
        if finding.code == NOT_VALID:
            log.error("internal-error", where=f"templates, {finding.template}", why=finding.reason)

    def _decide_and_submit(self, pending: Pending) -> None:
        """Decide on the registry as it is now and hand the request to the store (steps 8 to 10)."""
        decided: Accepted | Rejected
        if pending.refused is not None or pending.content is None:
            decided, position = steps.reject(pending, pending.refused or Refused(0x0110)), 1 << 62
        else:
            decision = self._decide(pending, pending.content)
            if decision is None:
                pending.begin_again(self._profiles(pending.calling_ae))
                self._run(pending)
                return
            performed = STATUSES[decision.status].performed
            decided = (
                steps.accept(pending, pending.content.typed, decision) if performed else steps.reject(pending, decision)
            )
            position = decision.registry_position
        request, replaying, replay = pending.event.request, pending.replaying, steps.replay_of(pending)
        self._store.submit(
            RequestRecord(
                request_id=pending.request_id,
                identity=replay.identity if replay else pending.identity,
                dated=pending.dated,
                sop_class=pending.sop_class,
                calling_ae=pending.calling_ae,
                address=pending.address,
                association=pending.association,
                message_id=pending.message_id,
                transfer_syntax=str(pending.event.context.transfer_syntax),
                # What comes out of quarantine stands in the store in the order in which it was taken.
                arrival=microseconds(replaying.started if replaying else pending.arrival),
                raw=pending.raw,
                entries=pending.content.entries if pending.content else (),
                decision=decided,
                registry_position=position,
                done=lambda result: self._on_result(pending, result),
                raw_length=getattr(request, "truncated_length", None) or len(pending.raw),
                raw_digest=getattr(request, "truncated_digest", b"") or b"",
                judged=tuple(pending.known),
                replay=replay,
                entry_count=getattr(pending.content.typed, "count", 0) if pending.content else 0,
            )
        )

    def _decide(self, pending: Pending, content: DatedContent) -> Decision | None:
        """Steps 8 and 9; None where the request was read by settings that hold no more."""
        began = perf_counter()
        with self._keeper.lock:
            profile = self._profiles(pending.calling_ae)
            if profile is not pending.profile and profile != pending.profile:
                return None  # the registry is that of the new ones: nothing is decided by half of both
            registry, expected = self._keeper.registry, pending.alive
            decision = steps.decide(pending, content, registry)
            if pending.alive:  # what turns a room over waits until this one is stored
                registry.life.expect(pending.request_id, decision.study_instance_uid, pending.alive.place)
            elif expected:
                registry.life.settle(pending.request_id)
            if pending.replaying:
                pending.trial = not pending.replaying.keep(pending, decision, registry)
                return decision
        self._took_to_match(perf_counter() - began)
        self._counters.matched(decision.rule, decision.status)
        for finding in decision.findings:
            if finding.code in UNUSABLE_ISSUERS:
                self._issuer_unusable(pending, finding, decision)
        return decision

    def _issuer_unusable(self, pending: Pending, finding: Finding, decision: Decision) -> None:
        """Count it, and say once for each device and spelling what `[issuers]` lacks."""
        self._counters.issuer_unusable(pending.calling_ae, finding.code)
        names = ("issuer_as_sent", "issuer_universal_entity_id")
        sent = [decision.given[name] for name in names if name in decision.given]
        told = (pending.calling_ae, finding.code, *sent)
        if told not in self._issuers_told and len(self._issuers_told) < MOST_ISSUERS_TOLD:
            self._issuers_told.add(told)
            log.warning("issuer-unusable", why=finding.reason, issuers=sent, **pending.about())

    # --- what the store says ---

    def _on_result(self, pending: Pending, result: Result) -> None:
        try:
            match result:
                case Stored():
                    self._stored(pending, result)
                case Failed(error):
                    self._failed(pending, error)
                case _:  # decided on what is no more, or on less than there is
                    if isinstance(result, EntriesKnown):
                        pending.known = result.under
                    self._keeper.catch_up()
                    self._decide_and_submit(pending)
        except StoreError as error:  # the registry cannot be caught up with
            self._failed(pending, error)
        except Exception:  # a replay has no deadline: whoever waits for it would do so for ever
            self._defect(pending)

    def _failed(self, pending: Pending, error: StoreError) -> None:
        self._settle(pending)
        self._finish(pending, not_recorded(pending.sop_class, error), (), why=error.label)

    def _stored(self, pending: Pending, stored: Stored) -> None:
        info = STATUSES[stored.status]
        refused, pending.stored = pending.refused, stored
        status = Status(stored.status) if info.performed or refused is None else failure(refused)
        if info.comment:
            status.comment = stored.comment
        if not info.performed:
            self._settle(pending)
            if pending.decision is not None and pending.replaying is None:
                self.quarantined(pending)
            self._finish(pending, status, refused.findings if refused else (), quarantine=pending.quarantine_id)
            return
        status.receipt = stored.request_id
        if stored.outcome == "retry":
            self._counters.retried(pending.sop_class)
        if stored.outcome != "added":
            self._keeper.catch_up()  # nothing was compared with the registry: the answer says under whom the event stands now
        alive = pending.alive if stored.outcome == "added" and not pending.trial else None
        reply = None
        with self._keeper.lock:
            registry = self._keeper.registry
            if alive:
                self._keeper.note_sign_of_life(
                    stored.study_instance_uid, alive.place, alive.earliest_us, perhaps_us=alive.latest_us
                )
            self._settle(pending)
            if pending.procedural:
                patient_id, _ = registry.current_patient(
                    stored.patient_id, stored.issuer, stored.standing or stored.position
                )
                character_set = pending.content.typed.character_set if pending.content else ""
                reply = ActionReply(stored.study_instance_uid, patient_id, character_set)
        self._finish(pending, status, (), reply, position=stored.position)
        if alive:  # the answer does not wait for what follows
            self._keeper.turn_over_after(stored.study_instance_uid, alive.place, alive.earliest_us)

    def _settle(self, pending: Pending) -> None:
        """Its sign of life, if it may be one, is no longer on its way."""
        if pending.alive:
            with self._keeper.lock:
                self._keeper.registry.life.settle(pending.request_id)

    def _late(self, pending: Pending) -> None:
        """The answer deadline has passed: the device gets a failure, and identity makes its repeat harmless."""
        if not pending.answered:
            log.warning("answer-late", **pending.about())
            self._finish(pending, not_recorded(pending.sop_class), ())

    def _finish(
        self,
        pending: Pending,
        status: Status,
        these: Sequence[Finding],
        reply: Encodable | None = None,
        *,
        position: int | None = None,
        quarantine: str = "",
        why: str = "",
    ) -> None:
        """Answer, and say so; `why`: for log and overview, where the answer itself may not say it and it is no finding."""
        with self._answering:  # the deadline passes in another thread than the store's results come in
            if pending.answered:
                return
            pending.answered = True
        if pending.replaying:
            pending.give((status, reply))
            return
        seconds = max((datetime.now(UTC) - pending.arrival).total_seconds(), 0.0)
        self._counters.answered(pending.sop_class, int(status), seconds)
        decided = pending.decision.findings if pending.decision is not None else ()
        for finding in (*pending.noticed, *decided, *these):
            self._noticed(finding)
        arrived_us = microseconds(pending.arrival)
        if STATUSES[int(status)].performed:
            self.devices.accepted(pending.calling_ae, arrived_us)
            if debugging():
                log.debug("request-answered", status=f"{int(status):04X}", position=position, **pending.about())
        else:
            said = status.comment or why or comment(these or decided)
            self._counters.device_refused(pending.calling_ae)
            self.devices.refused(pending.calling_ae, arrived_us, int(status), said)
            self.refusals.refused(pending, int(status), said, these or decided, quarantine)
        pending.give((status, reply))


def is_large(event: Any) -> bool:
    """Whether a request's data set is for the thread of large ones."""
    weight = DEFLATED_WEIGHT if event.context.transfer_syntax == DEFLATED else 1
    return len(event.request.raw) * weight > LARGE_BYTES
