"""One list of operations, from which come both the routes and the OpenAPI document: neither can be without the other."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, compile_path

from plscp import __version__
from plscp.config.model import ROLES, Role
from plscp.web.problems import answer

Handler = Callable[[Request], Awaitable[Response]]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
TEXT: Final = "text/plain"


@dataclass(frozen=True)
class Parameter:
    """A query parameter.

    Attributes:
        schema: JSON Schema of its value.
    """

    name: str
    text: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True)
class Operation:
    """One row of the API.

    Attributes:
        path: as Starlette writes it; `{name:path}` takes slashes too.
        answers: HTTP status of success and what it says, and the media types it comes in.
        problems: the failures that are particular to it; 401, 403, 405 and 500 can happen anywhere below /api.
        role: of the token that it asks for; None: it asks for none. Below /api/ each has one.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    parameters: Sequence[Parameter] = ()
    body: type[BaseModel] | None = None
    body_required: bool = True
    answers: dict[int, str] = field(default_factory=lambda: {200: "done"})
    media: Sequence[str] = (JSON,)
    problems: Sequence[int] = ()
    role: Role | None = "operate"

    def __post_init__(self) -> None:
        if self.role is None and self.path.startswith("/api/"):
            raise ValueError(f"{self.path}: below /api/ each operation asks for a role")

    @property
    def name(self) -> str:
        """Its operationId: unique."""
        return self.handler.__name__

    @property
    def plain_path(self) -> str:
        """The path as OpenAPI writes it."""
        return self.path.replace(":path}", "}").replace(":int}", "}")


def routes(operations: Iterable[Operation]) -> list[Route]:
    """Starlette's routes: one per path, so that another method is answered 405 with all methods of the path."""
    by_path: dict[str, dict[str, Handler]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation.handler
    return [Route(path, _by_method(handlers), methods=list(handlers)) for path, handlers in by_path.items()]


def role_needed(operations: Iterable[Operation]) -> Callable[[str, str], Role | None]:
    """The function from a method and a path to the role that is asked for; None: there is no such operation."""
    rows = [(operation, compile_path(operation.path)[0]) for operation in operations if operation.role is not None]

    def needed(method: str, path: str) -> Role | None:
        method = "GET" if method == "HEAD" else method
        return next((row.role for row, pattern in rows if row.method == method and pattern.match(path)), None)

    return needed


def _by_method(handlers: dict[str, Handler]) -> Handler:
    async def call(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        try:
            return await handlers[method](request)
        except Exception as error:  # whatever it is, the caller gets a problem and the listener goes on
            return await answer(request, error)

    return call


_MEANS: Final = {
    400: "the body is not JSON",
    401: "no token, or not a right one",
    403: "a token of another role, or a page of another site",
    404: "not known",
    409: "contradicts what is known",
    413: "the body is too long",
    415: "the body is not application/json",
    422: "a value cannot be used",
    501: "not in this version",
    503: "not now: the store does not answer, or the server is stopping",
}


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    models = sorted({o.body for o in operations if o.body is not None}, key=lambda model: model.__name__)
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    schemas = dict(definitions.get("$defs", {})) | {"Problem": _PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.plain_path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "plscp",
            "version": __version__,
            "summary": "Patients, admissions, studies, logged events and quarantine of a Procedure Log SCP.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                role: {"type": "http", "scheme": "bearer", "description": text} for role, text in _ROLES.items()
            },
        },
    }


_ROLES: Final[dict[Role, str]] = {
    "read": "a token out of http.read_token_file; those of the other roles may read, too",
    "feed": "a token out of http.feed_token_file, or one of role operate",
    "operate": "a token out of http.token_file or http.operate_token_file",
}
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}


def _described(operation: Operation) -> dict[str, Any]:
    in_path = [part[1:-1] for part in operation.plain_path.split("/") if part.startswith("{")]
    failures = sorted(
        {*operation.problems, *([401, 403] if operation.role else []), *([400, 413, 415] if operation.body else [])}
    )
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in in_path
        ]
        + [{"name": p.name, "in": "query", "description": p.text, "schema": p.schema} for p in operation.parameters],
        "responses": {
            str(status): {"description": text, "content": {media: {"schema": {}} for media in operation.media}}
            for status, text in operation.answers.items()
        }
        | {
            str(status): {
                "description": _MEANS[status],
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }
            for status in failures
        },
    }
    if operation.role is not None:
        described["security"] = [{role: []} for role in ROLES[ROLES.index(operation.role) :]] + [{}]
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{operation.body.__name__}"}}},
        }
    return described
