"""What a running server looks at every few seconds, for its metrics and for `plscp status`: devices, rooms, quarantine, closed cases."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from plscp.errors import StoreError
from plscp.logs import log
from plscp.metrics import Metrics
from plscp.service.clock import ClockDifferences
from plscp.service.closed_cases import ClosedCases
from plscp.service.devices import Devices
from plscp.service.keeper import RegistryKeeper, utc_now
from plscp.service.profile import Profiles
from plscp.store.port import EventStore

TURN_SECONDS: Final = 1.0
STORE_TURNS: Final = 5
"""Turns between two looks at the store: they cost it little, and devices come first."""


class ServerOverview:
    """Keeps what metrics and status show of devices, rooms and quarantine; all of it is worked out of other parts.

    Args:
        configured: the AE titles of `[devices]`, as they are now.
        associations: the open ones, as the acceptor lists them.

    Attributes:
        devices: what each device did last.
        quarantine: open items by calling AE title, as of the last look.
        cases: those that closed with refusals.
    """

    def __init__(
        self,
        store: EventStore,
        keeper: RegistryKeeper,
        profiles: Profiles,
        *,
        configured: Callable[[], Collection[str]],
        associations: Callable[[], Sequence[Mapping[str, Any]]],
        devices: Devices,
        clocks: ClockDifferences,
        metrics: Metrics,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store, self._keeper, self._profiles = store, keeper, profiles
        self._configured, self._associations = configured, associations
        self._clocks, self._metrics, self._clock = clocks, metrics, clock
        self.devices = devices
        self.quarantine: dict[str, int] = {}
        self.cases = ClosedCases(store, keeper, profiles, metrics)
        self._failing = False
        self._known: set[str] = set()

    async def run(self) -> None:
        """Look, until cancelled. A defect or a store that is away is logged, and looked past."""
        turn = 0
        while True:
            try:
                self.look()
                if turn % STORE_TURNS == 0:
                    await asyncio.to_thread(self.look_at_store)
            except Exception:
                log.exception("internal-error", where="overview")
            turn += 1
            await asyncio.sleep(TURN_SECONDS)

    def load(self) -> None:
        """Take over from the store when each device sent its last event, and watch the closings from now on. Raises StoreError."""
        self.devices.load(self._store.last_arrivals())
        self._keeper.closed = self.cases.closed

    def look(self) -> None:
        """Set the metrics of the configured devices."""
        now = self._clock()
        open_now = Counter(str(one["calling_ae"]) for one in self._associations())
        configured = set(self._configured())
        for ae_title in self._known - configured:  # what it was last would stand, and be alerted on, until a restart
            self._metrics.device_gone(ae_title)
        self._known = configured
        for ae_title in configured:
            last = self.devices.events.get(ae_title)
            self._metrics.device(
                ae_title,
                associations=open_now[ae_title],
                last_event=last / 1_000_000 if last else None,
                silent=self._silent(ae_title, now, last, open_now[ae_title]),
                skew=self._skew(ae_title, now),
            )

    def look_at_store(self) -> None:
        """Count what is open in quarantine, and judge the cases that closed; in a thread."""
        try:
            self.quarantine = self._store.quarantine_open()
            self._metrics.quarantined(self.quarantine)
            self.cases.look()
        except StoreError as error:
            if not self._failing:
                log.warning("store-failed", where="overview", error=str(error))
            self._failing = True
        else:
            self._failing = False

    def _skew(self, ae_title: str, now: datetime) -> float | None:
        """The measured difference of a device's clock in seconds; None: it is not known."""
        difference = self._clocks.current(ae_title, now, self._profiles(ae_title).policy.clock_tolerance)
        return None if difference is None else difference.total_seconds()

    def _silent(self, ae_title: str, now: datetime, last_us: int | None, associations: int) -> bool | None:
        """Whether it is connected, a case is open in its room, and nothing came from it for `silent_after`; None: not watched."""
        after = self._profiles(ae_title).silent_after
        if after is None:
            return None
        since = self._case_since(ae_title)
        if not associations or since is None:
            return False
        heard = datetime.fromtimestamp((last_us or 0) / 1_000_000, UTC)
        return now - max(heard, since) > after

    def _case_since(self, ae_title: str) -> datetime | None:
        """Since when a study is in one of a device's rooms; None where none is."""
        with self._keeper.lock:
            registry = self._keeper.registry
            since = [
                study.stays[-1].arrived
                for place in self._profiles(ae_title).device.locations
                for uid in registry.presence.now(registry.place(place))
                if (study := registry.study(uid)) is not None and study.stays
            ]
        return max(since) if since else None

    # --- what status shows ---------------------------------------------------------------------------------------------

    def device_rows(self) -> list[dict[str, Any]]:
        """Each configured device, and each other that is connected or sent something since the start."""
        now = self._clock()
        open_now = Counter(str(one["calling_ae"]) for one in self._associations())
        configured = dict.fromkeys(self._configured())
        seen = [*open_now, *self.devices.events, *self.devices.last]
        return [
            self._row(ae_title, now, open_now[ae_title], configured=ae_title in configured)
            for ae_title in dict.fromkeys([*configured, *seen])
        ]

    def _row(self, ae_title: str, now: datetime, associations: int, *, configured: bool) -> dict[str, Any]:
        last, refusal = self.devices.events.get(ae_title), self.devices.last.get(ae_title)
        skew = self._skew(ae_title, now)
        return {
            "ae_title": ae_title,
            "configured": configured,
            "location": list(self._profiles(ae_title).device.locations),
            "open": associations,
            "last_event": iso(last),
            "last_refusal": None
            if refusal is None
            else {"time": iso(refusal.time_us), "status": f"{refusal.status:04X}", "comment": refusal.comment},
            "refusals": self.devices.refusals.get(ae_title, 0),
            "quarantine_open": self.quarantine.get(ae_title, 0),
            "clock_difference": None if skew is None else round(skew, 1),
            "silent": bool(self._silent(ae_title, now, last, associations)),
        }

    def room_rows(self) -> list[dict[str, Any]]:
        """Each location that is configured or where a study is, and the studies that are there: no patient."""
        with self._keeper.lock:
            registry = self._keeper.registry
            places = dict.fromkeys([*map(registry.place, registry.locations.names), *registry.presence.occupied()])
            return [
                {
                    "location": place,
                    "studies": [
                        {
                            "study_instance_uid": uid,
                            "arrived": study.stays[-1].arrived.isoformat(timespec="seconds"),
                            "steps": len(study.steps),
                        }
                        for uid in registry.presence.now(place)
                        if (study := registry.study(uid)) is not None
                    ],
                }
                for place in places
            ]


def iso(time_us: int | None) -> str | None:
    """Microseconds since the epoch as ISO 8601, UTC, to the second."""
    if time_us is None:
        return None
    return datetime.fromtimestamp(time_us / 1_000_000, UTC).isoformat(timespec="seconds")
