"""What operators see of a running server, in metrics and in `plscp status`: devices, rooms, quarantine, closed cases."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from plscp.errors import StoreError
from plscp.logs import log
from plscp.matching.records import Study
from plscp.matching.registry import Registry, moment_of
from plscp.metrics import Metrics
from plscp.service.clock import DAY, ClockDifferences
from plscp.service.keeper import RegistryKeeper, utc_now
from plscp.service.profile import Profiles
from plscp.statuses import SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.store.port import EventStore
from plscp.store.quarantine import OpenRefusal

TURN_SECONDS: Final = 1.0
STORE_TURNS: Final = 5
"""Turns between two looks at the store: they cost it little, and devices come first."""
MOST_DEVICES: Final = 1000
"""AE titles that are remembered; beyond, no new ones: where any may send, they are the senders' to choose."""
MOST_REFUSALS: Final = 20
MOST_ITEMS: Final = 1000
"""Open quarantine items that are looked at, the newest."""
ITEMS_AT_ONCE: Final = 25
"""Looked at while nobody else has the registry: 1 to 2 ms; a thousand took 60."""
BETWEEN_SECONDS: Final = 0.001
MOST_NAMED: Final = 10
"""Devices and items that one log line names."""
GIVEN_OR_USED: Final = frozenset({"drug_administered", "device_used", "substance_administered"})
"""Kinds of entry that a case must not end without: TID 3106 (drugs and contrast agents), TID 3107, administrations."""
UNKNOWN: Final = frozenset({"untyped", "coded_measurement"})
"""Kinds of entry that may be anything: of no template, or a code that no template names (TID 3109 row 4)."""


class LastRefusal(NamedTuple):
    """Why a device was refused last, and when: nothing that it sent but its AE title."""

    time_us: int
    calling_ae: str
    status: int
    comment: str


class Devices:
    """What each device did last, by calling AE title; times in microseconds since the epoch.

    Attributes:
        events: when the last accepted request arrived; also taken over from the store.
        refusals: how many were refused since the start.
    """

    def __init__(self) -> None:
        self.events: dict[str, int] = {}
        self.refusals: dict[str, int] = {}
        self.last: dict[str, LastRefusal] = {}

    def accepted(self, calling_ae: str, time_us: int) -> None:
        """A request that arrived then was answered with Success or Warning."""
        if calling_ae in self.events or len(self.events) < MOST_DEVICES:
            self.events[calling_ae] = max(time_us, self.events.get(calling_ae, 0))

    def refused(self, calling_ae: str, time_us: int, status: int, comment: str) -> None:
        """A request that arrived then was answered with a failure."""
        if calling_ae in self.refusals or len(self.refusals) < MOST_DEVICES:
            self.refusals[calling_ae] = self.refusals.get(calling_ae, 0) + 1
            self.last[calling_ae] = LastRefusal(time_us, calling_ae, status, comment)

    def latest_refusals(self) -> list[LastRefusal]:
        """Newest first, the newest of them."""
        return sorted(self.last.values(), reverse=True)[:MOST_REFUSALS]


