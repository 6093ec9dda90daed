"""The quarantine over HTTP: what was refused and why, whether it would be accepted by now, and its replay."""

import asyncio
import base64
from time import monotonic
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from plscp.matching.bodies import Moment
from plscp.matching.model import Place
from plscp.matching.registry import microseconds
from plscp.records.parts import Identifier, PublishedFinding, published
from plscp.service.replay import ReplayOutcome
from plscp.store.port import LAST
from plscp.store.quarantine import QuarantineItem
from plscp.web.answers import ApiAnswer, ApiPage, DimseStatus, UtcTime
from plscp.web.guard import role_of
from plscp.web.operations import ApiCall, Parameter, flag, moment, operation, paged
from plscp.web.problems import ApiProblem

BULK_SECONDS: Final = 5.0
"""For which one call replays items; what is left is for the next one."""
_NO_ITEM: Final = "no such quarantine item, or more than one begins like this"
_REASON: Final = "how the last refusal begins: its status, or status and Error Comment"
Taken = TypeVar("Taken", bound=BaseModel)


# --- what is answered, and taken ---------------------------------------------------------------------------------------


class QuarantineSummary(ApiAnswer):
    """A refused request; status and comment are those of its last different refusal."""

    id: str
    calling_ae: str
    address: str
    sop_class: str
    transfer_syntax: str
    first_time: UtcTime
    last_time: UtcTime
    times: int
    status: DimseStatus
    comment: str
    raw_length: int
    raw_kept: int
    closed_position: int | None = Field(description="Of the later acceptance; null while it is open.")


class QuarantineOutcome(ApiAnswer):
    """A refusal that differs from the item's others."""

    outcome: str
    status: DimseStatus
    comment: str
    position: int
    first_time: UtcTime
    last_time: UtcTime
    times: int
    data: dict[str, Any] = Field(
        description="The record of the refusal: findings (with `refuse` those that refused, without it those only noted), sender, match."
    )


class ReplayAnswer(ApiAnswer):
    """What became of a replay, or would: the answer that its device would get, and where the request belongs."""

    id: str
    outcome: Literal["accepted", "known", "refused", "closed", "gone", "failed"] = Field(
        description="known: every entry is stored already; closed: accepted before, at `position`; gone: its bytes are not kept; "
        "failed: the store took nothing."
    )
    kept: bool = Field(description="Whether it was done.")
    status: DimseStatus
    comment: str = Field(description="Error Comment; or why it cannot be replayed.")
    hint: str = Field(description="What to do about a refusal; empty where nobody can say.")
    rule: str
    study_instance_uid: str
    patient: Identifier
    position: int = Field(description="Of the last entry that was added, or of what closed the item; else 0.")
    entries: int = Field(description="How many were added, or would be.")
    findings: list[PublishedFinding]


class QuarantineAnswer(QuarantineSummary):
    """A refused request with its different refusals, oldest first, and the data set as it was received.

    `replay` says what a replay would bring now; `replayed` which entries, from 0, were replayed singly, and their positions.
    """

    identity: str
    outcomes: list[QuarantineOutcome]
    raw: str = Field(json_schema_extra={"contentEncoding": "base64"})
    replay: ReplayAnswer | None = None
    replayed: dict[str, int] = Field(default_factory=dict)


class QuarantinePage(ApiPage):
    """Refused requests; what was refused first last comes first, however often it was repeated."""

    items: list[QuarantineSummary]


class ReplayPage(ApiPage):
    """What became of refused requests, or would; those that were refused first come first."""

    results: list[ReplayAnswer]


class ReplayBody(BaseModel):
    """Which entries of a refused request to replay, and whether to do it."""

    model_config = ConfigDict(extra="forbid")

    entries: Annotated[list[Annotated[int, Field(ge=0, lt=10_000, strict=True)]], Field(max_length=10_000)] = Field(
        default=[], description="Indexes from 0; empty: all of them."
    )
    dry_run: StrictBool = Field(default=False, description="Keep nothing: say what would happen.")


class BulkReplayBody(BaseModel):
    """Which refused requests to replay that are open, and whether to do it; what is left out asks for nothing."""

    model_config = ConfigDict(extra="forbid")

    calling_ae: str = ""
    reason: str = Field(default="", description="How the last refusal begins: a status, or status and Error Comment.")
    since: Moment = Field(default=None, description="Refused last not before then.")
    until: Moment = Field(default=None, description="Refused last before then.")
    all: StrictBool = Field(default=False, description="Needed where nothing else is asked.")
    dry_run: StrictBool = Field(default=False, description="Keep nothing: say what would happen.")


# --- what was refused --------------------------------------------------------------------------------------------------


@operation(
    "GET",
    "/api/v1/quarantine",
    QuarantinePage,
    role="read",
    problems=[503],
    parameters=(
        Parameter("calling_ae", "of one device"),
        flag("open", "only those not accepted since"),
        Parameter("reason", _REASON),
        moment("since", "refused last not before then", 0),
        moment("until", "refused last before then", LAST),
        *paged(),
    ),
)
async def list_quarantine(call: ApiCall) -> QuarantinePage:
    """Refused requests; what was refused first last comes first."""
    items = await asyncio.to_thread(
        call.server.store.quarantine,
        calling_ae=call["calling_ae"],
        open_only=call["open"],
        reason=call["reason"],
        since=call["since"],
        until=call["until"],
        limit=call["limit"] + 1,
        before=call["after"] or LAST,
    )
    return call.page(QuarantinePage, "items", [(item.number, item) for item in items], _item)


