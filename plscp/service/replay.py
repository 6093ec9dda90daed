"""Replay: a request in quarantine is judged again with what was kept of it, by the settings and the registry of now.

It goes through the handler's steps and the same identity, so whichever comes first, a replay or the device's own repeat, the other adds
nothing. What still refuses it is told and not kept. See contract section 1.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from dataclasses import dataclass
from datetime import datetime
from types import SimpleNamespace
from typing import Any, Final, Literal

from plscp.findings import Finding
from plscp.logs import log
from plscp.matching.comments import SEVERAL_LOCATIONS
from plscp.matching.model import Decision, Place
from plscp.matching.registry import Registry, moment_of
from plscp.metrics import Metrics
from plscp.service import reply
from plscp.service.handlers import Handlers
from plscp.service.keeper import tell, utc_now
from plscp.service.refusals import hint
from plscp.service.steps import RECORD, Answer, Pending, Replaying
from plscp.statuses import INSTANCES, STATUSES
from plscp.store.port import EventStore
from plscp.store.quarantine import QuarantineItem

Keep = Callable[[Pending, Decision, Registry], bool]
"""Whether an acceptance is to be kept; asked under the registry's lock, each time that it is decided anew."""


_BY_DEVICE: Final = "7"
"""The rule that asks who was where the settings say that the device is."""
_STOOD_ELSEWHERE: Final = "by place alone, and when it came its device stood at another location"
_HAD_SEVERAL: Final = "by place alone, and when it came its device had several locations"


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """What became of a replay, or would.

    Attributes:
        id: of the quarantine item.
        outcome: ``accepted``; ``known`` (every entry is stored already); ``refused`` (still); ``closed`` (its request was accepted
            before, at `position`); ``gone`` (its bytes are not kept); ``failed`` (the store took nothing).
        kept: whether it was done; False for a trial and for what was refused.
        status: as a device would be answered; 0000 where it was not judged.
        comment: Error Comment; of what is gone, why.
        hint: what to do about a refusal; empty where nobody can say.
        rule: of matching, by which its study or patient was found; empty where none was.
        study_instance_uid, patient_id, issuer: where it belongs; empty where it was refused.
        position: of the last event that was added, or of what closed the item; 0 for a trial.
        entries: how many were added, or would be.
        findings: those that refuse, where it was refused; else what was noted about the request.
    """

    id: str
    outcome: Literal["accepted", "known", "refused", "closed", "gone", "failed"]
    kept: bool = False
    status: int = 0
    comment: str = ""
    rule: str = ""
    study_instance_uid: str = ""
    patient_id: str = ""
    issuer: str = ""
    position: int = 0
    entries: int = 0
    findings: Sequence[Finding] = ()
    hint: str = ""

    @property
    def performed(self) -> bool:
        """Whether it is accepted, or would be."""
        return self.outcome in {"accepted", "known"}


def why_not(item: QuarantineItem) -> str:
    """Why an open item cannot be replayed, whatever the registry says: what was kept of it; empty where it can."""
    if len(item.raw) == item.raw_length:
        return ""
    if item.raw:
        return f"only {len(item.raw)} of its {item.raw_length} bytes were kept: it was longer than this server takes"
    return "its bytes were deleted, for their age or to keep the quarantine within its bound: only their digest is kept"


