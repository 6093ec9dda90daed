"""Cases that are over while the quarantine still holds what was given or put in: drugs, contrast agents, devices."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from plscp.logs import log
from plscp.matching.records import Study
from plscp.matching.registry import Registry
from plscp.metrics import Metrics
from plscp.service.clock import DAY
from plscp.service.keeper import RegistryKeeper
from plscp.service.profile import Profiles
from plscp.statuses import SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.store.port import EventStore, OpenRefusal

MOST_ITEMS: Final = 1000
"""Open items that are looked at, the newest."""
ITEMS_AT_ONCE: Final = 25
"""Looked at while nobody else has the registry: 1 to 2 ms; a thousand took 60."""
BETWEEN_SECONDS: Final = 0.001
MOST_NAMED: Final = 10
"""Devices and items that one log line names."""
GIVEN_OR_USED: Final = frozenset({"drug_administered", "device_used", "substance_administered"})
"""Kinds of entry that a case must not end without: TID 3106 (drugs and contrast agents), TID 3107, administrations."""
UNKNOWN: Final = frozenset({"untyped", "coded_measurement"})
"""Kinds of entry that may be anything: of no template, or a code that no template names (TID 3109 row 4)."""


class ClosedCases:
    """Says so when a study closes, by whatever way, while open quarantine items of its room or patient hold such entries.

    `closed` is told of each closing by the registry's keeper; `look` reads the quarantine, in a thread. What it counts is worked
    out of store and registry each time, so that a restart, a repeat that is accepted and a study that is opened again need nothing.

    Args:
        profiles: which locations a device has.
    """

    def __init__(self, store: EventStore, keeper: RegistryKeeper, profiles: Profiles, metrics: Metrics) -> None:
        self._store, self._keeper, self._profiles, self._metrics = store, keeper, profiles, metrics
        self._lock = threading.Lock()
        self._closed: dict[str, int] = {}
        self._seen: tuple[Any, ...] = ()
        self.of_cases: dict[str, int] = {}
        """How many such items there are, by the Study Instance UID of a case that is over."""

    def closed(self, study_instance_uid: str, position: int) -> None:
        """A study was closed or cancelled by the registry change at a position; from any thread, costs nothing."""
        with self._lock:
            self._closed[study_instance_uid] = position

    def look(self) -> None:
        """Judge what closed since the last look, and count what is open.

        Raises:
            StoreError: the quarantine cannot be read; what closed is judged at the next look.
        """
        with self._lock:
            closed = dict(self._closed)
        seen = self._store.head()
        if not closed and seen == self._seen:
            return
        items = [item for item in self._store.open_refusals(MOST_ITEMS) if holds(item)]
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
            for uid, position in closed.items():
                if self._closed.get(uid) == position:
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
        """The studies that it may be of: of the patient that it names, or in its device's room when it was refused."""
        when = datetime.fromtimestamp(item.last_time / 1_000_000, UTC)
        given = (item.data.get("match") or {}).get("given") or {}
        if given.get("patient_id"):
            for patient in registry.named(given["patient_id"], given.get("issuer", "")):
                yield from (study for study in registry.studies_of(patient.number) if _about_then(study, when))
        places = {registry.place(name) for name in self._profiles(item.calling_ae).device.locations}
        if given.get("performed_location"):
            places = {registry.place(given["performed_location"])}
        grace = self._keeper.policy.close_grace
        for place in places:
            there = registry.presence.between(place, when, when) or registry.presence.between(
                place, when - grace, when + grace
            )
            for visit in there:
                if (study := registry.study(visit.study_instance_uid)) is not None:
                    yield study


def holds(item: OpenRefusal) -> bool:
    """Whether a refused request holds, or may hold, what was given or used: one whose entries could not be read may."""
    kinds = set(item.data.get("entry_kinds") or ())
    if item.sop_class == SUBSTANCE_ADMINISTRATION_LOGGING or not kinds or kinds & GIVEN_OR_USED:
        return True
    return bool(kinds & UNKNOWN) and not item.data.get("match")


def _about_then(study: Study, when: datetime) -> bool:
    """Whether a study was open within a day of that time: what is refused before it opens is of it as well."""
    began = study.opened or study.closed
    return began is not None and began - DAY <= when <= (study.closed or when) + DAY