@operation("GET", "/api/v1/quarantine/{id}", QuarantineAnswer, role="read", problems=[404, 503])
async def get_quarantine(call: ApiCall) -> QuarantineAnswer:
    """One refused request with each different outcome, its findings and bytes; and what a replay would bring, while it is open."""
    store = call.server.store
    item = await asyncio.to_thread(store.quarantine_item, call["id"])
    if item is None:
        raise ApiProblem(404, _NO_ITEM)
    more: dict[str, Any] = {"identity": item.identity.hex(), "raw": base64.b64encode(item.raw).decode()}
    if item.closed_position is None:
        replayed = await asyncio.to_thread(store.replayed_entries, item.identity)
        more["replayed"] = {str(entry): position for entry, position in replayed.items()}
        outcome = await call.server.replay.replay(item.id, dry_run=True)
        if outcome is not None:
            more["replay"] = _replayed(outcome)
    return QuarantineAnswer.model_validate(_item(item) | more)


def _item(item: QuarantineItem) -> dict[str, Any]:
    """An item with the answer of its last different refusal."""
    last = item.outcomes[-1] if item.outcomes else {}
    answered = {"status": last.get("status", ""), "comment": last.get("comment", "")}
    return item._asdict() | answered | {"raw_kept": len(item.raw)}


# --- replay ------------------------------------------------------------------------------------------------------------


@operation(
    "POST",
    "/api/v1/quarantine/{id}/replay",
    ReplayAnswer,
    body=ReplayBody,
    body_required=False,
    problems=[400, 404, 409, 413, 415, 503],
)
async def replay(call: ApiCall) -> ReplayAnswer:
    """Judge a refused request again, by the settings and the registry of now; accepted, its item is closed."""
    asked = await _asked(call, ReplayBody)
    outcome = await call.server.replay.replay(call["id"], entries=asked.entries, dry_run=asked.dry_run)
    if outcome is None:
        raise ApiProblem(404, _NO_ITEM)
    if outcome.outcome == "closed":
        raise ApiProblem(409, f"{outcome.id} was accepted since, at position {outcome.position}")
    if outcome.outcome == "gone":
        raise ApiProblem(409, f"{outcome.id} cannot be replayed: {outcome.comment}")
    if outcome.outcome == "failed":
        raise ApiProblem(503, f"the store took nothing: {outcome.comment or 'try again'}", {"Retry-After": "1"})
    if not asked.entries:
        await _settle(call, outcome)
    return ReplayAnswer.model_validate(_replayed(outcome))


@operation(
    "POST",
    "/api/v1/quarantine/replay",
    ReplayPage,
    body=BulkReplayBody,
    parameters=paged(),
    problems=[400, 409, 413, 415, 503],
)
async def replay_all(call: ApiCall) -> ReplayPage:
    """Replay many refused requests that are open, those that were refused first first.

    A call replays at most `limit` of them, and for a few seconds at most; while its answer has a `next`, there are more.
    """
    asked = await _asked(call, BulkReplayBody)
    if not (asked.all or asked.calling_ae or asked.reason or asked.since or asked.until):
        raise ApiProblem(422, "say which: calling_ae, reason, since, until, or all")
    server, until = call.server, monotonic() + BULK_SECONDS
    found = await asyncio.to_thread(
        server.store.quarantine_after,
        call["after"],
        call["limit"] + 1,
        calling_ae=asked.calling_ae,
        open_only=True,
        reason=asked.reason,
        since=microseconds(asked.since) if asked.since else 0,
        until=microseconds(asked.until) if asked.until else LAST,
    )
    results: list[ReplayOutcome] = []
    done = 0
    for _, item_id in found[: call["limit"]]:
        if server.draining or (done and monotonic() > until):
            break
        outcome = await server.replay.replay(item_id, dry_run=asked.dry_run)
        done += 1
        if outcome is not None:
            results.append(outcome)
            await _settle(call, outcome)
            if outcome.outcome == "failed":
                break
    following = {"next": found[done - 1][0]} if 0 < done < len(found) else {}
    return ReplayPage.model_validate({"results": [_replayed(each) for each in results], **following})


async def _settle(call: ApiCall, outcome: ReplayOutcome) -> None:
    if outcome.kept:  # then what was proposed for the request is done
        place = Place(outcome.study_instance_uid, outcome.patient_id, outcome.issuer)
        await call.server.corrections.replayed(outcome.id, place, role_of(call.request.scope))


async def _asked(call: ApiCall, model: type[Taken]) -> Taken:
    """The body. Raises ApiProblem: 422, one line for the first fault; 503 while the server ends."""
    call.check_serving()
    try:
        return model.model_validate(await call.body(required=False))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise ApiProblem(422, f"{where}: {first['msg']}") from None


def _replayed(outcome: ReplayOutcome) -> dict[str, Any]:
    return {
        **{name: getattr(outcome, name) for name in ReplayAnswer.model_fields if name not in {"patient", "findings"}},
        "patient": {"id": outcome.patient_id, "issuer": outcome.issuer},
        "findings": [published(finding) for finding in outcome.findings],
    }
