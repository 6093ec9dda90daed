"""Reading the event store over HTTP: events by position, one study's timeline."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from time import monotonic
from typing import Any, Final

from pydantic_core import to_json
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from plscp.errors import StoreError
from plscp.logs import log
from plscp.records.values import ADMINISTERED, KINDS
from plscp.store.corrections import Standing
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
from plscp.web.event_forms import HEADING, KEEP_ALIVE, WRITTEN
from plscp.web.operations import (
    CSV,
    EVENT_STREAM,
    JSON,
    NDJSON,
    NOT_KEPT,
    ApiCall,
    Parameter,
    flag,
    moment,
    operation,
    paged,
)
from plscp.web.problems import ApiProblem

EVENT_KINDS: Final = ("entry", "registry", "refusal", "proposal", "correction", "expunged")
ENTRY_KINDS: Final = (*sorted(KINDS), ADMINISTERED)
LAST_EVENT_ID: Final = "Last-Event-ID"
MOST_RETRIES: Final = 100
"""Shown with their event: the latest."""
PAGE_EVENTS: Final = 500
"""What is read of the store at once."""
LOOKED_THROUGH: Final = 20_000
"""Positions that one read looks through for what no index finds: a search of millions takes no thread for long."""
DEFAULT_EVENTS: Final = 100
MOST_FOLLOWERS: Final = 32
LOOK_SECONDS: Final = 0.2
"""Between two looks at the store's head while an answer is kept open."""
KEEP_ALIVE_SECONDS: Final = 15.0
"""After which a stream of server-sent events in which nothing came gets a comment."""


class KeptOpen(StreamingResponse):
    """An answer that is kept open: counted from the moment it is decided on, before anything else has its turn."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As Starlette sends an answer."""
        state = scope["app"].state
        state.followers += 1
        try:
            await super().__call__(scope, receive, send)
        finally:
            state.followers -= 1


# --- events ----------------------------------------------------------------------------------------------------------


@operation(
    "GET",
    "/api/v1/events",
    EventPage,
    role="read",
    media=[JSON, NDJSON, CSV, EVENT_STREAM],
    problems=[409, 503],
    parameters=(
        *paged(10_000, 0, "most events; of JSON, and with latest, 100 by default, else all"),
        flag("latest", "the last ones where there are more than limit"),
        Parameter("study", "of one study, by its Study Instance UID"),
        Parameter("patient", "of one patient, by any Patient ID, also a former one"),
        Parameter("issuer", "issuer of that ID; needed where several patients have it"),
        Parameter("device", "of the requests of one device, by its calling AE title"),
        Parameter(
            "kind",
            "entry by default; or one kind of entry",
            {"type": "string", "enum": [*EVENT_KINDS, "all", *ENTRY_KINDS]},
            "entry",
        ),
        moment("since", "occurred not before then", -LAST),
        moment("until", "occurred before then", LAST),
        flag("follow", "keep the answer open, as ND-JSON or server-sent events"),
        Parameter(
            LAST_EVENT_ID,
            "in place of after, of server-sent events: position of the last one that arrived",
            {"type": "integer", "minimum": 0, "maximum": LAST},
            None,
            "header",
        ),
    ),
)
async def list_events(call: ApiCall) -> bytes | Response:
    """Events after a position, in order.

    As they are published; as rows of CSV or as lines, written as they are read, where the caller prefers those. With `follow`, and
    always as server-sent events, the answer is kept open.
    """
    form = call.form((NDJSON, EVENT_STREAM) if call["follow"] else (JSON, NDJSON, CSV, EVENT_STREAM))
    follow, latest = call["follow"] or form == EVENT_STREAM, call["latest"]
    if latest and follow:
        raise ApiProblem(422, "latest ends where follow begins: give one of them")
    if call["issuer"] and not call["patient"]:
        raise ApiProblem(422, "issuer goes with patient")
    kind, last_event_id = call["kind"], call[LAST_EVENT_ID] if form == EVENT_STREAM else None
    which = Filter(
        after=call["after"] if last_event_id is None else last_event_id,
        limit=call["limit"] or (DEFAULT_EVENTS if form == JSON or latest else 0),
        latest=latest,
        study_instance_uid=call["study"],
        calling_ae=call["device"],
        kinds=(kind,) if kind in EVENT_KINDS else (),
        entry_kind=kind if kind in ENTRY_KINDS else "",
        since=call["since"],
        until=call["until"],
    )
    await asyncio.to_thread(call.server.store.probe)  # once the answer has begun there is no status to say it with
    which = await asyncio.to_thread(_up_to_now, call, which)
    if which.after > which.upto:
        raise ApiProblem(422, f"the store has come to position {which.upto} only: what comes next would be passed over")
    if call.request.method == "HEAD":
        return Response(headers=NOT_KEPT, media_type=form)
    if follow:
        if call.request.app.state.followers >= MOST_FOLLOWERS:
            raise ApiProblem(503, f"{MOST_FOLLOWERS} answers are being kept open already", {"Retry-After": "10"})
        return KeptOpen(_written(call, which, form, follow=True), media_type=form, headers=NOT_KEPT)
    if form != JSON:
        return StreamingResponse(_written(call, which, form, follow=False), media_type=form, headers=NOT_KEPT)
    found = await _latest(call, which) if latest else [each async for page in _pages(call, which) for each in page]
    looked_through = found[-1].position if len(found) == which.limit and not latest else which.upto
    return b'{"events":[%b],"next":%d}' % (b",".join(event.payload for event in found), looked_through)


