"""The only place where parts are put together and started (`plscp serve`)."""

import asyncio
import contextlib
import gc
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from datetime import timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final

from plscp import logs
from plscp.config import Settings
from plscp.config.live import InForce, LiveSettings, Reloaded, Watcher
from plscp.config.settings import TLS_LISTENERS
from plscp.dicom.acceptor import Acceptor
from plscp.dicom.admission import Caller, PeerRefusal, refusal
from plscp.errors import StoreError
from plscp.feeds import registry_file
from plscp.feeds.hl7 import Hl7Feed
from plscp.feeds.mpps import StepHandlers
from plscp.feeds.running import Feed, Feeds
from plscp.feeds.worklist import WorklistFeed
from plscp.files import Files
from plscp.logs import log
from plscp.matching.registry import Registry
from plscp.metrics import Metrics
from plscp.process import StopSignals, make_ready, tell_manager
from plscp.relay.process import RelayProcess
from plscp.service.clock import DAY
from plscp.service.corrections import Corrections
from plscp.service.explain_match import explain_match
from plscp.service.handlers import Handlers
from plscp.service.keeper import RegistryKeeper, now_us
from plscp.service.misplaced import Misplaced
from plscp.service.overview import ServerOverview
from plscp.service.profile import Profile
from plscp.service.replay import Replay
from plscp.service.second_look import SecondLook
from plscp.statuses import MODALITY_PERFORMED_PROCEDURE_STEP
from plscp.store import open_store
from plscp.store.files import registry_snapshot
from plscp.store.retention import Retention
from plscp.web.app import build, build_probes
from plscp.web.serve import HttpServer

TURN_SECONDS: Final = 1.0
"""Between two proofs that the event loop turns."""
STUCK_SECONDS: Final = 10.0
"""Without such a proof after which the loop counts as stuck (liveness)."""
MOST_PROFILES: Final = 5000
"""Of devices, kept at once: anyone can invent calling AE titles."""
GATHER_SECONDS: Final = 0.003
"""For which records may wait for others on their way to the relay: sent one by one each costs it and the broker ten times as much."""
RELOAD_SECONDS: Final = 20.0
"""Until who asks for a reload is told that the file system does not answer; a registry of many studies is made anew meanwhile."""


