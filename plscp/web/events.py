"""Reading the event store over HTTP: events by position, one study's timeline."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from plscp.errors import StoreError
from plscp.logs import log
from plscp.store.port import Filter, RetryNote, StoredEvent
from plscp.web.operations import JSON, NDJSON, Operation, Parameter
from plscp.web.problems import Problem
from plscp.web.quarantine import moment
from plscp.web.reading import flag, known_only, one_of, whole
from plscp.web.server import Server

KINDS: Final = ("entry", "registry", "refusal", "proposal", "expunged")
MOST_RETRIES: Final = 100
"""Of an event's request, the latest."""
MOST: Final = 10_000
PAGE: Final = 500
MOST_FOLLOWERS: Final = 32
LOOK: Final = 0.2
"""Seconds between two looks at the store's head while an answer is kept open."""

_NUMBER = {"type": "integer", "minimum": 0}


class Events:
    """Handlers of /api/v1/events and /api/v1/timeline."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._followers = 0

    async def list_events(self, request: Request) -> Response:
        """The published values after a position, in order; kept open with `follow`."""
        known_only(request, "after", "limit", "latest", "study", "follow", "kind")
        after = whole(request, "after", 0, 0, 1 << 62)
        follow = flag(request, "follow")
        limit = whole(request, "limit", 0 if follow else 100, 1, MOST)
        latest = flag(request, "latest")
        if latest and follow:
            raise Problem(422, "latest ends where follow begins: give one of them")
        kind = one_of(request, "kind", (*KINDS, "all")) or "entry"
        which = Filter(
            after=after,
            limit=limit,
            study_instance_uid=request.query_params.get("study", ""),
            kinds=() if kind == "all" else (kind,),
            latest=latest,
        )
        if follow:
            if self._followers >= MOST_FOLLOWERS:
                raise Problem(503, f"{MOST_FOLLOWERS} answers are being kept open already", {"Retry-After": "10"})
            return StreamingResponse(self._following(which, limit), media_type=NDJSON, headers=_NOT_KEPT)
        found = await (asyncio.to_thread(self._server.store.read, which) if latest else self._read(which, limit))
        if _wants_lines(request):
            return Response(b"".join(event.payload + b"\n" for event in found), media_type=NDJSON, headers=_NOT_KEPT)
        last = found[-1].position if found else after
        return _json(b'{"events":[%b],"next":%d}' % (_joined(found), last))

    async def _read(self, which: Filter, limit: int) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        after = which.after
        while len(found) < limit:
            size = min(PAGE, limit - len(found))
            page = await asyncio.to_thread(
                self._server.store.read, Filter(after, size, which.study_instance_uid, which.kinds)
            )
            found += page
            if len(page) < size:
                break
            after = page[-1].position
        return found

    async def _following(self, which: Filter, limit: int) -> AsyncIterator[bytes]:
        """Lines as they come, until the caller goes, `limit` is reached or the server stops."""
        store, after, left = self._server.store, which.after, limit
        self._followers += 1
        try:
            while not self._server.draining:
                head, _ = store.head()  # before reading: what comes in between makes the next look differ
                size = min(PAGE, left) if limit else PAGE
                page = await asyncio.to_thread(store.read, Filter(after, size, which.study_instance_uid, which.kinds))
                if page:
                    after = page[-1].position
                    yield b"".join(event.payload + b"\n" for event in page)
                    left -= len(page)
                    if limit and left <= 0:
                        return
                if len(page) < size:
                    await self._beyond(head)
        except StoreError as error:  # the answer has begun: all that is left is to end it
            log.warning("store-failed", where="http", why=str(error))
        finally:
            self._followers -= 1

    async def _beyond(self, head: int) -> None:
        """Wait until the store has more than `head` or the server stops."""
        # The store tells nobody but the relay when it has committed: a look costs less than a wake-up per commit.
        while not self._server.draining and self._server.store.head()[0] == head:  # noqa: ASYNC110
            await asyncio.sleep(LOOK)

    async def get_event(self, request: Request) -> Response:
        """One event of whatever kind: how much of its request is kept as it was received; of an entry the repeats that got its answer."""
        known_only(request)
        text = request.path_params["position"]
        if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text) > 0):
            raise Problem(404, "a position is a number from 1 on")
        found = await asyncio.to_thread(self._server.store.event, int(text))
        if found is None:
            raise Problem(404, f"nothing at position {int(text)}")
        more: dict[str, Any] = {}
        raw = await asyncio.to_thread(self._server.store.raw_kept, found.position)
        if raw is not None:
            more["raw"] = {"length": raw.length, "kept": raw.kept, "sha256": raw.digest.hex()}
        if found.kind == "entry":
            notes = await asyncio.to_thread(self._server.store.retries, found.position, MOST_RETRIES)
            more["retries"] = [retry(note) for note in notes]
        if not more:
            return _json(found.payload)
        return _json(b"%b,%b" % (found.payload[:-1], json.dumps(more).encode()[1:]))

    async def timeline(self, request: Request) -> Response:
        """One study's entries by when they occurred."""
        known_only(request)
        uid = request.path_params["study_instance_uid"]
        found = await asyncio.to_thread(self._server.store.timeline, uid)
        with self._server.keeper.lock:
            study = self._server.keeper.registry.study(uid)
        if study is None and not found:
            raise Problem(404, "no such study")
        return _json(b'{"study_instance_uid":%b,"entries":[%b]}' % (json.dumps(uid).encode(), _joined(found)))

    def operations(self) -> list[Operation]:
        """The rows of the API."""
        return [
            Operation(
                "GET",
                "/api/v1/events",
                self.list_events,
                "Events after a position, in order",
                role="read",
                parameters=[
                    Parameter("after", "position; 0 by default", _NUMBER),
                    Parameter("limit", "most events; 100 by default, without bound with follow", {"type": "integer", "minimum": 1, "maximum": MOST}),
                    Parameter("latest", "the last ones where there are more than limit", {"type": "boolean"}),
                    Parameter("study", "Study Instance UID"),
                    Parameter("kind", "entry by default", {"enum": [*KINDS, "all"]}),
                    Parameter("follow", "keep the answer open, as ND-JSON", {"type": "boolean"}),
                ],
                answers={200: "the published values; next is the position to go on after"},
                media=[JSON, NDJSON],
                problems=[422, 503],
            ),
            Operation("GET", "/api/v1/events/{position}", self.get_event, "One event", role="read", answers={200: "the published value; beside it `raw` (what is kept of its request as received) and of an entry `retries`"}, problems=[404, 503]),
            Operation(
                "GET",
                "/api/v1/timeline/{study_instance_uid}",
                self.timeline,
                "One study's entries by when they occurred",
                role="read",
                answers={200: "the published values"},
                problems=[404, 503],
            ),
        ]  # fmt: skip


def retry(note: RetryNote) -> dict[str, Any]:
    """A repeat: when it came, and from where."""
    return {
        "time": moment(note.arrival),
        "calling_ae": note.calling_ae,
        "address": note.address,
        "association": note.association,
        "message_id": note.message_id,
        "transfer_syntax": note.transfer_syntax,
    }


_NOT_KEPT: Final = {"Cache-Control": "no-store"}


def _wants_lines(request: Request) -> bool:
    return NDJSON in request.headers.get("accept", "")


def _joined(events: Sequence[StoredEvent]) -> bytes:
    return b",".join(event.payload for event in events)


def _json(body: bytes) -> Response:
    return Response(body, media_type=JSON, headers=_NOT_KEPT)
