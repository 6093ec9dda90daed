"""Reading the event store over HTTP: events by position, one study's timeline."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse

from plscp.errors import StoreError
from plscp.logs import log
from plscp.store.corrections import Standing, StandingEvent
from plscp.store.port import LAST, Filter, StoredEvent
from plscp.web.answers import (
    EventPage,
    EventWithRequest,
    RawAnswer,
    RetryAnswer,
    RetryPage,
    StandingAnswer,
    TimelineAnswer,
)
from plscp.web.operations import JSON, NDJSON, NOT_KEPT, ApiCall, Parameter, flag, operation, paged
from plscp.web.problems import ApiProblem

KINDS: Final = ("entry", "registry", "refusal", "proposal", "correction", "expunged")
MOST_RETRIES: Final = 100
"""Shown with their event: the latest."""
PAGE_EVENTS: Final = 500
"""What is read of the store at once."""
MOST_FOLLOWERS: Final = 32
LOOK_SECONDS: Final = 0.2
"""Between two looks at the store's head while an answer is kept open."""


# --- events ----------------------------------------------------------------------------------------------------------


@operation(
    "GET",
    "/api/v1/events",
    EventPage,
    role="read",
    media=[JSON, NDJSON],
    problems=[503],
    parameters=(
        *paged(10_000, 0, "most events; 100 by default, without bound with follow"),
        flag("latest", "the last ones where there are more than limit"),
        Parameter("study", "Study Instance UID"),
        Parameter("kind", "entry by default", {"type": "string", "enum": [*KINDS, "all"]}),
        flag("follow", "keep the answer open, as ND-JSON"),
    ),
)
async def list_events(call: ApiCall) -> bytes | Response:
    """Events after a position, in order.

    As they are published; as lines where the caller accepts those. With `follow` the answer is kept open.
    """
    if call["latest"] and call["follow"]:
        raise ApiProblem(422, "latest ends where follow begins: give one of them")
    kind, most = call["kind"] or "entry", call["limit"] or (0 if call["follow"] else 100)
    which = Filter(call["after"], most, call["study"], () if kind == "all" else (kind,), latest=call["latest"])
    if call["follow"]:
        if call.request.app.state.followers >= MOST_FOLLOWERS:
            raise ApiProblem(503, f"{MOST_FOLLOWERS} answers are being kept open already", {"Retry-After": "10"})
        return StreamingResponse(_following(call, which), media_type=NDJSON, headers=NOT_KEPT)
    if which.latest:
        found = await asyncio.to_thread(call.server.store.read, which)
    else:
        found = [event async for page in _pages(call, which) for event in page]
    if NDJSON in call.request.headers.get("accept", ""):
        return Response(_lines(found), media_type=NDJSON, headers=NOT_KEPT)
    return b'{"events":[%b],"next":%d}' % (_joined(found), found[-1].position if found else which.after)


async def _pages(call: ApiCall, which: Filter, *, follow: bool = False) -> AsyncIterator[list[StoredEvent]]:
    """What fits, a page at a time, until there is no more or `limit` is reached; 0: without bound.

    Args:
        follow: wait for more instead, until the server stops.
    """
    server, store, after, left = call.server, call.server.store, which.after, which.limit
    while not (follow and server.draining):
        head = store.head()[0] if follow else 0  # before reading: what comes in between makes the next look differ
        size = min(PAGE_EVENTS, left) if which.limit else PAGE_EVENTS
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
            # The store tells nobody but the relay when it has committed: a look costs less than a wake-up per commit.
            while not server.draining and store.head()[0] == head:  # noqa: ASYNC110
                await asyncio.sleep(LOOK_SECONDS)


async def _following(call: ApiCall, which: Filter) -> AsyncIterator[bytes]:
    """Lines as they come, until the caller goes, `limit` is reached or the server stops."""
    state = call.request.app.state
    state.followers += 1
    try:
        async for page in _pages(call, which, follow=True):
            yield _lines(page)
    except StoreError as error:  # the answer has begun: all that is left is to end it
        log.warning("store-failed", where="http", why=str(error))
    finally:
        state.followers -= 1


