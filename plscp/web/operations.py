"""One list of operations, from which come the routes, what is read of a request, and the OpenAPI document: none can be without the others."""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, compile_path

from plscp import __version__
from plscp.config.model import ROLES, Role
from plscp.web.problems import Problem, answer

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
TEXT: Final = "text/plain"


@dataclass(frozen=True)
class Parameter:
    """A query parameter.

    Attributes:
        schema: JSON Schema of its value: a string, one of some words, a boolean, or an integer with its bounds.
        default: its value where the query has none.
    """

    name: str
    text: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    default: Any = ""

    def read(self, given: Mapping[str, str]) -> Any:
        """The value that a query gives it; of a boolean, the name alone is true.

        Raises:
            Problem: 422.
        """
        text = given.get(self.name)
        if text is None:
            return self.default
        kind = self.schema.get("type")
        if kind == "integer":
            least, most = self.schema["minimum"], self.schema.get("maximum", 1 << 62)
            if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
                return int(text)
            raise Problem(422, f"{self.name} must be a whole number from {least} to {most}")
        if kind == "boolean":
            if text.lower() in {"", "1", "true", "yes"}:
                return True
            if text.lower() in {"0", "false", "no"}:
                return False
            raise Problem(422, f"{self.name} must be true or false")
        if text and text not in self.schema.get("enum", (text,)):
            raise Problem(422, f"{self.name} must be one of {', '.join(self.schema['enum'])}")
        return text


def flag(name: str, text: str) -> Parameter:
    """A parameter that is true or false; false by default."""
    return Parameter(name, text, {"type": "boolean"}, default=False)


def limit(text: str, most: int, default: int = 100) -> Parameter:
    """The parameter `limit`."""
    return Parameter("limit", text, {"type": "integer", "minimum": 1, "maximum": most}, default)


@dataclass(frozen=True)
class Call:
    """A request for an operation.

    Attributes:
        given: the values of the path's parameters and of the query's.
    """

    request: Request
    given: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """The value of a parameter."""
        return self.given[name]

    async def body(self, most: int, *, required: bool = True) -> dict[str, Any]:
        """The body as a JSON object.

        Args:
            most: bytes it may have.
            required: whether there must be one; an absent body is an empty object otherwise.

        Raises:
            Problem: 400 not JSON, 413 too long, 415 another content type, 422 no object.
        """
        raw = bytearray()
        async for chunk in self.request.stream():
            raw += chunk
            if len(raw) > most:
                raise Problem(413, f"the body is longer than {most} bytes", {"Connection": "close"})
        if not raw and not required:
            return {}
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != JSON:
            raise Problem(415, "send the body as application/json", {"Accept": JSON})
        try:
            body = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
            json.dumps(body, ensure_ascii=False).encode("utf-8")  # half a surrogate pair, escaped, is no text
        except (ValueError, RecursionError):
            raise Problem(400, "the body is not JSON in UTF-8") from None
        if not isinstance(body, dict):
            raise Problem(422, "the body must be a JSON object")
        return body


def _no_constant(name: str) -> Any:
    raise ValueError(name)


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(frozen=True)
class Operation:
    """One row of the API.

    Attributes:
        path: as Starlette writes it; `{name:path}` takes slashes too.
        parameters: of the query, which may have no others; None: what the query has is ignored.
        answers: HTTP status of success and what it says, and the media types it comes in.
        problems: the failures that are particular to it; 401, 403, 405 and 500 can happen anywhere below /api.
        role: of the token that it asks for; None: it asks for none. Below /api/ each has one.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    parameters: Sequence[Parameter] | None = ()
    body: type[BaseModel] | None = None
    answers: Mapping[int, str] = field(default_factory=lambda: {200: "done"})
    media: Sequence[str] = (JSON,)
    problems: Sequence[int] = ()
    role: Role | None = "operate"

    def __post_init__(self) -> None:
        if self.role is None and self.path.startswith("/api/"):
            raise ValueError(f"{self.path}: below /api/ each operation asks for a role")

    @property
    def plain_path(self) -> str:
        """The path as OpenAPI writes it."""
        return self.path.replace(":path}", "}")

    async def answer(self, request: Request) -> Response:
        """The handler's answer; whatever goes wrong, the caller gets a problem and the listener goes on."""
        try:
            given = dict(request.path_params)
            if self.parameters is not None:
                names = [parameter.name for parameter in self.parameters]
                for name in request.query_params:
                    if name not in names:
                        raise Problem(422, f"{name} is no parameter of this path: {', '.join(names) or 'it has none'}")
                given |= {parameter.name: parameter.read(request.query_params) for parameter in self.parameters}
            return await self.handler(Call(request, given))
        except Exception as error:
            return await answer(request, error)


def routes(operations: Iterable[Operation]) -> list[Route]:
    """Starlette's routes: one per path, so that another method is answered 405 with all methods of the path."""
    by_path: dict[str, dict[str, Operation]] = {}
    for operation in operations:
        by_path.setdefault(operation.path, {})[operation.method] = operation
    return [Route(path, _by_method(rows), methods=list(rows)) for path, rows in by_path.items()]


def _by_method(rows: Mapping[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
    async def call(request: Request) -> Response:
        return await rows["GET" if request.method == "HEAD" else request.method].answer(request)

    return call


def role_needed(operations: Iterable[Operation]) -> Callable[[str, str], Role | None]:
    """The function from a method and a path to the role that is asked for; None: there is no such operation."""
    rows = [(operation, compile_path(operation.path)[0]) for operation in operations if operation.role is not None]

    def needed(method: str, path: str) -> Role | None:
        method = "GET" if method == "HEAD" else method
        return next((row.role for row, pattern in rows if row.method == method and pattern.match(path)), None)

    return needed


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
        "operationId": operation.handler.__name__,
        "summary": operation.summary,
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in in_path
        ]
        + [
            {"name": p.name, "in": "query", "description": p.text, "schema": p.schema}
            for p in operation.parameters or ()
        ],
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
            "required": True,
            "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{operation.body.__name__}"}}},
        }
    return described
