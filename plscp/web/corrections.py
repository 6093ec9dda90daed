"""Corrections over HTTP: listed, made by hand, confirmed, rejected, reverted."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from plscp.matching.bodies import parse
from plscp.matching.corrections import CorrectionBody, SettleBody
from plscp.service.corrections import CorrectionOutcome
from plscp.store.corrections import Proposal
from plscp.store.port import LAST
from plscp.web.answers import CorrectionAnswer, CorrectionDone, CorrectionPage
from plscp.web.guard import role_of
from plscp.web.operations import ApiCall, Parameter, operation, paged
from plscp.web.problems import ApiProblem

STATES: Final = ("proposed", "confirmed", "rejected", "reverted", "superseded")
STATE: Final = Parameter("status", "of one status", {"type": "string", "enum": [*STATES]})
CHANGES: Final[dict[str, Any]] = {"body": SettleBody, "body_required": False, "problems": (404, 409, 503)}


@operation("GET", "/api/v1/corrections", CorrectionPage, role="read", parameters=(STATE, *paged()), problems=[503])
async def list_corrections(call: ApiCall) -> CorrectionPage:
    """Corrections, proposed ones too, newest first."""
    before = call["after"] or LAST
    found = await asyncio.to_thread(call.server.store.proposals, call["limit"] + 1, before=before, state=call["status"])
    return call.page(CorrectionPage, "corrections", [(each.position, each) for each in found], _correction)


@operation("GET", "/api/v1/corrections/{id}", CorrectionAnswer, role="read", problems=[404, 503])
async def get_correction(call: ApiCall) -> CorrectionAnswer:
    """One correction, proposed or made."""
    return _correction(await _known(call))


@operation("POST", "/api/v1/corrections", CorrectionDone, body=CorrectionBody, problems=[409, 503])
async def make_correction(call: ApiCall) -> CorrectionDone:
    """Move entries to another study or patient, by hand.

    The entries themselves stay as they are; what moves them is kept and published beside them, and can be reverted.
    """
    call.check_serving()
    body = parse(CorrectionBody, await call.body())
    return _done(await call.server.corrections.make(body, _who(call, body)), body)


@operation("POST", "/api/v1/corrections/{id}/confirm", CorrectionDone, **CHANGES)
async def confirm_correction(call: ApiCall) -> CorrectionDone:
    """Do what is proposed; with `to` the entries go there instead."""
    return await _settled(call, call.server.corrections.confirm)


@operation("POST", "/api/v1/corrections/{id}/reject", CorrectionDone, **CHANGES)
async def reject_correction(call: ApiCall) -> CorrectionDone:
    """Say that a proposal is not to be done; the same is not proposed again."""
    return await _settled(call, call.server.corrections.reject)


@operation("POST", "/api/v1/corrections/{id}/revert", CorrectionDone, **CHANGES)
async def revert_correction(call: ApiCall) -> CorrectionDone:
    """Move back what a correction moved, where no later one has moved it; that is a correction itself."""
    return await _settled(call, call.server.corrections.revert)


async def _settled(
    call: ApiCall, settle: Callable[[Proposal, SettleBody, str], Awaitable[CorrectionOutcome]]
) -> CorrectionDone:
    call.check_serving()
    proposal, body = await _known(call), parse(SettleBody, await call.body(required=False))
    return _done(await settle(proposal, body, _who(call, body)), body)


async def _known(call: ApiCall) -> Proposal:
    found = await asyncio.to_thread(call.server.store.proposal, call["id"])
    if found is None:
        raise ApiProblem(404, "no such correction, or more than one begins like this")
    return found


def _who(call: ApiCall, body: SettleBody) -> str:
    role = role_of(call.request.scope)
    return f"{body.who} ({role})" if body.who else role


def _done(outcome: CorrectionOutcome, body: SettleBody) -> CorrectionDone:
    return CorrectionDone.model_validate(outcome._asdict() | {"dry_run": body.dry_run})


def _correction(proposal: Proposal) -> CorrectionAnswer:
    return CorrectionAnswer.model_validate(proposal._asdict() | {"status": proposal.state} | proposal.change)
