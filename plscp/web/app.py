"""The HTTP application: which paths there are, and what stands in front of them."""

from collections.abc import Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plscp.config import Settings
from plscp.config.inforce import InForce
from plscp.web.corrections import Corrections
from plscp.web.events import Events
from plscp.web.guard import Guard, Tokens
from plscp.web.health import Health
from plscp.web.live import LiveSettingsPages
from plscp.web.operations import Operation, Parameter, document, role_needed, routes
from plscp.web.problems import Problem, answer
from plscp.web.quarantine import Quarantine
from plscp.web.registry import RegistryPages
from plscp.web.server import Server

MATCH: Final = (
    Parameter("study_instance_uid", "U"),
    Parameter("patient_id", "P"),
    Parameter("issuer", "issuer of the Patient ID"),
    Parameter("study_id", "S"),
    Parameter("location", "L, by any of its names"),
    Parameter("ae_title", "A, the device that would send"),
)


class Matching:
    """Handler of /api/v1/match."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def match(self, request: Request) -> Response:
        """What a request with these identifiers, of an entry that occurs now, would match; nothing is stored."""
        known = {parameter.name for parameter in MATCH}
        for name in request.query_params:
            if name not in known:
                raise Problem(422, f"{name} is no parameter of this path: {', '.join(p.name for p in MATCH)}")
        explained = self._server.explain_match(dict(request.query_params))
        return JSONResponse(explained, headers={"Cache-Control": "no-store"})

    def operations(self) -> list[Operation]:
        """The row of the API."""
        return [
            Operation("GET", "/api/v1/match", self.match, "What would match", MATCH, role="read", answers={200: "the decision"}, problems=[422])
        ]  # fmt: skip


def operations(server: Server) -> list[Operation]:
    """Every operation, the OpenAPI document's own included."""
    described: dict[str, Any] = {}

    async def openapi(_request: Request) -> Response:
        return JSONResponse(described)

    rows: list[Operation] = []
    for pages in (Health, RegistryPages, Events, Quarantine, Corrections, Matching, LiveSettingsPages):
        rows += pages(server).operations()
    rows.append(Operation("GET", "/openapi.json", openapi, "This document", role=None, answers={200: "OpenAPI 3.1"}))
    described.update(document(rows))
    return rows


def build(server: Server) -> Starlette:
    """The application on a server.

    Raises:
        ConfigError: a token file cannot be used.
    """
    rows = operations(server)
    tokens: Tokens = InForce(lambda: server.settings, Settings.tokens)
    return _application(
        rows,
        Middleware(
            Guard,
            tokens=tokens,
            anyone=lambda: server.settings.http.authentication == "none",
            needed=role_needed(rows),
        ),
    )


def build_probes(server: Server) -> Starlette:
    """The application of the listener for probes: what needs no token, and holds no patient data, alone."""
    return _application([row for row in Health(server).operations() if row.role is None])


def _application(rows: Sequence[Operation], *middleware: Middleware) -> Starlette:
    application = Starlette(
        routes=routes(rows), middleware=list(middleware), exception_handlers={HTTPException: answer}
    )
    application.router.redirect_slashes = False
    return application
