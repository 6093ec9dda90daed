"""Reading the event store over HTTP: events by position, one study's timeline, the quarantine, proposed corrections."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from starlette.responses import JSONResponse, Response, StreamingResponse

from plscp.errors import StoreError
from plscp.logs import log
from plscp.store.chain import iso
from plscp.store.port import Filter, Proposal, QuarantineItem, RetryNote, StoredEvent
from plscp.web.operations import JSON, NDJSON, Call, Operation, Parameter, flag, limit
from plscp.web.problems import NOT_KEPT, Problem, private
from plscp.web.server import Server

KINDS: Final = ("entry", "registry", "refusal", "proposal", "expunged")
MOST_RETRIES: Final = 100
"""Of an event's request, the latest."""
MOST: Final = 10_000
PAGE: Final = 500
MOST_FOLLOWERS: Final = 32
LOOK: Final = 0.2
"""Seconds between two looks at the store's head while an answer is kept open."""


class Events:
    """Handlers of /api/v1/events and /api/v1/timeline."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._followers = 0

    async def list_events(self, call: Call) -> Response:
        """The published values after a position, in order; kept open with `follow`."""
        if call["latest"] and call["follow"]:
            raise Problem(422, "latest ends where follow begins: give one of them")
        kind, most = call["kind"] or "entry", call["limit"] or (0 if call["follow"] else 100)
        which = Filter(call["after"], most, call["study"], () if kind == "all" else (kind,), latest=call["latest"])
        if call["follow"]:
            if self._followers >= MOST_FOLLOWERS:
                raise Problem(503, f"{MOST_FOLLOWERS} answers are being kept open already", {"Retry-After": "10"})
            return StreamingResponse(self._following(which), media_type=NDJSON, headers=NOT_KEPT)
        if which.latest:
            found = await asyncio.to_thread(self._server.store.read, which)
        else:
            found = [event async for page in self._pages(which) for event in page]
        if NDJSON in call.request.headers.get("accept", ""):
            return Response(_lines(found), media_type=NDJSON, headers=NOT_KEPT)
        last = found[-1].position if found else which.after
        return _json(b'{"events":[%b],"next":%d}' % (_joined(found), last))

    async def _pages(self, which: Filter, *, follow: bool = False) -> AsyncIterator[list[StoredEvent]]:
        """What fits, a page at a time, until there is no more or `limit` is reached; 0: without bound.

        Args:
            follow: wait for more instead, until the server stops.
        """
        store, after, left = self._server.store, which.after, which.limit
        while not (follow and self._server.draining):
            head = store.head()[0] if follow else 0  # before reading: what comes in between makes the next look differ
            size = min(PAGE, left) if which.limit else PAGE
            page = await asyncio.to_thread(store.read, Filter(after, size, which.study_instance_uid, which.kinds))
            if page:
                after = page[-1].position
                left -= len(page)
                yield page
                if which.limit and left <= 0:
                    return
            if len(page) < size:
                if not follow:
                    return
                await self._beyond(head)

    async def _following(self, which: Filter) -> AsyncIterator[bytes]:
        """Lines as they come, until the caller goes, `limit` is reached or the server stops."""
        self._followers += 1
        try:
            async for page in self._pages(which, follow=True):
                yield _lines(page)
        except StoreError as error:  # the answer has begun: all that is left is to end it
            log.warning("store-failed", where="http", why=str(error))
        finally:
            self._followers -= 1

    async def _beyond(self, head: int) -> None:
        """Wait until the store has more than `head` or the server stops."""
        # The store tells nobody but the relay when it has committed: a look costs less than a wake-up per commit.
        while not self._server.draining and self._server.store.head()[0] == head:  # noqa: ASYNC110
            await asyncio.sleep(LOOK)

    async def get_event(self, call: Call) -> Response:
        """One event of whatever kind: how much of its request is kept as it was received; of an entry the repeats that got its answer."""
        store, text = self._server.store, call["position"]
        if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text) > 0):
            raise Problem(404, "a position is a number from 1 on")
        found = await asyncio.to_thread(store.event, int(text))
        if found is None:
            raise Problem(404, f"nothing at position {int(text)}")
        more: dict[str, Any] = {}
        raw = await asyncio.to_thread(store.raw_kept, found.position)
        if raw is not None:
            more["raw"] = {"length": raw.length, "kept": raw.kept, "sha256": raw.digest.hex()}
        if found.kind == "entry":
            notes = await asyncio.to_thread(store.retries, found.position, MOST_RETRIES)
            more["retries"] = [retry(note) for note in notes]
        if not more:
            return _json(found.payload)
        return _json(b"%b,%b" % (found.payload[:-1], json.dumps(more).encode()[1:]))

    async def timeline(self, call: Call) -> Response:
        """One study's entries by when they occurred."""
        uid = call["study_instance_uid"]
        found = await asyncio.to_thread(self._server.store.timeline, uid)
        with self._server.keeper.lock:
            study = self._server.keeper.registry.study(uid)
        if study is None and not found:
            raise Problem(404, "no such study")
        return _json(b'{"study_instance_uid":%b,"entries":[%b]}' % (json.dumps(uid).encode(), _joined(found)))

    def operations(self) -> list[Operation]:
        """The rows of the API."""
        which = [
            Parameter("after", "position; 0 by default", {"type": "integer", "minimum": 0}, 0),
            limit("most events; 100 by default, without bound with follow", MOST, default=0),
            flag("latest", "the last ones where there are more than limit"),
            Parameter("study", "Study Instance UID"),
            Parameter("kind", "entry by default", {"enum": [*KINDS, "all"]}),
            flag("follow", "keep the answer open, as ND-JSON"),
        ]
        return [
            Operation("GET", "/api/v1/events", self.list_events, "Events after a position, in order", which, role="read", answers={200: "the published values; next is the position to go on after"}, media=[JSON, NDJSON], problems=[422, 503]),
            Operation("GET", "/api/v1/events/{position}", self.get_event, "One event", role="read", answers={200: "the published value; beside it `raw` (what is kept of its request as received) and of an entry `retries`"}, problems=[404, 503]),
            Operation("GET", "/api/v1/timeline/{study_instance_uid}", self.timeline, "One study's entries by when they occurred", role="read", answers={200: "the published values"}, problems=[404, 503]),
        ]  # fmt: skip