class ClosedCases:
    """Says so when a study closes, by whatever way, while open quarantine items of its room or patient hold what was given or used.

    What it counts is worked out of store and registry each time, so that a restart, a repeat that is accepted and a study that is
    opened again need nothing.

    Attributes:
        of_cases: how many such items there are, by the Study Instance UID of a case that is over.
    """

    def __init__(self, store: EventStore, keeper: RegistryKeeper, profiles: Profiles, metrics: Metrics) -> None:
        self._store, self._keeper, self._profiles, self._metrics = store, keeper, profiles, metrics
        self._lock = threading.Lock()
        self._closed: dict[str, int] = {}
        self._seen: tuple[int, int] | None = None
        self.of_cases: dict[str, int] = {}

    def changed(self, positions: Sequence[int], changes: Sequence[Mapping[str, Any]]) -> None:
        """Registry changes were applied; from any thread."""
        with self._lock:
            for position, change in zip(positions, changes, strict=True):
                if change["what"] in {"study.closed", "study.cancelled"}:
                    self._closed[change["study_instance_uid"]] = position

    def review(self) -> None:
        """Judge what closed since the last time, and count what is open; in a thread.

        Raises StoreError: the quarantine cannot be read; what closed is judged the next time.
        """
        with self._lock:
            closed = dict(self._closed)
        seen = self._store.head()
        if not closed and seen == self._seen:
            return
        items = [item for item in self._store.open_refusals(MOST_ITEMS) if may_hold_given_or_used(item)]
        of_cases: dict[str, list[OpenRefusal]] = {}
        for first in range(0, len(items), ITEMS_AT_ONCE):
            if first:
                time.sleep(BETWEEN_SECONDS)  # requests are decided under the same lock, and locks are not fair
            with self._keeper.lock:
                for item in items[first : first + ITEMS_AT_ONCE]:
                    for study in set(self._cases(item, self._keeper.registry)):
                        if study.status in {"closed", "cancelled"}:
                            of_cases.setdefault(study.study_instance_uid, []).append(item)
        with self._lock:
            for uid in [uid for uid, position in closed.items() if self._closed.get(uid) == position]:
                del self._closed[uid]
        for uid, position in closed.items():
            if found := of_cases.get(uid):
                self._metrics.closed_with_refusals.child().add()
                log.warning(
                    "case-closed-with-refusals",
                    position=position,
                    refusals=len(found),
                    devices=sorted({item.calling_ae for item in found})[:MOST_NAMED],
                    quarantine=[item.id for item in found[:MOST_NAMED]],
                    hint="plscp quarantine show ID says what is missing in the case",
                )
        self.of_cases = {uid: len(found) for uid, found in of_cases.items()}
        self._metrics.of_closed_cases.set(len({item.id for found in of_cases.values() for item in found}))
        self._seen = seen

    def _cases(self, item: OpenRefusal, registry: Registry) -> Iterator[Study]:
        """The studies that it may be of: of the patient that it names, or in its device's room when it was refused.

        Of the patient's those that were open within a day of that time: what is refused before it opens is of it as well.
        """
        when, grace = moment_of(item.last_time), self._keeper.policy.close_grace
        given = (item.data.get("match") or {}).get("given") or {}
        if given.get("patient_id"):
            for patient in registry.named(given["patient_id"], given.get("issuer", "")):
                for study in registry.studies_of(patient.number):
                    began = study.opened or study.closed
                    if began is not None and began - DAY <= when <= (study.closed or when) + DAY:
                        yield study
        places = {registry.place(name) for name in self._profiles(item.calling_ae).device.locations}
        if given.get("performed_location"):
            places = {registry.place(given["performed_location"])}
        for place in places:
            lately = registry.presence.between(place, when - grace, when + grace)
            for visit in registry.presence.between(place, when, when) or lately:
                if (of_room := registry.study(visit.study_instance_uid)) is not None:
                    yield of_room


def may_hold_given_or_used(item: OpenRefusal) -> bool:
    """Whether a refused request holds, or may hold, what was given or used: one whose entries could not be read may."""
    kinds = set(item.data.get("entry_kinds") or ())
    if item.sop_class == SUBSTANCE_ADMINISTRATION_LOGGING or not kinds or kinds & GIVEN_OR_USED:
        return True
    return bool(kinds & UNKNOWN) and not item.data.get("match")


