"""A server without DICOM, disk or Kafka: real settings, registry, keeper and metrics on a store that is a list."""

import asyncio
import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

from plscp.config import Settings, load
from plscp.config.live import Reloaded
from plscp.dicom.certificates import Certificates
from plscp.errors import StoreError, StoreUnavailable
from plscp.feeds.running import Feeds
from plscp.findings import Finding
from plscp.matching.registry import Registry
from plscp.metrics import Metrics
from plscp.service.clock import ClockDifferences
from plscp.service.corrections import Corrections
from plscp.service.keeper import RegistryKeeper
from plscp.service.overview import Devices, ServerOverview
from plscp.service.replay import ReplayOutcome
from plscp.store.corrections import EntryFilter, Proposal, Standing, StandingEvent
from plscp.store.port import (
    LAST,
    Draft,
    Failed,
    Filter,
    RawKept,
    RefusedMessage,
    RegistryDraft,
    RetryNote,
    Stored,
    StoredEvent,
)
from plscp.store.quarantine import OpenRefusal, QuarantineItem
from plscp.web.serve import HttpServer
from tests.web.checked import build

NOW = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z in microseconds


class FakeStore:
    """The port's reading side on a list; of the drafts it takes registry changes."""

    store_id = "5f0c4f3e-0000-4000-8000-000000000001"

    def __init__(self) -> None:
        self.events: list[StoredEvent] = []
        self.items: list[QuarantineItem] = []
        self.noted: list[RetryNote] = []
        self.proposed: list[Proposal] = []
        self.messages: list[RefusedMessage] = []
        self.failure: StoreError | None = None
        self.is_alive = True
        self.is_full = False
        self._changes: list[tuple[int, int, dict[str, Any]]] = []

    def add(
        self, kind: str, payload: Mapping[str, Any], *, key: str = "", occurred: str = "2026-01-01T00:00:00.000Z"
    ) -> int:
        """One more event; its payload gets the position."""
        position = len(self.events) + 1
        event_id = f"r{position}-0"
        lead = {"type": "t", "event_id": event_id, "position": position, "recorded": "2026-01-01T00:00:01.000Z"}
        body = json.dumps({**lead, **payload}).encode()
        self.events.append(
            StoredEvent(position, kind, event_id, f"r{position}", None, key, "t", key, occurred, occurred, body, None)
        )
        return position

    def submit(self, draft: Draft) -> None:
        assert isinstance(draft, RegistryDraft)
        if self.failure is not None:
            draft.done(Failed(self.failure))
            return
        for record in draft.records:
            position = self.add("registry", {"change": record.change, "source": draft.source}, key=record.key)
            self._changes.append((position, draft.time, record.change))
        draft.done(Stored("changed", "", 0, "", "", "", "", len(self.events), len(draft.records)))

    def measure(self, committed: Callable[[float, int], None]) -> None:
        """Nothing is committed here."""

    def head(self) -> tuple[int, int]:
        return len(self.events), self._changes[-1][0] if self._changes else 0

    def read(self, which: Filter) -> list[StoredEvent]:
        self.probe()
        fits = (
            event
            for event in self.events[which.after : which.upto]
            if (not which.kinds or event.kind in which.kinds)
            and (not which.study_instance_uid or event.key == which.study_instance_uid)
        )
        if which.latest:
            return list(fits)[-which.limit :]
        return [event for event, _ in zip(fits, range(which.limit), strict=False)]

    def changes(self, after: int, limit: int = 1000) -> Iterator[tuple[int, int, dict[str, Any]]]:
        yield from [change for change in self._changes if change[0] > after][:limit]

    def changes_of(self, keys: Sequence[str]) -> list[StoredEvent]:
        return [event for event in self.events if event.kind == "registry" and event.key in keys]

    def digest(self, position: int) -> bytes | None:
        return b"digest" if 0 < position <= len(self.events) else None

    def activity(self, since_us: int) -> Iterator[tuple[str, str, int, int]]:
        yield from ()

    def has_entries(self, study_instance_uid: str) -> bool:
        return any(event.kind == "entry" and event.key == study_instance_uid for event in self.events)

    def retries(self, position: int = 0, limit: int = 100, *, before: int = LAST) -> list[RetryNote]:
        self.probe()
        found = [note for note in self.noted if position in {0, note.position} and note.number < before]
        return sorted(found, key=lambda note: -note.number)[:limit]

    def proposals(self, limit: int = 1000, *, before: int = LAST, state: str = "") -> list[Proposal]:
        self.probe()
        found = [each for each in self.proposed if each.position < before and state in {"", each.state}]
        return sorted(found, key=lambda each: -each.position)[:limit]

    def proposals_count(self) -> int:
        self.probe()
        return len(self.proposed)

    def proposal(self, proposal_id: str) -> Proposal | None:
        self.probe()
        return next((found for found in self.proposed if found.id == proposal_id), None)

    def refused_messages(self, limit: int = 100, *, before: int = LAST) -> list[RefusedMessage]:
        self.probe()
        found = [each for each in self.messages if each.number < before]
        return sorted(found, key=lambda each: -each.number)[:limit]

    def refused_message(self, number: int) -> RefusedMessage | None:
        self.probe()
        return next((found for found in self.messages if found.number == number), None)

    def clocks(self, since_us: int) -> Iterator[tuple[str, int, int]]:
        yield from ()

    def event(self, position: int) -> StoredEvent | None:
        self.probe()
        return self.events[position - 1] if 1 <= position <= len(self.events) else None

    def timeline(self, study_instance_uid: str, *, original: bool = False) -> list[StandingEvent]:
        self.probe()
        found = [event.position for event in self.events if event.key == study_instance_uid]
        return sorted(self.standing(found), key=lambda event: (event.entry.occurred, event.entry.position))

    def standing(self, positions: Sequence[int]) -> list[StandingEvent]:
        """Nothing was ever moved."""
        found = [event for at in sorted(positions) if (event := self.event(at)) is not None and event.kind == "entry"]
        return [
            StandingEvent(event, event, Standing(event.position, event.position, event.key, "", ""), NOW)
            for event in found
        ]

    def entries(self, which: EntryFilter) -> list[int]:
        return [one.entry.position for one in self.timeline(which.study_instance_uid)]

    def first_broken_position(self) -> int | None:
        return None

    def quarantine(
        self,
        *,
        calling_ae: str = "",
        open_only: bool = False,
        reason: str = "",
        since: int = 0,
        until: int = LAST,
        limit: int = 1000,
        before: int = LAST,
    ) -> list[QuarantineItem]:
        return [
            item
            for item in reversed(self.items)
            if (not calling_ae or item.calling_ae == calling_ae) and not (open_only and item.closed_position)
            if item.number < before and since <= item.last_time < until
            if item.outcomes[-1]["outcome"].startswith(reason)
        ][:limit]

    def quarantine_after(self, after: int, limit: int, **which: Any) -> list[tuple[int, str]]:
        found = [(item.number, item.id) for item in self.quarantine(**which) if item.number > after]
        return sorted(found)[:limit]

    def replayed_entries(self, content: bytes) -> dict[int, int]:
        return {0: 9} if content == bytes([1]) * 32 else {}

    def quarantine_open(self) -> dict[str, int]:
        self.probe()
        return dict(Counter(item.calling_ae for item in self.items if not item.closed_position))

    def open_refusals(self, limit: int = 1000) -> list[OpenRefusal]:
        self.probe()
        return [
            OpenRefusal(i.id, i.calling_ae, i.sop_class, i.last_time, i.outcomes[-1]["data"])
            for i in self.quarantine(open_only=True, limit=limit)
        ]

    def refusing(self) -> StoreError | None:
        return self.failure

    def last_arrivals(self) -> dict[str, int]:
        return {}

    def quarantine_item(self, item_id: str) -> QuarantineItem | None:
        found = [item for item in self.items if item.identity.hex().startswith(item_id)]
        return found[0] if len(found) == 1 else None

    def probe(self) -> None:
        if self.failure is not None:
            raise self.failure

    def alive(self) -> bool:
        return self.is_alive

    def disk_free(self) -> int | None:
        return 400_000_000_000

    def full(self) -> bool:
        return self.is_full

    def raw_kept(self, position: int) -> RawKept | None:
        """Every request had ten bytes; those of other devices than HEMO1 are gone."""
        found = self.event(position)
        if found is None or found.kind not in {"entry", "refusal"}:
            return None
        return RawKept(10, bytes(32), 10 if b'"HEMO1"' in found.payload else 0)

    def close(self) -> None:
        pass