class Quarantine:
    """Handlers of /api/v1/quarantine and /api/v1/corrections. To confirm a correction is not part of this version."""

    def __init__(self, server: Server) -> None:
        self._store = server.store

    async def list_quarantine(self, call: Call) -> Response:
        """Items, newest first."""
        items = await asyncio.to_thread(
            self._store.quarantine, calling_ae=call["calling_ae"], open_only=call["open"], limit=call["limit"]
        )
        return private({"items": [_summary(item) for item in items]})

    async def get_quarantine(self, call: Call) -> Response:
        """One item with each different outcome, its findings and what was received."""
        item = await asyncio.to_thread(self._store.quarantine_item, call["id"])
        if item is None:
            raise Problem(404, "no such quarantine item, or more than one begins like this")
        whole = _summary(item) | {
            "identity": item.identity.hex(),
            "outcomes": [_outcome(each) for each in item.outcomes],
            "raw": base64.b64encode(item.raw).decode(),
        }
        return private(whole)

    async def list_corrections(self, call: Call) -> Response:
        """Proposed corrections, newest first."""
        found = await asyncio.to_thread(self._store.proposals, call["limit"])
        return private({"corrections": [_proposal(each) for each in found]})

    async def get_correction(self, call: Call) -> Response:
        """One proposed correction."""
        return private(_proposal(await self._correction(call)))

    async def confirm_correction(self, call: Call) -> JSONResponse:
        """Confirming is not possible yet; nothing is lost meanwhile."""
        found = await self._correction(call)
        raise Problem(501, f"this version cannot confirm corrections: {found.id} stays proposed, and nothing was moved")

    async def _correction(self, call: Call) -> Proposal:
        found = await asyncio.to_thread(self._store.proposal, call["id"])
        if found is None:
            raise Problem(404, "no such correction, or more than one begins like this")
        return found

    def operations(self) -> list[Operation]:
        """The rows of the API."""
        which = [
            Parameter("calling_ae", "of one device"),
            flag("open", "only those not accepted since"),
            limit("most items; 100 by default", 1000),
        ]
        correction, most = "/api/v1/corrections/{id}", limit("most; 100 by default", 1000)
        return [
            Operation("GET", "/api/v1/quarantine", self.list_quarantine, "Refused requests, newest first", which, role="read", answers={200: "items"}, problems=[422, 503]),
            Operation("GET", "/api/v1/quarantine/{id}", self.get_quarantine, "One refused request with its findings and bytes (raw, in base64)", role="read", answers={200: "the item"}, problems=[404, 503]),
            Operation("GET", "/api/v1/corrections", self.list_corrections, "Proposed corrections, newest first", [most], role="read", answers={200: "corrections"}, problems=[422, 503]),
            Operation("GET", correction, self.get_correction, "One proposed correction", role="read", answers={200: "the correction"}, problems=[404, 503]),
            Operation("POST", correction + "/confirm", self.confirm_correction, "Confirm a proposed correction", role="operate", answers={}, problems=[404, 501, 503]),
        ]  # fmt: skip


def retry(note: RetryNote) -> dict[str, Any]:
    """A repeat: when it came, and from where."""
    return {
        "time": iso(note.arrival),
        "calling_ae": note.calling_ae,
        "address": note.address,
        "association": note.association,
        "message_id": note.message_id,
        "transfer_syntax": note.transfer_syntax,
    }


def _summary(item: QuarantineItem) -> dict[str, Any]:
    """An item without its findings and bytes."""
    last = item.outcomes[-1] if item.outcomes else {}
    return {
        "id": item.id,
        "calling_ae": item.calling_ae,
        "address": item.address,
        "sop_class": item.sop_class,
        "transfer_syntax": item.transfer_syntax,
        "first_time": iso(item.first_time),
        "last_time": iso(item.last_time),
        "times": item.times,
        "status": _status(last.get("status")),
        "comment": last.get("comment", ""),
        "raw_length": item.raw_length,
        "raw_kept": len(item.raw),
        "closed_position": item.closed_position,
    }


def _outcome(outcome: dict[str, Any]) -> dict[str, Any]:
    """One outcome of an item, with readable status and times."""
    times = {name: iso(value) for name, value in outcome.items() if name.endswith("time") and isinstance(value, int)}
    return outcome | {"status": _status(outcome.get("status"))} | times


def _status(status: object) -> str:
    """Four hexadecimal digits."""
    return f"{status:04X}" if isinstance(status, int) else str(status or "")


def _proposal(proposal: Proposal) -> dict[str, Any]:
    """A proposed correction: its state, and what it would do."""
    head = {
        "id": proposal.id,
        "status": "proposed",
        "position": proposal.position,
        "time": iso(proposal.time),
        "source": proposal.source,
    }
    return head | proposal.change


def _joined(events: Sequence[StoredEvent]) -> bytes:
    return b",".join(event.payload for event in events)


def _lines(events: Sequence[StoredEvent]) -> bytes:
    return b"".join(event.payload + b"\n" for event in events)


def _json(body: bytes) -> Response:
    return Response(body, media_type=JSON, headers=NOT_KEPT)