class ServerOverview:
    """Keeps what metrics and status show; all of it is worked out of other parts.

    Args:
        configured: the AE titles of `[devices]`.
        associations: the open ones, as the acceptor lists them.

    Attributes:
        quarantine: open items by calling AE title, as of the last count.
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
        """Keep the metrics, until cancelled. A defect or a store that is away is logged, and looked past."""
        turn = 0
        while True:
            try:
                self.measure_devices()
                if turn % STORE_TURNS == 0:
                    await asyncio.to_thread(self.count_quarantine)
            except Exception:
                log.exception("internal-error", where="overview")
            turn += 1
            await asyncio.sleep(TURN_SECONDS)

    def load(self) -> None:
        """Take over from the store when each device sent its last event, and watch the closings from now on. Raises StoreError."""
        for calling_ae, time_us in self._store.last_arrivals().items():
            self.devices.accepted(calling_ae, time_us)
        self._keeper.changed.append(self.cases.changed)

    def measure_devices(self) -> None:
        """Set the metrics of the configured devices."""
        now = self._clock()
        open_now = Counter(str(one["calling_ae"]) for one in self._associations())
        configured = set(self._configured())
        for ae_title in self._known - configured:  # what it was last would stand, and be alerted on, until a restart
            self._metrics.device_gone(ae_title)
        self._known = configured
        for ae_title in configured:
            last, skew = self.devices.events.get(ae_title), self._skew(ae_title, now)
            self._metrics.device(
                ae_title,
                associations=open_now[ae_title],
                last_event=last / 1_000_000 if last else None,
                silent=self._silent(ae_title, now, open_now[ae_title]),
                skew=None if skew is None else skew.total_seconds(),
            )

    def count_quarantine(self) -> None:
        """Count what is open in quarantine, and judge the cases that closed; in a thread."""
        try:
            self.quarantine = self._store.quarantine_open()
            self._metrics.quarantined(self.quarantine)
            self.cases.review()
        except StoreError as error:
            if not self._failing:
                log.warning("store-failed", where="overview", error=str(error))
            self._failing = True
        else:
            self._failing = False

    def _skew(self, ae_title: str, now: datetime) -> timedelta | None:
        return self._clocks.current(ae_title, now, self._profiles(ae_title).policy.clock_tolerance)

    def _silent(self, ae_title: str, now: datetime, associations: int) -> bool | None:
        """Whether it is connected, a case is open in its room, and nothing came from it for `silent_after`; None: not watched."""
        profile = self._profiles(ae_title)
        if profile.silent_after is None:
            return None
        with self._keeper.lock:
            registry = self._keeper.registry
            since = [
                study.stays[-1].arrived
                for place in profile.device.locations
                for uid in registry.presence.now(registry.place(place))
                if (study := registry.study(uid)) is not None and study.stays
            ]
        if not associations or not since:
            return False
        return now - max(moment_of(self.devices.events.get(ae_title) or 0), *since) > profile.silent_after

    # --- what status shows ---------------------------------------------------------------------------------------------

    def device_rows(self) -> list[dict[str, Any]]:
        """Each configured device, and each other that is connected or sent something since the start."""
        now = self._clock()
        open_now = Counter(str(one["calling_ae"]) for one in self._associations())
        configured = dict.fromkeys(self._configured())
        rows = []
        for ae_title in dict.fromkeys([*configured, *open_now, *self.devices.events, *self.devices.last]):
            refusal, skew = self.devices.last.get(ae_title), self._skew(ae_title, now)
            last_refusal = refusal and {
                "time": iso(refusal.time_us),
                "status": f"{refusal.status:04X}",
                "comment": refusal.comment,
            }
            row = {
                "ae_title": ae_title,
                "configured": ae_title in configured,
                "location": list(self._profiles(ae_title).device.locations),
                "open": open_now[ae_title],
                "last_event": iso(self.devices.events.get(ae_title)),
                "last_refusal": last_refusal,
                "refusals": self.devices.refusals.get(ae_title, 0),
                "quarantine_open": self.quarantine.get(ae_title, 0),
                "clock_difference": None if skew is None else round(skew.total_seconds(), 1),
                "silent": bool(self._silent(ae_title, now, open_now[ae_title])),
            }
            rows.append(row)
        return rows

    def room_rows(self) -> list[dict[str, Any]]:
        """Each location that is configured or where a study is, and the studies that are there: no patient."""
        with self._keeper.lock:
            registry = self._keeper.registry
            places = dict.fromkeys([*map(registry.place, registry.locations), *registry.presence.occupied()])
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
    return None if time_us is None else moment_of(time_us).isoformat(timespec="seconds")
