"""A whole server in this process under a clock that the test sets: our listener, the real handlers, a store on disk, real associations."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

from pydicom.dataset import Dataset

from plscp.dicom.acceptor import Acceptor, NetworkSettings
from plscp.matching import changes
from plscp.matching.model import Device, Policy
from plscp.matching.records import PatientId
from plscp.matching.registry import Issuers, Locations, Registry
from plscp.metrics import Metrics
from plscp.service.corrections import Corrections
from plscp.service.handlers import Handlers
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profile
from plscp.service.replay import Replay, ReplayOutcome
from plscp.service.second_look import SecondLook
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.store import open_store
from plscp.store.port import Filter, RegistryRecord, StoredEvent
from plscp.store.quarantine import QuarantineItem
from tests.events import encoded
from tests.rawscu import SYNTAXES, RawScu, Response
from tests.serving import until

Result_ = TypeVar("Result_")
LABS: Mapping[str, Sequence[str]] = {"LAB1": ("Lab 1", "CATH^LAB1"), "LAB2": ("Lab 2",)}
POLICY = Policy(patient_id_issuer="HOSP")


def at(clock: str) -> datetime:
    """``10:30`` or ``10:30:15`` on the day of these tests, UTC."""
    return datetime.fromisoformat(f"2024-05-14T{clock}").replace(tzinfo=UTC)


class WatchedLook(SecondLook):
    """Says when nothing waits and nothing is looked at."""

    _busy = True

    async def _look_at_all(self) -> None:
        self._busy = True
        await super()._look_at_all()
        self._busy = False

    @property
    def idle(self) -> bool:
        """Whether it has looked at everything."""
        return not (self._busy or len(self._waiting))


class Rig:
    """A server whose clock shows `now`.

    Args:
        folder: where the store lives.
        profiles: how each calling AE title is treated; others are mobile devices under POLICY.
        issuers: `[issuers]`; a restart takes what they are then.
        looks_again: at what is in quarantine, after registry changes.
    """

    def __init__(
        self,
        folder: Path,
        *profiles: Profile,
        policy: Policy = POLICY,
        issuers: Mapping[str, Sequence[str]] | None = None,
        looks_again: bool = False,
    ) -> None:
        self.now = at("08:00")
        self.looks_again = looks_again
        self.policy = policy
        self.issuers = issuers
        self.metrics = Metrics()
        self.metrics.watch_devices(lambda _: True)  # every title of these rows is a device of the lab
        self._profiles = {profile.device.ae_title: profile for profile in profiles}
        self._url = f"sqlite:///{folder / 'plscp.db'}"
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._open()

    # --- running -----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self.store = open_store(self._url, call_soon=self._loop.call_soon_threadsafe)
        registry = Registry(Locations(LABS), Issuers(self.issuers))
        self.keeper = RegistryKeeper(self.store, registry, policy=self.policy, clock=lambda: self.now)
        self.corrections = Corrections(self.store, self.keeper)
        self.handlers = Handlers(self.store, self.keeper, self.profile, counters=self.metrics, clock=lambda: self.now)
        self.replay = Replay(self.store, self.handlers, self.metrics, clock=lambda: self.now)
        if self.looks_again:
            self.second_look = WatchedLook(
                self.store, self.keeper, self.profile, self.replay, self.metrics, clock=lambda: self.now
            )
            self.handlers.quarantined = self.second_look.quarantined
        self.keeper.load()
        for ae_title, arrival, difference in self.store.clocks(0):
            self.handlers.clocks.load(ae_title, arrival, difference, self.policy.clock_tolerance)
        self._ending = asyncio.Event()
        self._ready.clear()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._listen()))
        self._thread.start()
        assert self._ready.wait(60)

    def profile(self, ae_title: str) -> Profile:
        """How a calling AE title is treated."""
        return self._profiles.get(ae_title) or Profile(Device(ae_title), self.policy)

    async def _listen(self) -> None:
        settings = NetworkSettings(host="127.0.0.1", port=0, ae_title="PLSCP")
        self.acceptor = acceptor = Acceptor(
            settings,
            self.handlers.begin,
            self.handlers.on_delivery_confirmed,
            closes_without_release=lambda ae_title: self.profile(ae_title).closes_without_release,
        )
        [(_, self.port)] = await acceptor.start()
        looking = [self._loop.create_task(self.second_look.run())] if self.looks_again else []
        self._ready.set()
        await self._ending.wait()
        for task in looking:
            task.cancel()
        await asyncio.gather(*looking, return_exceptions=True)
        acceptor.close()

    def _close(self) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(60)
        self.store.close()

    def restart(self) -> None:
        """End the server and start another one on the same store."""
        self._close()
        self._open()

    def __enter__(self) -> Self:
        """The server, running."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._close()
        self._loop.close()

    def use(self, *profiles: Profile) -> None:
        """Treat these devices so from now on."""
        with self.keeper.lock:
            self._profiles |= {profile.device.ae_title: profile for profile in profiles}

    # --- what feeds say ----------------------------------------------------------------------------------------------

    def clock(self, now: str | datetime) -> None:
        """Set the server's clock."""
        self.now = at(now) if isinstance(now, str) else now

    def change(self, plan: Callable[[Registry], Sequence[RegistryRecord]]) -> None:
        """Change the registry and wait until that is committed."""
        asyncio.run_coroutine_threadsafe(self.keeper.change(plan, "http"), self._loop).result(60)

    def look(self, now: str | None = None) -> None:
        """The timer that looks at rooms; returns when what it found is committed."""
        if now is not None:
            self.clock(now)

        async def run() -> None:
            self.keeper.turn_over_rooms()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result(60)
        self.settle()

    def settle(self) -> None:
        """Wait until what the server does by itself is committed; what its loop has in hand comes before."""

        async def nothing() -> None:
            pass

        asyncio.run_coroutine_threadsafe(nothing(), self._loop).result(60)
        until(lambda: not self.keeper.turning_over, "the turnover")
        if self.looks_again:
            until(lambda: self.second_look.idle, "the second look")

    def study(self, uid: str, patient: str = "", *, issuer: str = "HOSP", status: str = "open", **more: Any) -> None:
        """Put a study at the time that the clock shows; without patient its patient stays as it is."""
        body: dict[str, Any] = {"study_instance_uid": uid, "status": status, **more}
        if patient:
            body["patient"] = {"id": patient, "issuer": issuer}
        self.change(lambda registry: changes.put_study(registry, body, self.policy, self.now))

    def close(self, uid: str) -> None:
        """Close a study."""
        self.change(lambda registry: changes.close_study(registry, uid, self.policy, self.now))

    def patient(self, patient: str, *, issuer: str = "HOSP", **more: Any) -> None:
        """Put a patient."""
        body = {"id": patient, "issuer": issuer, **more}
        self.change(lambda registry: changes.put_patient(registry, body, self.policy, self.now))

    def admission(self, admission: str, patient: str, *, issuer: str = "HOSP", **more: Any) -> None:
        """Put an admission."""
        body = {"id": admission, "patient": {"id": patient, "issuer": issuer}, **more}
        self.change(lambda registry: changes.put_admission(registry, body, self.policy, self.now))

    def merge(self, survivor: str, prior: str, *, issuer: str = "HOSP", prior_issuer: str = "") -> None:
        """Merge one patient into another; `prior_issuer`: where it is another."""
        body = {"prior": {"id": prior, "issuer": prior_issuer or issuer}}
        self.change(
            lambda registry: changes.merge_patient(registry, PatientId(survivor, issuer), body, self.policy, self.now)
        )

    def run(self, work: Coroutine[Any, Any, Result_]) -> Result_:
        """What the server is asked to do, on its event loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    # --- what devices say --------------------------------------------------------------------------------------------

    def scu(self, calling: str = "MOBILE") -> RawScu:
        """An association with both SOP Classes; a context manager that releases it."""
        contexts = [(PROCEDURAL_EVENT_LOGGING, SYNTAXES[1]), (SUBSTANCE_ADMINISTRATION_LOGGING, SYNTAXES[1])]
        return RawScu("127.0.0.1", self.port, calling=calling, contexts=contexts)

    def send(
        self, dataset: Dataset, *, calling: str = "MOBILE", substance: bool = False, when: str | timedelta | None = None
    ) -> "Answer":
        """One request on an association of its own, released after the answer.

        Args:
            when: sets the clock before (``10:30``), or moves it on.
        """
        if isinstance(when, timedelta):
            self.now += when
        elif when is not None:
            self.clock(when)
        sop_class = SUBSTANCE_ADMINISTRATION_LOGGING if substance else PROCEDURAL_EVENT_LOGGING
        with self.scu(calling) as scu:
            return Answer(scu.request(sop_class, encoded(dataset)))

    def replayed(self, item_id: str = "", **how: Any) -> ReplayOutcome:
        """Replay an item; without id the one that is open."""
        if not item_id:
            [item] = self.quarantined()
            item_id = item.id
        asked = self.replay.replay(item_id, **how)
        outcome = asyncio.run_coroutine_threadsafe(asked, self._loop).result(60)
        assert outcome is not None
        return outcome

    # --- what came of it ---------------------------------------------------------------------------------------------

    def events(self, *kinds: str) -> list[StoredEvent]:
        """Everything stored of these kinds; without kinds the entries."""
        return self.store.read(Filter(kinds=kinds or ("entry",), limit=100_000))

    def quarantined(self) -> list[QuarantineItem]:
        """Open quarantine items, newest first."""
        return self.store.quarantine(open_only=True)


class Answer:
    """A response, read."""

    def __init__(self, response: Response, syntax: str = SYNTAXES[1]) -> None:
        self.response = response
        self.status = f"{response.status:04X}"
        self.comment = response.comment
        self.study = self.patient = ""
        if response.data:
            reply = response.reply(syntax)
            self.study, self.patient = str(reply.get("StudyInstanceUID", "")), str(reply.get("PatientID", ""))

    def __str__(self) -> str:
        """``0000 1.1 PA`` or ``C103``."""
        return " ".join(filter(None, (self.status, self.study, self.patient)))