def _joined(events: Sequence[StoredEvent]) -> bytes:
    return b",".join(event.payload for event in events)


def _lines(events: Sequence[StoredEvent]) -> bytes:
    return b"".join(event.payload + b"\n" for event in events)


async def _event(call: ApiCall) -> StoredEvent:
    text = call["position"]
    if not (text.isascii() and text.isdigit() and 0 < len(text) < 19 and int(text) > 0):
        raise ApiProblem(404, "a position is a number from 1 on")
    found = await asyncio.to_thread(call.server.store.event, int(text))
    if found is None:
        raise ApiProblem(404, f"nothing at position {int(text)}")
    return found


@operation("GET", "/api/v1/events/{position}", EventWithRequest, role="read", problems=[404, 503])
async def get_event(call: ApiCall) -> bytes:
    """One event of whatever kind.

    Beside it, how much of its request is kept as it was received, and of an entry the latest repeats that got its answer.
    """
    found, store = await _event(call), call.server.store
    more: dict[str, Any] = {}
    raw = await asyncio.to_thread(store.raw_kept, found.position)
    if raw is not None:
        more["raw"] = RawAnswer(length=raw.length, kept=raw.kept, sha256=raw.digest.hex())
    if found.kind == "entry":
        stands = await asyncio.to_thread(store.standing, [found.position])
        if stands and (standing := _standing(stands[0].at)) is not None:
            more["standing"] = standing
        notes = await asyncio.to_thread(store.retries, found.position, MOST_RETRIES)
        more["retries"] = [RetryAnswer.model_validate(note) for note in notes]
    return b"%b,%b" % (found.payload[:-1], to_json(more)[1:]) if more else found.payload


@operation("GET", "/api/v1/events/{position}/retries", RetryPage, role="read", parameters=paged(), problems=[404, 503])
async def list_retries(call: ApiCall) -> RetryPage:
    """The repeats of an event's request, newest first."""
    position, before = (await _event(call)).position, call["after"] or LAST
    notes = await asyncio.to_thread(call.server.store.retries, position, call["limit"] + 1, before=before)
    return call.page(RetryPage, "retries", [(note.number, note) for note in notes], RetryAnswer.model_validate)


@operation(
    "GET",
    "/api/v1/timeline/{study_instance_uid}",
    TimelineAnswer,
    role="read",
    parameters=(
        flag("original", "the entries that stood under it first, those withdrawn since with where they stand"),
    ),
    problems=[404, 503],
)
async def timeline(call: ApiCall) -> bytes:
    """One study's entries by when they occurred.

    Those that stand under it after corrections, as they were published last; or as it was without any.
    """
    uid = call["study_instance_uid"]
    found = await asyncio.to_thread(call.server.store.timeline, uid, original=call["original"])
    with call.server.keeper.lock:
        study = call.server.keeper.registry.study(uid)
    if study is None and not found:
        raise ApiProblem(404, "no such study")
    shown = [_with_standing(one) if call["original"] else one.last.payload for one in found]
    return b'{"study_instance_uid":%b,"entries":[%b]}' % (json.dumps(uid).encode(), b",".join(shown))


def _with_standing(one: StandingEvent) -> bytes:
    """An entry as it came; of one that was moved, where it stands."""
    standing = _standing(one.at)
    if standing is None:
        return one.entry.payload
    return b'%b,"standing":%b}' % (one.entry.payload[:-1], standing.model_dump_json().encode())


def _standing(at: Standing) -> StandingAnswer | None:
    """Where an entry stands that was moved; None for all others."""
    if not at.correction:
        return None
    patient = {"id": at.patient_id, "issuer": at.issuer}
    return StandingAnswer.model_validate(at._asdict() | {"position": at.standing, "patient": patient})
