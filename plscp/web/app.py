"""The HTTP application: which paths there are, and what stands in front of them."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response

from plscp.config import Settings
from plscp.config.live import InForce
from plscp.web.events import Events, Quarantine
from plscp.web.guard import Guard, Tokens
from plscp.web.health import Health, Operating
from plscp.web.operations import Call, Operation, document, role_needed, routes
from plscp.web.problems import answer
from plscp.web.registry import RegistryPages
from plscp.web.server import Server


def operations(server: Server) -> list[Operation]:
    """Every operation, the OpenAPI document's own included."""

    async def openapi(_call: Call) -> Response:
        return JSONResponse(described)

    pages = (Health, RegistryPages, Events, Quarantine, Operating)
    rows = [row for page in pages for row in page(server).operations()]
    rows.append(
        Operation("GET", "/openapi.json", openapi, "This document", None, role=None, answers={200: "OpenAPI 3.1"})
    )
    described = document(rows)
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