class Replay:
    """Replays quarantine items by the handlers' steps."""

    def __init__(
        self, store: EventStore, handlers: Handlers, metrics: Metrics, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self._store, self._handlers, self._metrics, self._clock = store, handlers, metrics, clock

    async def replay(
        self,
        item_id: str,
        *,
        entries: Sequence[int] = (),
        dry_run: bool = False,
        source: str = "http",
        keep: Keep = lambda _pending, _decision, _registry: True,
    ) -> ReplayOutcome | None:
        """Replay one item; None where there is none, or more than one whose id begins like this.

        Args:
            item_id: the item's id, or a beginning of it that no other has.
            entries: indexes, from 0, of the only entries that are wanted; empty: all of them.
            source: who has it replayed, as the published entries say it.
            keep: for an acceptance that depends on what is found.
        """
        item = await asyncio.to_thread(self._store.quarantine_item, item_id)
        if item is None:
            return None
        if item.closed_position is not None:
            return ReplayOutcome(item.id, "closed", position=item.closed_position)
        if why := why_not(item):
            return ReplayOutcome(item.id, "gone", comment=why)
        wanted = tuple(dict.fromkeys(sorted(entries)))
        stood = item.outcomes[0]["data"]["sender"]["location"]
        several = any(outcome["comment"] == SEVERAL_LOCATIONS for outcome in item.outcomes)
        why_not_there = ""

        def kept(pending: Pending, decision: Decision, registry: Registry) -> bool:
            nonlocal why_not_there
            moved = bool(stood) and registry.place(pending.sender.location) != registry.place(stood)
            why_not_there = _STOOD_ELSEWHERE if moved else _HAD_SEVERAL if several else ""
            if decision.rule != _BY_DEVICE:
                why_not_there = ""
            return not why_not_there and not dry_run and keep(pending, decision, registry)

        outcome = await self._run(item, Replaying(item.identity, source, self._clock(), kept, wanted))
        return ReplayOutcome(item.id, "refused", status=0xC103, comment=why_not_there) if why_not_there else outcome

    async def confirm(self, item_id: str, place: Place) -> str:
        """Replay an item if it still belongs where people were told; why it was not taken, empty where it was, or was before."""

        def keep(_pending: Pending, decision: Decision, _registry: Registry) -> bool:
            return Place(decision.study_instance_uid, decision.patient_id, decision.issuer) == place

        outcome = await self.replay(item_id, keep=keep)
        if outcome is None:
            return "there is no such quarantine item any more"
        if outcome.outcome == "closed":
            stands = await asyncio.to_thread(self._store.standing, [outcome.position])
            there = (Place(one.at.study_instance_uid, one.at.patient_id, one.at.issuer) for one in stands)
            same = any(
                one == place or one.study_instance_uid == place.study_instance_uid != "" for one in there
            )  # a study is one patient's, whatever his ID is by now
            return "" if same else "it was accepted since, and stands under another study or patient than was proposed"
        if outcome.kept:
            return ""
        if outcome.performed:
            return "by now it would belong to another study or patient than was proposed: plscp quarantine show says to which"
        return f"refused still: {outcome.comment or STATUSES[outcome.status].name}"

    async def _run(self, item: QuarantineItem, replaying: Replaying) -> ReplayOutcome:
        judged: ThreadFuture[tuple[Pending, Answer]] = ThreadFuture()
        self._handlers.replay(_event(item), replaying, lambda *said: tell(judged, said))
        pending, (status, _) = await asyncio.wrap_future(judged)
        outcome = _outcome(item, pending, int(status), status.comment or "")
        if outcome.kept:
            self._metrics.replayed.child(replaying.source, outcome.outcome).add()
            log.info(
                "request-replayed",
                quarantine=item.id,
                calling_ae=item.calling_ae,
                source=replaying.source,
                position=outcome.position,
                entries=outcome.entries,
                request_id=pending.request_id,
            )
        return outcome


def _event(item: QuarantineItem) -> Any:
    """A quarantine item as dicom hands over a request (`plscp.service.handlers.Handlers.begin`)."""
    request = SimpleNamespace(
        RequestedSOPClassUID=item.sop_class,
        RequestedSOPInstanceUID=INSTANCES[item.sop_class],
        ActionTypeID=RECORD,
        raw=item.raw,
    )
    requestor = SimpleNamespace(ae_title=item.calling_ae, address=item.address)
    return SimpleNamespace(
        request=request,
        context=SimpleNamespace(abstract_syntax=item.sop_class, transfer_syntax=item.transfer_syntax),
        assoc=SimpleNamespace(requestor=requestor, id=""),
        message_id=0,
        timestamp=moment_of(item.first_time),
    )


def _outcome(item: QuarantineItem, pending: Pending, status: int, comment: str) -> ReplayOutcome:
    """What became of it, out of what the store has said and what a device would be answered."""
    stored, decision = pending.stored, pending.decision
    if stored is not None and stored.outcome == "closed":
        return ReplayOutcome(item.id, "closed", position=stored.position)
    if stored is None or not STATUSES[status].performed:
        refused = pending.refused.findings if pending.refused else decision.findings if decision else ()
        failed = stored is None and (pending.content is not None or pending.refused is not None)
        why = reply.refusing(refused)
        return ReplayOutcome(
            item.id,
            "failed" if failed else "refused",
            status=status,
            comment=comment,
            rule=decision.rule if decision else "",
            findings=why,
            hint=hint(status, comment, why, pending.profile, item.sop_class),
        )
    return ReplayOutcome(
        item.id,
        "known" if stored.outcome == "known" else "accepted",
        kept=not pending.trial,
        status=status,
        comment=comment,
        rule=decision.rule if decision else "",
        study_instance_uid=stored.study_instance_uid,
        patient_id=stored.patient_id,
        issuer=stored.issuer,
        position=stored.position,
        entries=stored.entries,
        findings=[*pending.noticed, *(decision.findings if decision else ())],
    )