class FakeReplay:
    """Accepts the items of HEMO1, once; the others are refused still, and those of GONE1 are not kept."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.asked: list[tuple[str, Sequence[int], bool]] = []

    async def replay(self, item_id: str, *, entries: Sequence[int] = (), dry_run: bool = False) -> ReplayOutcome | None:
        self.asked.append((item_id, list(entries), dry_run))
        found = self.store.quarantine_item(item_id)
        if found is None:
            return None
        if found.closed_position:
            return ReplayOutcome(found.id, "closed", position=found.closed_position)
        if found.calling_ae == "GONE1":
            return ReplayOutcome(found.id, "gone", comment="its bytes were deleted")
        if found.calling_ae != "HEMO1":
            why = Finding("study-not-found", "no known patient has that Patient ID", refuse=True)
            return ReplayOutcome(found.id, "refused", status=0xC103, comment=why.reason, findings=[why])
        if not dry_run:
            self.store.items[self.store.items.index(found)] = found._replace(closed_position=11)
        where = ("4", "1.2.3", "P1", "HOSP")
        return ReplayOutcome(found.id, "accepted", not dry_run, 0, "", *where, 0 if dry_run else 11, 2)


class FakeAcceptor:
    """A DICOM listener with one association, which has refused one peer."""

    associations = ({"calling_ae": "HEMO1", "address": "127.0.0.1", "since": "2026-01-01T00:00:00Z", "requests": 3},)
    refused_peers = (
        {
            "calling_ae": "NOBODY1",
            "address": "10.1.9.9",
            "rule": "dicom.unknown_devices",
            "hint": "add [devices.NOBODY1] to the settings",
            "times": 2,
            "first": "2026-01-01T00:00:00+00:00",
            "last": "2026-01-01T00:01:00+00:00",
        },
    )


class FakeFeed:
    """A feed with one sender."""

    name = "hl7"

    async def start(self) -> None:
        """Nothing."""

    async def stop(self) -> None:
        """Nothing."""

    def settings_changed(self) -> None:
        """Nothing."""

    def status(self) -> dict[str, Any]:
        """As the HL7 feed says it."""
        since = "2026-01-01T00:00:00+00:00"
        connection = {"address": "10.1.2.9", "sender": "ADT|CLINIC", "since": since, "messages": 3, "tls": ""}
        sender = {"sender": "ADT|CLINIC", "last_message": since, "messages": 3, "refused": 1, "silent": False}
        return {
            "listening": ["127.0.0.1:2575"],
            "connections": [connection],
            "senders": [sender],
            "connections_refused": 0,
        }


@dataclass
class FakeServer:
    """What the web room sees of `plscp.app.Server`."""

    settings: Settings = field(default_factory=lambda: load(None, {}))
    store: FakeStore = field(default_factory=FakeStore)
    metrics: Metrics = field(default_factory=Metrics)
    acceptor: FakeAcceptor = field(default_factory=FakeAcceptor)
    feeds: Feeds = field(default_factory=lambda: Feeds([FakeFeed()]))
    relay_status: dict[str, Any] = field(default_factory=dict)
    draining: bool = False
    turning: bool = True
    reloaded: Reloaded = field(default_factory=Reloaded)
    live: SimpleNamespace = field(
        default_factory=lambda: SimpleNamespace(
            shown={"file": "", "loaded": "2026-01-01T00:00:00+00:00", "restart": [], "fault": ""}
        )
    )

    def __post_init__(self) -> None:
        self.keeper = RegistryKeeper(
            self.store, Registry(self.settings.matching_locations(), self.settings.matching_issuers())
        )
        self.corrections = Corrections(self.store, self.keeper)

        self.replay = FakeReplay(self.store)
        self.overview = ServerOverview(
            self.store,
            self.keeper,
            self.settings.profile,
            configured=lambda: self.settings.devices,
            associations=lambda: self.acceptor.associations,
            devices=Devices(),
            clocks=ClockDifferences(),
            metrics=self.metrics,
        )

    async def reload(self) -> Reloaded:
        return self.reloaded

    def loop_alive(self) -> bool:
        return self.turning

    def explain_match(self, query: Mapping[str, str]) -> dict[str, Any]:
        status = "0000" if query.get("patient_id") == "P1" else "C103"
        return {
            "rule": "4" if status == "0000" else "",
            "status": status,
            "status_name": "success" if status == "0000" else "cannot-match-to-current-study",
            "comment": "" if status == "0000" else "no study at the location then",
            "warnings": [],
            "given": dict(query),
            "found": {},
            "candidates": [{"what": "1.2.3", "why_not": ""}],
            "registry_position": self.keeper.registry.position,
            "study_instance_uid": "",
            "patient": {"id": "", "issuer": ""},
            "findings": [],
            "hint": "",
            "occurred": {
                "time": "2026-01-01T00:00:00Z",
                "until": None,
                "text": "20260101",
                "basis": "own",
                "synchronized": True,
                "clock_difference_seconds": None,
            },
        }


def entry(study: str = "1.2.3", **more: Any) -> dict[str, Any]:
    """A published entry."""
    return {
        "event_id": "r1-0",
        "recorded": "2026-01-01T00:00:01.000Z",
        "same_content_as": None,
        "findings": [{"code": "study-not-started", "reason": "the study is scheduled", "path": "3.2", "template": "TID3106", "row": "4"}],
        "study": {"study_instance_uid": study, "study_id": "S1", "accession_number": "", "location": "LAB1"},
        "patient": {"id": "P1", "issuer": "HOSP"},
        "match": {
            "rule": "1",
            "status": "0000",
            "warnings": [],
            "given": {"study_instance_uid": study},
            "found": {"study_instance_uid": study},
            "candidates": [{"what": study, "why_not": ""}, {"what": "9.9", "why_not": "closed longer than the grace"}],
            "registry_position": 1,
        },
        "sender": {"ae_title": "HEMO1", "location": "LAB1", "address": "127.0.0.1"},
        "occurred": {"time": "2026-01-01T00:00:00.000Z", "text": "20260101000000", "basis": "server", "synchronized": True},
        "entry": {
            "kind": "drug_administered",
            "template": "3106",
            "drug": {"value": "387467008", "scheme": "SCT", "meaning": "Heparin"},
            "dose": {"value": 5000, "text": "5000", "unit": {"value": "[iU]", "scheme": "UCUM", "meaning": "IU"}},
        },
        **more,
    }  # fmt: skip


def retry(position: int, **more: Any) -> RetryNote:
    """A repeat of the request of the event at a position."""
    return RetryNote(position, NOW, "HEMO1", "10.0.0.7", "a1-3", 5, "1.2.840.10008.1.2", 1)._replace(**more)


def proposal(proposal_id: str = "ab12cd34ef56ab78") -> Proposal:
    """A proposed correction of two events."""
    change = {
        "what": "proposal.move",
        "positions": [3, 4],
        "from": [{"study_instance_uid": "1.2.3", "patient": {"id": "P1", "issuer": "HOSP"}}],
        "to": {"study_instance_uid": "9.9", "patient": {"id": "P2", "issuer": "HOSP"}},
        "because": "an entry of it stands under another study",
        "calling_ae": "HEMO1",
        "quarantine": "0101010101010101",
    }
    return Proposal(proposal_id, 5, NOW, "server", change)


def item(number: int = 1, **more: Any) -> QuarantineItem:
    """A quarantine item."""
    identity = bytes([number]) * 32
    values: dict[str, Any] = {
        "id": identity.hex()[:16],
        "identity": identity,
        "calling_ae": "HEMO1",
        "address": "127.0.0.1",
        "sop_class": "1.2.840.10008.1.40",
        "transfer_syntax": "1.2.840.10008.1.2",
        "first_time": NOW,
        "last_time": NOW + 1_500_000,
        "times": 2,
        "raw": b"\x08\x00abc",
        "raw_length": 5,
        "outcomes": (
            {
                "outcome": "C102 TID3106 r4 3.2",
                "status": 0xC102,
                "comment": "TID3106 r4 missing 121154 at 3.2 (+1)",
                "position": 7,
                "first_time": NOW,
                "last_time": NOW + 1_500_000,
                "times": 2,
                "data": {
                    "status": "C102",
                    "findings": [
                        {"code": "missing-row", "reason": "missing 121154", "path": "3.2", "template": "TID3106", "row": "4", "refuse": True},
                        {"code": "bad-value-type", "reason": "NUM is wanted", "path": "3.3", "template": "TID3106", "row": "6", "refuse": True},
                    ],
                    "match": None,
                },
            },
        ),
        "closed_position": None,
        "number": number,
    }  # fmt: skip
    return QuarantineItem(**(values | more))


class Running:
    """The application of a fake server on a port of loopback, in a thread of its own."""

    def __init__(self, server: FakeServer, certificates: Certificates | None = None) -> None:
        self.server = server
        self.url = ""
        self._scheme = "http" if certificates is None else "https"
        self._loop = asyncio.new_event_loop()
        self._http = HttpServer(build(server), "127.0.0.1", 0, certificates)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        host, port = asyncio.run_coroutine_threadsafe(self._http.start(), self._loop).result(60)
        self.url = f"{self._scheme}://{host}:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.server.draining = True
        with contextlib.suppress(RuntimeError):
            asyncio.run_coroutine_threadsafe(self._http.stop(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        self._loop.close()


def settings_of(folder: Path, text: str) -> Settings:
    """Settings out of a text."""
    path = folder / "plscp.toml"
    path.write_text(text, "utf-8")
    return load(path, {})


AWAY = StoreUnavailable("the store does not answer now")
