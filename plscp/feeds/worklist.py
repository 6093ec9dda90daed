"""The worklist as a feed: a Modality Worklist SCP is asked again and again, and only what it says anew is a change."""

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Final
from zoneinfo import ZoneInfo

from plscp.digests import sha256
from plscp.errors import CommandError, Conflict, InvalidBody, StoreError
from plscp.feeds.running import JsonObject
from plscp.feeds.worklist_entries import ScheduledStudy, by_study, plan_scheduled, read_entry
from plscp.logs import log
from plscp.matching.plan import Plan
from plscp.matching.records import utc_text
from plscp.matching.registry import Registry, microseconds
from plscp.metrics import Metrics
from plscp.scu.sending import RemoteScp
from plscp.scu.worklist import WorklistAnswers, WorklistKeys, WorklistQuery
from plscp.service.keeper import RegistryKeeper, utc_now
from plscp.service.profile import Profiles
from plscp.store.port import EventStore, Failed, MessageRefused, RegistryRecord, Result

CONNECT_SECONDS: Final = 5.0
MOST_PAUSE_SECONDS: Final = 300.0
"""Between two tries while the SCP is away, unless the interval is longer."""
END_SECONDS: Final = 5.0
"""Until a poll that was told to end is left behind."""
READ_AT_ONCE: Final = 20
"""Entries that are read before the event loop may do something else: a few milliseconds."""


@dataclass(frozen=True)
class WorklistSettings:
    """`[feeds.worklist]`, as the feed takes it.

    Attributes:
        interval, timeout: seconds.
        past, ahead: how far the days that are asked for reach back from now, and on.
        timezone: of the worklist's times; None: `server_timezone`.
    """

    host: str
    port: int
    ae_title: str
    calling_ae_title: str
    station_ae_titles: tuple[str, ...]
    modalities: tuple[str, ...]
    interval: float
    timeout: float
    past: timedelta
    ahead: timedelta
    entries: int
    timezone: str | None
    server_timezone: str