def _up_to_now(call: ApiCall, which: Filter) -> Filter:
    """What is asked for, up to the store's head, and by the IDs that named the patient until there; reads the store.

    In this order: an ID is merged or given anew at a position, and what came after that must not be looked at without knowing it.
    Raises ApiProblem, 409: several patients have the ID, or it names another one by now than it did for `which`.
    """
    now = replace(which, upto=call.server.store.head()[0])
    if call["patient"]:
        call.server.keeper.catch_up()
        with call.server.keeper.lock:
            registry = call.server.keeper.registry
            patients = registry.named_as_given(call["patient"].strip(" "), call["issuer"].strip(" "))
            if len(patients) > 1:
                raise ApiProblem(409, f"{len(patients)} patients have this ID: name the issuer")
            spans = [span for patient in patients for span in registry.spans_of(patient)]
            now.patient = [(*each, since, LAST if until is None else until) for each, since, until in spans]
            now.patient_keys = [key for patient in patients for key in registry.keys_of(patient)]
        if not {span[:3] for span in which.patient or ()} <= {span[:3] for span in now.patient}:
            raise ApiProblem(409, "this ID names another patient by now")
    return now


def _at_once(which: Filter) -> int:
    """Positions that one read may look through: all of them where an index finds what is asked for."""
    return LAST if which.study_instance_uid or which.patient is not None else LOOKED_THROUGH


async def _latest(call: ApiCall, which: Filter) -> list[StoredEvent]:
    """The last ones of what fits, in order."""
    store, upto = call.server.store, which.upto
    found: list[StoredEvent] = []
    while upto > which.after and len(found) < which.limit:
        after = max(which.after, upto - _at_once(which))
        part = replace(which, after=after, upto=upto, limit=which.limit - len(found))
        found = await asyncio.to_thread(store.read, part) + found
        upto = after
    return found


async def _pages(call: ApiCall, which: Filter, *, follow: bool = False) -> AsyncIterator[list[StoredEvent]]:
    """What fits, a page at a time, up to `upto` or until `limit` is reached; 0: without bound.

    Args:
        follow: wait for more then, until the server stops; the page is empty where nothing came for a while.
    """
    server, store, after, left = call.server, call.server.store, which.after, which.limit
    sent = monotonic()
    while not (follow and server.draining):
        while after < which.upto:
            size = min(PAGE_EVENTS, left) if which.limit else PAGE_EVENTS
            upto = min(which.upto, after + _at_once(which))
            page = await asyncio.to_thread(store.read, replace(which, after=after, upto=upto, limit=size))
            after = page[-1].position if len(page) == size else upto
            if page:
                left -= len(page)
                yield page
                sent = monotonic()
                if which.limit and left <= 0:
                    return
        if not follow:
            return
        # The store tells nobody but the relay when it has committed: a look costs less than a wake-up per commit.
        until = sent + KEEP_ALIVE_SECONDS
        while not server.draining and store.head()[0] == which.upto and monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
        if monotonic() >= until:
            yield []
            sent = monotonic()
        which = await asyncio.to_thread(_up_to_now, call, which)


async def _written(call: ApiCall, which: Filter, form: str, *, follow: bool) -> AsyncIterator[bytes]:
    """What fits, as it is read, or as it comes. The answer has begun: all that is left for what goes wrong is to end it."""
    why = "limit"
    yield HEADING.get(form, b"")
    try:
        async for page in _pages(call, which, follow=follow):
            if page or form == EVENT_STREAM:
                yield await asyncio.to_thread(WRITTEN[form], page) or KEEP_ALIVE
        if call.server.draining:
            why = "draining"
    except StoreError as error:
        why = "store"
        log.warning("store-failed", where="http", why=str(error))
        if not follow:
            raise  # which breaks the connection off: what came is not all
    except ApiProblem:
        why = "patient"  # another one has the ID by now
    if form == EVENT_STREAM:  # without id: a reader goes on after the last one that has one
        yield b'event: end\ndata: {"why":"%b"}\n\n' % why.encode()


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
    if (raw := await asyncio.to_thread(store.raw_kept, found.position)) is not None:
        more["raw"] = RawAnswer(length=raw.length, kept=raw.kept, sha256=raw.digest.hex())
    if found.kind == "entry":
        stands = await asyncio.to_thread(store.standing, [found.position])
        more["standing"] = _standing(stands[0].at) if stands else None
        notes = await asyncio.to_thread(store.retries, found.position, MOST_RETRIES)
        more["retries"] = [RetryAnswer.model_validate(note) for note in notes]
    return _with(found.payload, **more)


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
    if not call["original"]:
        shown = [one.last.payload for one in found]
    else:
        shown = [_with(one.entry.payload, standing=_standing(one.at)) for one in found]
    return b'{"study_instance_uid":%b,"entries":[%b]}' % (to_json(uid), b",".join(shown))


def _standing(at: Standing) -> StandingAnswer | None:
    """Where an entry stands that was moved; None for all others."""
    if not at.correction:
        return None
    patient = {"id": at.patient_id, "issuer": at.issuer}
    return StandingAnswer.model_validate(at._asdict() | {"position": at.standing, "patient": patient})


def _with(payload: bytes, **more: Any) -> bytes:
    """An event with what stands beside it; None stands for nothing."""
    said = {name: value for name, value in more.items() if value is not None}
    return b"%b,%b" % (payload[:-1], to_json(said)[1:]) if said else payload
