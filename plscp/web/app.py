"""The HTTP application: which operations there are, and what stands in front of them."""

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from plscp.web import corrections, events, feeds, health, quarantine, registry
from plscp.web.guard import Guard
from plscp.web.operations import ApiCall, Operation, document, operation, routes
from plscp.web.problems import answer

if TYPE_CHECKING:
    from plscp.app import Server


@operation("GET", "/openapi.json", None, role=None, parameters=None)
async def openapi(_call: ApiCall) -> JSONResponse:
    """This document, OpenAPI 3.1."""
    return JSONResponse(described())


OPERATIONS: Final[Sequence[Operation]] = [
    *(
        each
        for module in (health, registry, events, corrections, quarantine, feeds)
        for each in vars(module).values()
        if isinstance(each, Operation)
    ),
    openapi,
]
"""Every operation; of two whose paths both fit, the first is taken."""


@cache
def described() -> dict[str, Any]:
    """The OpenAPI document."""
    return document(OPERATIONS)


def build(server: "Server") -> Guard:
    """The application on a server. Raises ConfigError: a token file cannot be used."""
    return Guard(_application(server, OPERATIONS), server, OPERATIONS)


def build_probes(server: "Server") -> Starlette:
    """The application of the listener for probes: what needs no token, and holds no patient data, alone."""
    return _application(server, [health.livez, health.readyz, health.metrics])


def _application(server: "Server", operations: Sequence[Operation]) -> Starlette:
    application = Starlette(routes=routes(operations), exception_handlers={HTTPException: answer})
    application.router.redirect_slashes = False
    application.state.server, application.state.followers = server, 0
    return application
