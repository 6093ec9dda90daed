"""The HL7 v2 feed: what comes over MLLP becomes a registry change, and is acknowledged once that is committed."""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Final, NamedTuple

from plscp.dicom.admission import printable
from plscp.dicom.certificates import Certificates
from plscp.dicom.repeats import Repeats
from plscp.errors import BrokenMessage, Conflict, InvalidBody, StoreError
from plscp.feeds import hl7_orders, hl7_persons, hl7_staff
from plscp.feeds.hl7_answers import answers
from plscp.feeds.hl7_message import DATA_TYPE, INTERNAL, REQUIRED_FIELD, TYPES, UNKNOWN_KEY, Hl7Message, header_of, read
from plscp.feeds.hl7_persons import Authorities
from plscp.feeds.mllp import HL7, KEPT_BYTES, FeedSender, MllpFrame, MllpListener, MllpSettings, framed
from plscp.logs import debugging, log
from plscp.matching.hospital import Step
from plscp.matching.plan import Plan
from plscp.matching.registry import Registry
from plscp.metrics import OTHER, Metrics
from plscp.service.keeper import RegistryKeeper, now_us, utc_now
from plscp.store.port import EventStore, MessageRefused, RegistryRecord, Result

_KIND: Final = re.compile(r"[A-Z0-9]{2,3}(\^[A-Z0-9]{2,3})?")
MOST_SENDERS: Final = 200
"""Sending applications that are told apart in status and metrics; they are whatever a message says."""
MOST_NOTES: Final = 1000
STATED: Final = "any sender"
"""In place of a sending application while none has sent anything."""
_UNREAD: Final = {
    f"ADT^A{event}": "a trigger event that concerns identity and is not read: nothing of it is taken"
    for event in ("30", "35", "39", "41", "42", "43", "44", "46", "48", "49", "50", "51")
}
_IDENTITY_TRIGGERS: Final = frozenset(
    {*(f"ADT^{event}" for event in hl7_persons.EVENTS), *hl7_orders.KINDS, *hl7_staff.KINDS, *_UNREAD}
)
"""Triggers with a label of their own in metrics."""


class Hl7Rules(NamedTuple):
    """How messages are read, by the settings in force.

    Attributes:
        senders: addresses that may connect; empty: any.
        codec: Python's name of the character set of messages that name none.
        zone: IANA name, of times without an offset.
        stations: the one location of a device, by AE title.
        silent_after: seconds without a message after which a sender counts as silent; None: it is not watched.
        schemes: from each name of an authority of staff to the Coding Scheme Designator that devices send.
    """

    authorities: Authorities
    senders: tuple[IPv4Network | IPv6Network, ...] = ()
    codec: str = "utf-8"
    zone: str = "UTC"
    stations: Mapping[str, str] = {}
    silent_after: float | None = None
    schemes: Mapping[str, str] = {}


def steps_of(message: Hl7Message, rules: Hl7Rules, arrival: datetime) -> list[Step] | None:
    """What a message says, as steps of a plan; None where it does not concern the registry.

    Raises:
        BrokenMessage: it cannot be read, or lacks what it is about.
    """
    code, event, kind = message.header.text(9, 1), message.event, message.kind
    if not code:
        raise BrokenMessage("the message type is missing", REQUIRED_FIELD, ("MSH", 1, 9), rejected=True)
    if code in TYPES and not event:
        raise BrokenMessage("the trigger event is missing", REQUIRED_FIELD, ("MSH", 1, 9, 1, 2))
    if code == "ADT":
        return hl7_persons.plan_of(message, rules.authorities)
    if kind in hl7_orders.KINDS:
        stations = rules.stations
        return hl7_orders.plan_of(message, rules.authorities, zone=rules.zone, arrival=arrival, stations=stations)
    if kind in hl7_staff.KINDS:
        return hl7_staff.plan_of(message, rules.schemes, zone=rules.zone, arrival=arrival)
    return None


@dataclass(slots=True)
class _Sent:
    """What one sending application sent: how many messages, how many of them were refused, the last one's time, monotonic and not."""

    messages: int = 0
    refused: int = 0
    last: float = 0.0
    at: float = 0.0