class Server:
    """A running server: what `plscp serve` starts and what HTTP shows of it.

    Attributes:
        settings: what is in force; others take their place while it runs (`live`), so nobody keeps them.
        store, keeper, corrections, metrics, acceptor, handlers, steps, replay, overview, feeds: its parts.
        relay_status: the relay's last status line; empty before the first.
        draining: whether it was told to stop.
        ends: how associations ended since then.
    """

    def __init__(
        self,
        settings: Settings,
        signals: StopSignals,
        path: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._signals = signals
        self.metrics = Metrics()
        self.live = LiveSettings(path, environ or {}, settings, self._apply, counted=self.metrics.settings_read)
        self._watcher = Watcher(self._look_at_files)
        self._settings_files = Files(str(path) if path else None, known=False)
        self._registry_files = Files(settings.registry.file, settings.operators_file)
        self._registry_turn = asyncio.Lock()
        self._hold(settings)
        self.relay_status: dict[str, Any] = {}
        self.draining = False
        self.ends = {"released": 0, "aborted": 0, "left": 0}
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._turned = time.monotonic()
        self._fatal: asyncio.Future[StoreError] = self._loop.create_future()
        self._relay: RelayProcess | None = None
        self._relay_due = False
        self._tasks: set[asyncio.Task[None]] = set()
        read = {listener: settings.certificates(listener) for listener in TLS_LISTENERS}
        self._tls = {listener: certificates for listener, certificates in read.items() if certificates is not None}
        # What each device must show, and whether others may associate as well.
        self._admitted = InForce(
            lambda: self.settings, lambda now: (now.required(), now.dicom.unknown_devices == "accept")
        )
        self.store = open_store(
            settings.store.url,
            call_soon=self._call_soon,
            on_fatal=partial(self._from_thread, self._broken),
            after_commit=self._committed,
            limits=settings.store_limits(),
        )
        self.store.measure(self.metrics.committed)
        keep = settings.store.raw_retention
        self._retention = Retention(self.store, keep, expunged=self.metrics.raw_expunged.child().add) if keep else None
        self.metrics.watch_store(self.store.disk_free, self.store.full, self.store.refusing)
        self.metrics.watch_devices(lambda ae_title: ae_title in self.settings.devices)
        self.keeper = RegistryKeeper(
            self.store,
            Registry(settings.matching_locations(), settings.matching_issuers()),
            policy=settings.policy(),
            snapshot=registry_snapshot(settings.store.url),
        )
        self.corrections = Corrections(self.store, self.keeper)
        self._misplaced = Misplaced(self.store, self.keeper, self.corrections, self.profile)

    # --- settings ----------------------------------------------------------------------------------------------------

    def _hold(self, settings: Settings) -> None:
        self.settings = settings
        self._profile_by_title = lru_cache(MOST_PROFILES)(settings.profile)

    def profile(self, calling_ae: str) -> Profile:
        """How a calling AE title is treated now."""
        return self._profile_by_title(calling_ae)

    def _apply(self, before: Settings, after: Settings) -> None:
        """Have other settings hold from one moment on; on the watcher's thread. What may fail comes first."""
        exchanged = [
            certificates.ready(tls.certificate, tls.private_key, getattr(tls, "client_ca", None))
            for listener, certificates in self._tls.items()
            if (tls := after.tls(listener)) is not None and tls != before.tls(listener)
        ]
        self.keeper.use_settings(
            after.matching_locations(), after.matching_issuers(), after.policy(), hold=lambda: self._hold(after)
        )
        if before.operators_file != after.operators_file:
            self._registry_files = Files(after.registry.file, after.operators_file, known=False)
        for exchange in exchanged:
            exchange()
        self._from_thread(self._applied, before, after)

    def _applied(self, before: Settings, after: Settings) -> None:
        """What is told rather than asks."""
        logs.set_level(after.log.level)
        self.acceptor.trust(after.network().trusted_proxies)
        self.feeds.settings_changed()
        if self._relay is not None:
            self._relay.log_level(after.log.level)
        for line in self._left_behind(before, after):
            log.warning("settings-warning", why=line)
        self._certificates_expire()

    def _left_behind(self, before: Settings, after: Settings) -> Iterator[str]:
        """What goes on under settings that are gone, a line each."""
        if after.dicom.unknown_devices == "refuse":
            open_ = {str(one["calling_ae"]) for one in self.acceptor.associations}
            for ae_title in sorted(open_ & (before.devices.keys() - after.devices.keys())):
                yield f"devices.{ae_title}: taken out while it has an association: what it sends there gets 0124H"
        if before.locations != after.locations:
            with self.keeper.lock:
                registry = self.keeper.registry
                places = {study.location for study in registry.studies(status="open") if study.location}
                unknown = sorted(place for place in places if registry.locations.resolve(place) is None)
            known = before.matching_locations()
            for place in unknown:
                if known.resolve(place) is not None:
                    yield f"locations: no table names {place} any more, and a study is open there: add the name to its new table"

    async def reload(self) -> Reloaded:
        """Read the settings, and every file that they name, again and at once. Raises TimeoutError: the file system does not answer."""
        asked = self._watcher.ask(self._reload)
        done: Reloaded = await asyncio.wait_for(asyncio.wrap_future(asked), RELOAD_SECONDS)
        await self._read_registry_file()
        return done

    def _reload(self) -> Reloaded:
        done = self.live.reload()
        for _ in range(2):  # whoever asks says by it that they are written
            self._look_at_certificates()
        return done

    def _look_at_files(self) -> None:
        """Have files that changed read again; on the watcher's thread."""
        if self._settings_files.look():
            self.live.reload()
        if self._registry_files.look():
            self._from_thread(self._begin, self._read_registry_file)
        self._look_at_certificates()

    def _look_at_certificates(self) -> None:
        for certificates in self._tls.values():
            certificates.look()
        self._from_thread(self._certificates_expire)

    def _certificates_expire(self) -> None:
        expires = [item for certificates in self._tls.values() for item in certificates.expires.items()]
        self.metrics.certificates.replace({(name,): when for name, when in expires})

    def _begin(self, call: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        task = self._loop.create_task(call())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hang_up(self) -> None:
        with contextlib.suppress(TimeoutError):
            await self.reload()

    def _call_soon(self, call: Callable[[], None]) -> None:
        if threading.get_ident() == self._thread:
            self._loop.call_soon(call)
        else:
            self._from_thread(call)

    # --- from the store's writer thread ------------------------------------------------------------------------------

    def _from_thread(self, call: Callable[..., object], *given: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(call, *given)

    def _broken(self, error: StoreError) -> None:
        if not self._fatal.done():
            self._fatal.set_result(error)

    def _committed(self, _head: int) -> None:
        if self._relay is not None and not self._relay_due:
            self._relay_due = True
            self._from_thread(self._loop.call_later, GATHER_SECONDS, self._wake_relay)

    def _wake_relay(self) -> None:
        self._relay_due = False
        if self._relay is not None:
            self._relay.wake()

    # --- what HTTP sees ----------------------------------------------------------------------------------------------

    def loop_alive(self) -> bool:
        """Whether the event loop has turned lately."""
        return time.monotonic() - self._turned < STUCK_SECONDS

    def explain_match(self, query: Mapping[str, str]) -> dict[str, Any]:
        """What a request would be answered now. Raises InvalidBody: `at` is no time."""
        return explain_match(self.keeper, self.profile, self.handlers.clocks, query)

    # --- starting, running, stopping ---------------------------------------------------------------------------------

    def _load(self) -> None:
        started = time.monotonic()
        position, snapshot = self.keeper.load()
        for ae_title, arrival, difference in self.store.clocks(now_us() - DAY // timedelta(microseconds=1)):
            tolerance = self.profile(ae_title).policy.clock_tolerance
            self.handlers.clocks.load(ae_title, arrival, difference, tolerance)
        log.info("registry-loaded", position=position, snapshot=snapshot, seconds=round(time.monotonic() - started, 3))

    async def run(self) -> int:
        """Serve until SIGTERM, SIGINT or a store that cannot be trusted; returns the exit status."""
        settings = self.settings
        self.handlers = Handlers(
            self.store,
            self.keeper,
            self.profile,
            bounds=settings.bounds(),
            counters=self.metrics,
            answer_deadline=settings.dicom.answer_deadline.total_seconds(),
        )
        self.steps = StepHandlers(
            self.store,
            self.keeper,
            self.profile,
            bounds=settings.bounds(),
            counters=self.metrics,
            devices=self.handlers.devices,
            answer_deadline=settings.dicom.answer_deadline.total_seconds(),
        )
        self.replay = Replay(self.store, self.handlers, self.metrics)
        second_look = SecondLook(self.store, self.keeper, self.profile, self.replay, self.metrics)
        self.handlers.quarantined = second_look.quarantined
        self.corrections.replay = self.replay.confirm
        self.overview = ServerOverview(
            self.store,
            self.keeper,
            self.profile,
            configured=lambda: self.settings.devices,
            associations=lambda: self.acceptor.associations,
            devices=self.handlers.devices,
            clocks=self.handlers.clocks,
            metrics=self.metrics,
        )
        self._load()
        self.overview.load()
        await self._read_registry_file()
        self.acceptor = Acceptor(
            settings.network(),
            self._begin_request,
            self.handlers.on_delivery_confirmed,
            counters=self.metrics,
            admit=self._admit,
            confirms=self._confirms,
            closes_without_release=lambda ae_title: self.profile(ae_title).closes_without_release,
        )
        self.feeds = Feeds(self._feeds())
        http = self._http_servers()
        if self._signals.told:
            return 0
        self._signals.listen()
        self._loop.add_signal_handler(signal.SIGHUP, self._begin, self._hang_up)
        turning = [self._loop.create_task(each) for each in (self._turn(), self.overview.run(), self._misplaced.run())]
        self._looking = self._loop.create_task(second_look.run())
        try:
            for name, listener in http.items():
                host, port = await listener.start()
                print(f"{name} {host}:{port}", flush=True)
                log.info("http-listening", listener="probes" if name == "probes" else "api", host=host, port=port)
            await self._start_relay()
            gc.collect()
            gc.freeze()  # what is there for good: to look through it takes 0.1 s each time, in which nothing else runs
            self._certificates_expire()
            await self.feeds.start()
            ae_title = settings.dicom.ae_title
            if "dicom" in self._tls:
                for host, port in await self.acceptor.start(self._tls["dicom"]):
                    print(f"tls {ae_title} {host}:{port}", flush=True)
                    log.info("listening", ae_title=ae_title, host=host, port=port, tls=True)
            for host, port in await self.acceptor.start():
                print(f"listening {ae_title} {host}:{port}", flush=True)  # contract section 7
                log.info("listening", ae_title=ae_title, host=host, port=port)
            self._watcher.start()
            tell_manager("READY=1")
            await self._until(self._signals.first)
            tell_manager("STOPPING=1")
            return await self._end()
        finally:
            for task in (*turning, self._looking):
                task.cancel()
            self._watcher.stop()
            await self.feeds.stop()
            for listener in http.values():
                await listener.stop()
            if self._relay is not None:
                await self._relay.stop()
            self.acceptor.close()

    def _feeds(self) -> list[Feed]:
        feeds: list[Feed] = []
        if (worklist := self.settings.worklist()) is not None:
            settings, tls = worklist
            feed = WorklistFeed(settings, self.keeper, self.store, self.metrics, profile=self.profile, tls=tls)
            feeds.append(feed)
        if (hl7 := self.settings.hl7()) is not None:
            rules = InForce(lambda: self.settings, lambda settings: settings.hl7_rules()).current
            tls_of_hl7 = self._tls.get("feeds.hl7")
            feeds.append(Hl7Feed(hl7, rules, self.keeper, self.store, metrics=self.metrics, certificates=tls_of_hl7))
        return feeds

    def _begin_request(self, event: Any) -> Any:
        steps = event.context.abstract_syntax == MODALITY_PERFORMED_PROCEDURE_STEP
        return (self.steps if steps else self.handlers).begin(event)

    def _admit(self, caller: Caller) -> PeerRefusal | None:
        required, unknown = self._admitted.current()
        return refusal(caller, required, unknown=unknown)

    def _confirms(self, ae_title: str) -> bool:
        """Whether a device's user identity is looked at."""
        required = self._admitted.current()[0].get(ae_title)
        return required is not None and required.username is not None

    def _http_servers(self) -> dict[str, HttpServer]:
        """The API's listener, and that of the probes where there is one, by the word that `serve` prints of them."""
        http = self.settings.http
        servers = {"http": HttpServer(build(self), http.host, http.port, self._tls.get("http"))}
        if http.probes is not None:
            host, _, port = http.probes.rpartition(":")
            servers["probes"] = HttpServer(
                build_probes(self), host.strip("[]"), int(port), settings=("http.probes",) * 2
            )
        return servers

    async def _read_registry_file(self) -> None:
        async with self._registry_turn:  # else what was read first, of a file that has changed, might be taken last
            if self.settings.registry.file is not None:
                await registry_file.read(Path(self.settings.registry.file), self.keeper)
            if self.settings.operators_file is not None:
                await registry_file.read(Path(self.settings.operators_file), self.keeper, registry_file.apply_operators)

    async def _start_relay(self) -> None:
        relay = self.settings.relay()
        if relay is None:
            log.warning("settings-warning", why="no [kafka]: entries stay in the store until there is one")
            return
        self._relay = RelayProcess(relay, on_status=self._relay_says, log_level=self.settings.log.level)
        await self._relay.start()

    def _relay_says(self, status: dict[str, Any]) -> None:
        self.relay_status = status
        self.metrics.relay(status)

    async def _until(self, told: asyncio.Event, seconds: float | None = None) -> None:
        """Until a signal came, the store cannot be trusted, or so much time has passed."""
        waiting = self._loop.create_task(told.wait())
        ends: set[asyncio.Future[Any]] = {waiting, self._fatal}
        await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()

    async def _end(self) -> int:
        """Drain and close; 3 when the store is why."""
        self.draining = True
        self._looking.cancel()
        if not self._fatal.done():
            await self._drain()
        if self._fatal.done():
            log.error("store-fatal", why=str(self._fatal.result()))
            return 3
        await self._loop.run_in_executor(None, partial(self.keeper.save, hurry=True))
        await self._loop.run_in_executor(None, self.store.close)
        return 0

    async def _drain(self) -> None:
        """Go on for a while, then have devices end their associations, then end them; a second signal: at once."""
        dicom = self.settings.dicom
        delay, grace = dicom.drain_delay.total_seconds(), dicom.drain_grace.total_seconds()
        log.info("stopping", associations=self.acceptor.associated, delay=delay, grace=grace)
        await self._until(self._signals.second, delay)
        feeds_end = self._loop.create_task(self.feeds.stop())
        draining = self._loop.create_task(self.acceptor.drain(grace, dicom.answer_deadline.total_seconds()))
        draining.add_done_callback(lambda _: self._signals.second.set())  # nothing is waited for any more
        await self._until(self._signals.second)
        self.acceptor.hurry()
        self.ends = await draining
        await feeds_end

    async def _turn(self) -> None:
        while True:
            self._turned = time.monotonic()
            try:
                self.keeper.turn_over_rooms()
            except Exception:  # a defect there must not stop the clock that shows that the loop turns
                log.exception("internal-error", where="turnover")
            if self.keeper.due_to_save:
                self._begin(partial(asyncio.to_thread, self.keeper.save))
            if self._retention is not None:
                self._retention.look()
            self.metrics.associations_open.set(self.acceptor.associated)
            self.handlers.refusals.flush()
            await asyncio.sleep(TURN_SECONDS)


async def serve(settings: Settings, path: Path | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Put a server together and run it; returns the exit status. Raises PlscpError where it cannot be started.

    Args:
        path, environ: where the settings come from; read again when the file changes.
    """
    for line in settings.warnings():
        log.warning("settings-warning", why=line)
    server = Server(settings, StopSignals(), path, environ)
    try:
        return await server.run()
    finally:
        await asyncio.get_running_loop().run_in_executor(None, server.store.close)
        log.info("stopped", **server.ends)


def run(settings: Settings, path: Path | None = None, environ: Mapping[str, str] | None = None) -> int:
    """`plscp serve`: as `serve`, in an event loop of its own; uvloop's where it is installed."""
    make_ready(open_files=2 * settings.dicom.max_associations + 256)
    run_loop = asyncio.run
    with contextlib.suppress(ImportError):
        from uvloop import run as run_loop  # type: ignore[import-not-found,no-redef]  # noqa: PLC0415  # an extra
    return run_loop(serve(settings, path, environ))