class WorklistFeed:
    """Keeps scheduled studies current.

    It remembers what the worklist said of each study, so that what others have changed since is not changed back by the worklist's
    repeating itself. What vanishes from the worklist is left as it is: it was done, or `scheduled_expires` ends it.
    """

    name = "worklist"

    def __init__(
        self,
        settings: WorklistSettings,
        keeper: RegistryKeeper,
        store: EventStore,
        metrics: Metrics,
        *,
        profile: Profiles,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._settings, self._keeper, self._store, self._metrics = settings, keeper, store, metrics
        self._profile, self._clock = profile, clock
        self._peer = RemoteScp(
            settings.host,
            settings.port,
            called=settings.ae_title,
            calling=settings.calling_ae_title,
            acse=settings.timeout,
            dimse=settings.timeout,
            connection=min(CONNECT_SECONDS, settings.timeout),
            tls=tls,
        )
        self._server = f"{settings.host}:{settings.port}"
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._asking: tuple[WorklistQuery, asyncio.Future[WorklistAnswers]] | None = None
        self._said: dict[str, ScheduledStudy] = {}  # what was taken, by Study Instance UID
        self._refused: dict[ScheduledStudy | bytes, str] = {}  # why, by what was refused: that is said once
        self._failures = 0
        self._fault = ""
        self._succeeded: datetime | None = None
        self._count = 0

    # --- as a feed -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Ask no more: a query is aborted, and a change on its way is finished."""
        self._stopping.set()
        if self._asking is not None:
            query, asked = self._asking
            threading.Thread(target=query.end, name="plscp-worklist-end", daemon=True).start()
            asked.cancel()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=END_SECONDS)
            self._task.cancel()

    def settings_changed(self) -> None:
        """Its own settings need a restart; the others it asks for each time."""

    def status(self) -> JsonObject:
        """The worklist as the one sender of this feed: when it answered last, with how many entries, how many of them cannot be taken."""
        sender = {
            "sender": self._server,
            "last_message": utc_text(self._succeeded),
            "messages": self._count,
            "refused": len(self._refused),
            "silent": self._failures > 0,
        }
        return {"listening": [], "connections": [], "senders": [sender], "fault": self._fault}

    # --- polls -----------------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.poll()
            except Exception:  # a defect with one answer must not end the asking
                log.exception("internal-error", where="feeds.worklist")
                self._failures += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self.pause)

    @property
    def pause(self) -> float:
        """Seconds until the next poll: the interval; twice as long after each further failure."""
        interval = self._settings.interval
        longest = max(interval, MOST_PAUSE_SECONDS)
        return min(interval * 2.0 ** max(min(self._failures, 20) - 1, 0), longest)

    async def poll(self) -> None:
        """Ask once, and take what is new."""
        try:
            answers = await self._ask()
        except CommandError as error:
            if not self._stopping.is_set():
                self._failures += 1
                self._metrics.worklist_asked("failed")
                before, self._fault = self._fault, str(error)
                if self._fault != before:
                    log.error("worklist-away", server=self._server, why=self._fault, next_seconds=self.pause)
            return
        if answers is None:
            return
        if self._failures:
            log.info("worklist-back", server=self._server)
        cut = f"there are more than {self._settings.entries} entries: the others are not known" if answers.cut else ""
        if cut and self._fault != cut:
            log.error("worklist-cut", server=self._server, why=cut)
        self._failures, self._fault = 0, cut
        self._succeeded, self._count = self._clock(), len(answers.identifiers)
        self._metrics.worklist_asked("cut" if answers.cut else "done", self._succeeded.timestamp(), self._count)
        await self._take(answers)

    async def _ask(self) -> WorklistAnswers | None:
        """All answers; None where the server ends. Raises CommandError: there are none."""
        query, queries = WorklistQuery(self._peer), self._queries()
        answered: Future[WorklistAnswers] = Future()
        answered.set_running_or_notify_cancel()  # nobody may wait for it any more when it comes

        def ask() -> None:
            try:
                answered.set_result(query.ask(queries, self._settings.entries))
            except Exception as error:  # whatever it is, who waits learns of it
                answered.set_exception(error)

        asked = asyncio.wrap_future(answered)
        self._asking = query, asked
        threading.Thread(target=ask, name="plscp-worklist", daemon=True).start()
        try:
            return await asked
        except asyncio.CancelledError:
            if self._stopping.is_set():
                return None
            raise
        finally:
            self._asking = None

    def _queries(self) -> list[WorklistKeys]:
        settings = self._settings
        here = self._clock().astimezone(ZoneInfo(settings.timezone or settings.server_timezone))
        days = ((here - settings.past).date(), (here + settings.ahead).date())
        pairs = product(settings.station_ae_titles or ("",), settings.modalities or ("",))
        return [WorklistKeys(station, modality, *days) for station, modality in pairs]

    # --- what it says ------------------------------------------------------------------------------------------------------

    async def _take(self, answers: WorklistAnswers) -> None:
        """Make what is new known, one study after the other; the event loop has its turn after each."""
        refused = self._refused
        self._refused = {}
        entries = []
        began = time.monotonic()
        for number, raw in enumerate(answers.identifiers):
            if number % READ_AT_ONCE == READ_AT_ONCE - 1:
                await asyncio.sleep(0)
            try:
                entries.append(
                    read_entry(
                        raw,
                        answers.transfer_syntax,
                        self._keeper.registry.issuers,
                        device_zone=self._settings.timezone,
                        server_zone=self._settings.server_timezone,
                        arrival=self._clock(),
                    )
                )
            except InvalidBody as error:
                self._refuse(sha256(raw), str(error), raw, refused)
        studies = by_study(entries)
        changed, position = 0, 0
        for study in studies:
            if self._stopping.is_set():
                return
            uid = study.first.study_instance_uid
            before = self._said.get(uid)
            if before == study:
                continue
            try:
                positions = await self._change(study, renewed=before is not None and before.cancelled)
            except (Conflict, InvalidBody) as error:
                self._refuse(study, str(error), study.first.raw, refused)
                continue
            except StoreError as error:
                log.error("store-failed", error=str(error))
                return  # what was not taken is not remembered: the next poll says it again
            self._said[uid] = study
            for line in dict.fromkeys(note for entry in study.entries for note in entry.notes):
                log.warning("registry-warning", study=uid, why=line)
            if positions:
                changed, position = changed + 1, positions[-1]
        if not answers.cut:
            listed = {study.first.study_instance_uid for study in studies}
            self._said = {uid: study for uid, study in self._said.items() if uid in listed}
        if changed:
            seconds = round(time.monotonic() - began, 3)
            log.info("registry-changed", source=self.name, position=position, studies=changed, seconds=seconds)

    async def _change(self, study: ScheduledStudy, *, renewed: bool) -> list[int]:
        def planned(registry: Registry) -> Sequence[RegistryRecord]:
            plan = Plan(registry, self._keeper.policy, self._clock())
            plan_scheduled(plan, study, lambda station: self._profile(station).device.locations, renewed=renewed)
            return plan.records

        return await self._keeper.change(planned, self.name, study.first.step_id)

    def _refuse(
        self, what: ScheduledStudy | bytes, why: str, raw: bytes, before: dict[ScheduledStudy | bytes, str]
    ) -> None:
        """What cannot be taken is said, counted and kept, once for as long as the worklist goes on saying it.

        It is a study, or the digest of an entry that cannot be read; `before` is `_refused` of the last poll.
        """
        self._refused[what] = why
        if before.get(what) == why:
            return
        message, named = "", dict[str, str]()
        if isinstance(what, ScheduledStudy):
            message, named = what.first.step_id, {"study": what.first.study_instance_uid}
        log.warning("worklist-entry-refused", **named, why=why)
        self._metrics.worklist_refused.child().add()

        def kept(result: Result) -> None:
            if isinstance(result, Failed):
                self._refused.pop(what, None)  # said, counted and kept again by the next poll

        now = microseconds(self._clock())
        self._store.submit(MessageRefused(self.name, self._server, message, now, why, raw, kept))