class Hl7Feed:
    """Listens for HL7 senders and has the registry follow what they say.

    Messages are taken one after the other, whoever sends: a change is planned on the registry that the one before left. A sender's
    messages are answered in their order.

    Args:
        rules: those in force; asked for each message.
        certificates: of the TLS listener; None: plain only.
    """

    name = HL7

    def __init__(
        self,
        settings: MllpSettings,
        rules: Callable[[], Hl7Rules],
        keeper: RegistryKeeper,
        store: EventStore,
        *,
        metrics: Metrics,
        certificates: Certificates | None = None,
    ) -> None:
        self._settings, self._rules, self._certificates = settings, rules, certificates
        self._keeper, self._store, self._metrics = keeper, store, metrics
        self._listener = MllpListener(settings, self._answer, self._broken)
        self._turn = asyncio.Lock()
        self._changing: set[asyncio.Task[Any]] = set()
        self._sent: dict[str, _Sent] = {}
        self._noted: set[tuple[str, str]] = set()
        self._refusals = Repeats(
            lambda told, more: log.warning("feed-message-refused", **told, **({"more": more} if more else {}))
        )
        self._began = time.monotonic()
        self._listening: list[str] = []

    # --- a feed ---

    async def start(self) -> None:
        """Listen. Raises CommandError: the address cannot be listened on."""
        self._began = time.monotonic()
        self._metrics.watch_feed(HL7, self.measure)
        for certificates in (None, self._certificates) if self._certificates is not None else (None,):
            tls = certificates is not None
            for host, port in await self._listener.start(certificates):
                self._listening.append(f"{host}:{port}")
                print(f"{HL7}{'-tls' if tls else ''} {host}:{port}", flush=True)
                log.info("feed-listening", feed=HL7, host=host, port=port, tls=tls)

    async def stop(self) -> None:
        """Take nothing new; answer what is in hand; end every connection."""
        self._listening.clear()
        await self._listener.stop()
        if self._changing:
            await asyncio.wait(self._changing, timeout=self._settings.answer_deadline)

    def settings_changed(self) -> None:
        """Other senders may be allowed."""
        self._listener.allow(self._rules().senders)

    def status(self) -> dict[str, Any]:
        """Who is connected, who has sent what, who is silent."""
        silent = self._silent()
        return {
            "listening": list(self._listening),
            "connections": [
                {
                    "address": each.address,
                    "sender": each.name,
                    "since": _iso(each.since),
                    "messages": each.messages,
                    "tls": str(each.secured.get("tls", "")),
                }
                for each in self._listener.senders
            ],
            "senders": [
                {
                    "sender": name,
                    "last_message": _iso(sent.at),
                    "messages": sent.messages,
                    "refused": sent.refused,
                    "silent": name in silent,
                }
                for name, sent in self._sent.items()
            ],
            "connections_refused": self._listener.refused,
        }

    def measure(self) -> tuple[int, dict[str, float], dict[str, bool]]:
        """For the metrics: connections; by sender the time of the last message, seconds since the epoch; by sender whether it is silent."""
        self._refusals.flush()
        silent, watched = self._silent(), self._rules().silent_after is not None
        is_silent = {name: name in silent for name in self._sent or silent} if watched else {}
        return len(self._listener.senders), {name: sent.at for name, sent in self._sent.items()}, is_silent

    def _silent(self) -> frozenset[str]:
        """The sending applications that have sent nothing for too long; one that stands for any where there was none."""
        after, now = self._rules().silent_after, time.monotonic()
        if after is None:
            return frozenset()
        if not self._sent:
            return frozenset({STATED}) if now - self._began > after else frozenset()
        return frozenset(name for name, sent in self._sent.items() if now - sent.last > after)

    # --- messages ---

    async def _answer(self, frame: MllpFrame, sender: FeedSender) -> bytes:
        """Take a message; what is to be sent back."""
        arrival, what = utc_now(), _Taken()
        error: BrokenMessage | None = None
        try:
            await self._take(frame, arrival, what)
        except BrokenMessage as broken:
            error = broken
        except InvalidBody as invalid:
            error = BrokenMessage(str(invalid), DATA_TYPE, ("PID" if what.staff is None else "MFE", 1))
        except Conflict as conflict:
            error = BrokenMessage(str(conflict), UNKNOWN_KEY, ("PID", 1))
        except StoreError as failed:
            what.outcome = "failed"
            error = BrokenMessage(f"nothing can be stored now: {failed}", INTERNAL)
        except TimeoutError:
            what.outcome = "failed"
            error = BrokenMessage("the store has not committed within answer_deadline: send it again", INTERNAL)
        except Exception:
            log.exception("internal-error", where="feeds.hl7")
            error = BrokenMessage("a defect of plscp: its log says more", INTERNAL)
        sender.name = what.sender
        self._count(what, error)
        if error is not None:
            await self._refused(frame, sender, what, error)
        records = hl7_staff.acknowledged(what.staff, error) if what.staff is not None else ()
        texts = answers(header_of(frame.data), arrival.astimezone(), error, records)
        return b"".join(framed(text.encode("latin-1")) for text in texts)

    async def _take(self, frame: MllpFrame, arrival: datetime, what: "_Taken") -> None:
        if frame.fault:
            why = "another message begins before the end of this one"
            if frame.fault == "too-long":
                why = f"the message has {frame.length} bytes: at most {self._settings.message} are read"
            raise BrokenMessage(why, INTERNAL, rejected=True)
        rules = self._rules()
        message = read(frame.data, rules.codec)
        what.kind = message.kind if _KIND.fullmatch(message.kind) else OTHER  # it is logged
        what.message, what.sender = message.identity, printable(message.sender)
        what.staff = message if message.kind in hl7_staff.KINDS else None
        steps = steps_of(message, rules, arrival)
        if steps is None:
            what.outcome = "ignored"
            if message.kind in _UNREAD:
                self._note(what, _UNREAD[message.kind])
            elif debugging():
                log.debug("feed-message", feed=HL7, kind=message.kind, outcome="ignored")
            return
        notes: list[str] = []
        proposed = False

        def planner(registry: Registry) -> list[RegistryRecord]:
            """All steps in one plan: all or nothing."""
            nonlocal proposed
            plan = Plan(registry, self._keeper.policy, utc_now())
            notes[:] = [step(plan) for step in steps]
            proposed = all(record.proposed for record in plan.records)
            return plan.records

        positions = await self._change(planner, message.identity)
        what.outcome = ("proposed" if proposed else "changed") if positions else "unchanged"
        for note in dict.fromkeys(filter(None, notes)):
            self._note(what, note)
        if what.outcome == "changed":
            log.info("registry-changed", source=HL7, position=positions[-1])

    async def _change(self, planner: Callable[[Registry], list[RegistryRecord]], message: str) -> list[int]:
        """Make a change in its turn. Raises TimeoutError at the answer deadline; it goes on then: the sender repeats, and finds it done."""

        async def in_turn() -> list[int]:
            async with self._turn:
                return await self._keeper.change(planner, HL7, message)

        def done(task: asyncio.Task[list[int]]) -> None:
            self._changing.discard(task)
            if not task.cancelled():
                task.exception()  # whoever waited was told

        task = asyncio.get_running_loop().create_task(in_turn())
        self._changing.add(task)
        task.add_done_callback(done)
        return await asyncio.wait_for(asyncio.shield(task), self._settings.answer_deadline)

    # --- what is said of them ---

    def _count(self, what: "_Taken", error: BrokenMessage | None) -> None:
        """Count a message by trigger and outcome, and for its sender."""
        if error is not None and what.outcome != "failed":
            what.outcome = "rejected" if error.rejected else "refused"
        kind = what.kind if what.kind in _IDENTITY_TRIGGERS else OTHER
        self._metrics.feed_messages.child(HL7, kind, what.outcome).add()
        if what.sender:
            if what.sender not in self._sent and len(self._sent) >= MOST_SENDERS:
                what.sender = OTHER
            sent = self._sent.setdefault(what.sender, _Sent())
            sent.messages += 1
            sent.refused += error is not None
            sent.last, sent.at = time.monotonic(), time.time()

    def _note(self, what: "_Taken", note: str) -> None:
        """Say what of a message is not done: once for each sender, so that a queue of such messages is one line."""
        key = (what.sender, note)
        if key in self._noted:
            return
        if len(self._noted) >= MOST_NOTES:
            self._noted.clear()
        self._noted.add(key)
        log.warning("feed-note", feed=HL7, sender=what.sender, kind=what.kind, message=what.message, why=note)

    async def _refused(self, frame: MllpFrame, sender: FeedSender, what: "_Taken", error: BrokenMessage) -> None:
        """Keep a message that is not taken, and say so; what the store could not do is not kept: it will be sent again."""
        place = "^".join(map(str, error.place))
        told = {"feed": HL7, "address": sender.address, "sender": what.sender, "kind": what.kind, "why": str(error)}
        self._refusals.happened((error.code, sender.address), what.sender, **told, place=place)
        if what.outcome == "failed":
            return
        kept, loop = asyncio.Event(), asyncio.get_running_loop()

        def done(_result: Result) -> None:
            loop.call_soon_threadsafe(kept.set)

        self._store.submit(
            MessageRefused(
                source=HL7,
                peer=f"{sender.address}:{sender.port}",
                message=what.message,
                time=now_us(),
                why=" ".join(filter(None, (str(error), place))),
                raw=frame.data[:KEPT_BYTES],
                done=done,
                raw_length=frame.length,
            )
        )
        with suppress(TimeoutError):
            await asyncio.wait_for(kept.wait(), self._settings.answer_deadline)

    def _broken(self, frame: MllpFrame, sender: FeedSender) -> None:
        """A connection ended within a message: nobody is there to be answered."""
        what = _Taken(sender=sender.name)
        error = BrokenMessage("the connection ended before the end of this message", INTERNAL, rejected=True)
        self._count(what, error)
        task = asyncio.get_running_loop().create_task(self._refused(frame, sender, what, error))
        self._changing.add(task)
        task.add_done_callback(self._changing.discard)


@dataclass(slots=True)
class _Taken:
    """What is known of a message when it is counted: type and trigger, identity, sender, and what became of it; one about staff, whole."""

    kind: str = ""
    message: str = ""
    sender: str = ""
    outcome: str = "refused"
    staff: Hl7Message | None = None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
