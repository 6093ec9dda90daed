"""Proposed corrections over HTTP: listed and shown. To confirm one is not part of this version."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plscp.store.port import Proposal
from plscp.web.operations import Operation, Parameter
from plscp.web.problems import Problem
from plscp.web.quarantine import moment
from plscp.web.reading import known_only, whole
from plscp.web.server import Server


class Corrections:
    """Handlers of /api/v1/corrections."""

    def __init__(self, server: Server) -> None:
        self._store = server.store

    async def list_corrections(self, request: Request) -> Response:
        """Proposed corrections, newest first."""
        known_only(request, "limit")
        found = await asyncio.to_thread(self._store.proposals, whole(request, "limit", 100, 1, 1000))
        return JSONResponse({"corrections": [shown(one) for one in found]}, headers={"Cache-Control": "no-store"})

    async def get_correction(self, request: Request) -> Response:
        """One proposed correction."""
        known_only(request)
        return JSONResponse(shown(await self._one(request)), headers={"Cache-Control": "no-store"})

    async def confirm_correction(self, request: Request) -> Response:
        """Confirming is not possible yet; nothing is lost meanwhile."""
        known_only(request)
        found = await self._one(request)
        raise Problem(501, f"this version cannot confirm corrections: {found.id} stays proposed, and nothing was moved")

    async def _one(self, request: Request) -> Proposal:
        found = await asyncio.to_thread(self._store.proposal, request.path_params["id"])
        if found is None:
            raise Problem(404, "no such correction, or more than one begins like this")
        return found

    def operations(self) -> list[Operation]:
        """The rows of the API."""
        one = "/api/v1/corrections/{id}"
        most = Parameter("limit", "most; 100 by default", {"type": "integer", "minimum": 1, "maximum": 1000})
        return [
            Operation("GET", "/api/v1/corrections", self.list_corrections, "Proposed corrections, newest first", [most], role="read", answers={200: "corrections"}, problems=[422, 503]),
            Operation("GET", one, self.get_correction, "One proposed correction", role="read", answers={200: "the correction"}, problems=[404, 503]),
            Operation("POST", one + "/confirm", self.confirm_correction, "Confirm a proposed correction", role="operate", answers={}, problems=[404, 501, 503]),
        ]  # fmt: skip


def shown(proposal: Proposal) -> dict[str, Any]:
    """A proposal as JSON: its state, and what it would do."""
    head = {
        "id": proposal.id,
        "status": "proposed",
        "position": proposal.position,
        "time": moment(proposal.time),
        "source": proposal.source,
    }
    return head | proposal.change
