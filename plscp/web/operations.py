"""Operations of the HTTP API: from each come its route, what is read of a request, and its part of the OpenAPI document."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from plscp import __version__
from plscp.config.model import ROLES, Role
from plscp.matching.registry import microseconds
from plscp.store.port import LAST
from plscp.web.answers import ApiPage, ProblemDocument
from plscp.web.problems import MEDIA_TYPE, ApiProblem, answer

if TYPE_CHECKING:
    from plscp.app import Server

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
CSV: Final = "text/csv"
EVENT_STREAM: Final = "text/event-stream"
TEXT: Final = "text/plain"
NOT_KEPT: Final = {"Cache-Control": "no-store"}
"""Below /api/ answers have patients in them: no cache keeps them."""
Page = TypeVar("Page", bound=ApiPage)


@dataclass(frozen=True)
class Parameter:
    """A parameter of the query, or one of the headers.

    Attributes:
        schema: JSON Schema of its value: a string, one of some words, a time, a boolean, or an integer with its bounds.
        default: its value where the request has none. The value of a time is in microseconds since the epoch, UTC.
    """

    name: str
    text: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    default: Any = ""
    place: Literal["query", "header"] = "query"

    def read(self, given: Mapping[str, str]) -> Any:
        """The value that a query, or the headers, give it; of a boolean, the name alone is true. Raises ApiProblem: 422."""
        text = given.get(self.name)
        if text is None:
            return self.default
        kind = self.schema.get("type")
        if kind == "integer":
            least, most = self.schema["minimum"], self.schema["maximum"]
            if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
                return int(text)
            raise ApiProblem(422, f"{self.name} must be a whole number from {least} to {most}: {self.text}")
        if kind == "boolean":
            if text.lower() in {"", "1", "true", "yes"}:
                return True
            if text.lower() in {"0", "false", "no"}:
                return False
            raise ApiProblem(422, f"{self.name} must be true or false")
        if self.schema.get("format") == "date-time":
            try:
                moment = datetime.fromisoformat(text)
                if moment.tzinfo is None:
                    raise ValueError
                return microseconds(moment)
            except (ValueError, OverflowError):
                example = "such as 2026-11-26T08:00:00Z; in a query a + is %2B"
                raise ApiProblem(422, f"{self.name} must be a time with its offset, {example}") from None
        if text not in self.schema.get("enum", (text,)):
            raise ApiProblem(422, f"{self.name} must be one of {', '.join(self.schema['enum'])}")
        return text


def flag(name: str, text: str) -> Parameter:
    """A parameter that is true or false; false by default."""
    return Parameter(name, text, {"type": "boolean"}, default=False)


def moment(name: str, text: str, default: int) -> Parameter:
    """A parameter that is a time with its offset."""
    return Parameter(name, text, {"type": "string", "format": "date-time"}, default)


def paged(most: int = 1000, default: int = 100, limited: str = "") -> tuple[Parameter, Parameter]:
    """The parameters of a list that is read in parts: after what to go on, and how much at most.

    Args:
        limited: what is said of `limit`, where it is not simply `default`.
    """
    return (
        Parameter(
            "after",
            "what `next` of the part before says; leave it out to begin",
            {"type": "integer", "minimum": 0, "maximum": LAST},
            0,
        ),
        Parameter(
            "limit",
            limited or f"most items; {default} by default",
            {"type": "integer", "minimum": 1, "maximum": most},
            default,
        ),
    )


def preferred(accept: str, offered: Sequence[str]) -> str:
    """The offered media type of the highest quality (RFC 9110, section 12.5.1), the first one of several. Raises ApiProblem: 406."""
    if not accept.strip():
        return offered[0]
    weights: dict[str, float] = {}
    for each in accept.split(","):
        media, *parameters = (part.strip().lower() for part in each.split(";"))
        said = [value for name, _, value in (part.partition("=") for part in parameters) if name.strip() == "q"]
        with suppress(ValueError):  # what cannot be read counts as not there
            weight = float(said[0]) if said else 1.0
            if 0 <= weight <= 1:
                weights[media] = max(weight, weights.get(media, 0.0))

    def quality(media: str) -> float:
        fitting = (media, media.partition("/")[0] + "/*", "*/*")  # the most specific one decides
        return next((weights[each] for each in fitting if each in weights), 0.0)

    best = max(offered, key=quality)
    if not quality(best):
        raise ApiProblem(406, f"this is given as {', '.join(offered)}: accept one of them")
    return best


@dataclass(frozen=True)
class ApiCall:
    """A request for an operation, with the values that path, query and headers give its parameters."""

    request: Request
    given: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        """The value of a parameter."""
        return self.given[name]

    @property
    def server(self) -> "Server":
        """The server that is asked."""
        server: Server = self.request.app.state.server
        return server

    def form(self, offered: Sequence[str]) -> str:
        """The media type, of those offered, that the caller prefers; raises ApiProblem: 406."""
        return preferred(",".join(self.request.headers.getlist("accept")), offered)

    def check_serving(self) -> None:
        """Raises ApiProblem: 503 once the server was told to stop: nothing is changed any more."""
        if self.server.draining:
            raise ApiProblem(503, "draining: the server was told to stop", {"Retry-After": "10"})

    def page(
        self, model: type[Page], member: str, found: Sequence[tuple[int, Any]], show: Callable[[Any], Any], **more: Any
    ) -> Page:
        """A part of a list.

        Args:
            found: what comes after `after`, at least one more than `limit` where there is more; each with what `after` is to say
                for what follows.
        """
        part = found[: self["limit"]]
        following = {"next": part[-1][0]} if len(found) > len(part) else {}
        return model.model_validate({member: [show(each) for _, each in part], **following, **more})

    async def body(self, *, required: bool = True) -> dict[str, Any]:
        """The body as a JSON object; an absent one that is not required is an empty object. Raises ApiProblem: 400, 413, 415, 422."""
        raw, most = bytearray(), self.server.settings.http.max_body
        async for chunk in self.request.stream():
            raw += chunk
            if len(raw) > most:
                raise ApiProblem(413, f"the body is longer than {most} bytes", {"Connection": "close"})
        if not raw and not required:
            return {}
        kind = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != JSON:
            raise ApiProblem(415, "send the body as application/json", {"Accept": JSON})
        try:
            body = from_json(raw, allow_inf_nan=False)
        except ValueError:
            raise ApiProblem(400, "the body is not JSON in UTF-8") from None
        if not isinstance(body, dict):
            raise ApiProblem(422, "the body must be a JSON object")
        return body


Answered = TypeVar("Answered", bound=BaseModel)
Handler = Callable[[ApiCall], Awaitable[Any]]


@dataclass(frozen=True)
class Operation:
    """One row of the API. Its handler gives an answer's model, with its status where that is not 200; its JSON; or the whole answer.

    Attributes:
        path: as Starlette writes it; `{name:path}` takes slashes too.
        answer: of success; None: text, or an object of any kind.
        parameters: of the query, which may have no others; None: what the query has is ignored.
        body: what is sent; what the path says of it may be left out. Where it is not `body_required`, all of it may.
        statuses: of success.
        problems: the failures that are particular to it.
        role: of the token that it asks for; None: it asks for none. Below /api/ each has one.
    """

    method: str
    path: str
    handler: Handler
    answer: type[BaseModel] | None
    role: Role | None = "operate"
    parameters: Sequence[Parameter] | None = ()
    body: type[BaseModel] | None = None
    body_required: bool = True
    statuses: Sequence[int] = (200,)
    media: Sequence[str] = (JSON,)
    problems: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.role is None and self.path.startswith("/api/"):
            raise ValueError(f"{self.path}: below /api/ each operation asks for a role")

    @property
    def plain_path(self) -> str:
        """The path as OpenAPI writes it."""
        return self.path.replace(":path}", "}")

    async def respond(self, request: Request) -> Response:
        """The handler's answer; whatever goes wrong, the caller gets a problem and the listener goes on."""
        try:
            given = dict(request.path_params)
            if self.parameters is not None:
                names = [parameter.name for parameter in self.parameters if parameter.place == "query"]
                for name in request.query_params:
                    if name not in names:
                        raise ApiProblem(
                            422, f"{name} is no parameter of this path: {', '.join(names) or 'it has none'}"
                        )
                places = {"query": request.query_params, "header": request.headers}
                given |= {each.name: each.read(places[each.place]) for each in self.parameters}
            made = await self.handler(ApiCall(request, given))
            if isinstance(made, Response):
                return made
            made, status = made if isinstance(made, tuple) else (made, 200)
            if isinstance(made, BaseModel):
                made = made.model_dump_json(by_alias=True, exclude_unset=True)
            return Response(made, status, NOT_KEPT if self.role else None, JSON)
        except Exception as error:
            return await answer(request, error)


def operation(
    method: str, path: str, answer: type[Answered] | None, **more: Any
) -> Callable[[Callable[[ApiCall], Awaitable[Answered | tuple[Answered, int] | bytes | Response]]], Operation]:
    """Makes a handler an operation; its docstring begins with the summary. `more` as of `Operation`."""
    return lambda handler: Operation(method, path, handler, answer, **more)


class PathRoute(Route):
    """A route that is taken where its path fits: a method that it does not have is answered 405 with those that it has."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As Starlette asks; never in part, which would leave the request to a route further down."""
        match, child = super().matches(scope)
        return Match.FULL if match is Match.PARTIAL else match, child


def routes(operations: Iterable[Operation]) -> list[Route]:
    """Starlette's routes, one per path; of two that fit the one that leaves less open, else the first, is taken."""
    by_path: dict[str, dict[str, Operation]] = {}
    for each in operations:
        by_path.setdefault(each.path, {})[each.method] = each
    paths = sorted(by_path, key=lambda path: path.count("{"))
    return [PathRoute(path, _by_method(by_path[path]), methods=list(by_path[path])) for path in paths]


def _by_method(rows: Mapping[str, Operation]) -> Callable[[Request], Awaitable[Response]]:
    async def call(request: Request) -> Response:
        return await rows["GET" if request.method == "HEAD" else request.method].respond(request)

    return call


# --- the OpenAPI document ---

_MEANS: Final = {
    200: "done, or as it is known now",
    201: "made: it was not known before",
    400: "the body is not JSON",
    401: "no token, or not a right one",
    403: "a token of another role, or a page of another site",
    404: "not known",
    406: "given in none of the forms that are accepted",
    409: "contradicts what is known",
    413: "the body is too long",
    415: "the body is not application/json",
    421: "without a token, only this machine is served",
    422: "a value cannot be used",
    500: "a defect of plscp",
    501: "not in this version",
    503: "not now: the store does not answer, or the server is stopping",
}
_ROLES: Final[dict[Role, str]] = {
    "read": "a token out of http.read_token_file; those of the other roles may read, too",
    "feed": "a token out of http.feed_token_file, or one of role operate",
    "operate": "a token out of http.token_file or http.operate_token_file",
}
_SCHEMAS: Final = "#/components/schemas/"


def document(operations: Sequence[Operation]) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    bodies = {each.body for each in operations if each.body}
    answers = {each.answer for each in operations if each.answer} | {ProblemDocument}
    models: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        *((model, "validation") for model in bodies),
        *((model, "serialization") for model in answers),
    ]
    models.sort(key=lambda pair: pair[0].__name__)
    _, definitions = models_json_schema(models, ref_template=_SCHEMAS + "{model}")
    schemas = definitions["$defs"]
    paths: dict[str, dict[str, Any]] = {}
    for each in operations:
        in_path = [part[1:-1] for part in each.plain_path.split("/") if part.startswith("{")]
        if each.body is not None:
            schema = schemas[each.body.__name__]
            schema["required"] = [name for name in schema.get("required", ()) if name not in in_path]
        paths.setdefault(each.plain_path, {})[each.method.lower()] = _described(each, in_path)
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
            "responses": {
                str(status): _response(status, ProblemDocument, [MEDIA_TYPE]) for status in _MEANS if status >= 400
            },
            "securitySchemes": {
                role: {"type": "http", "scheme": "bearer", "description": text} for role, text in _ROLES.items()
            },
        },
    }


def _described(operation: Operation, in_path: Sequence[str]) -> dict[str, Any]:
    failures = {
        *operation.problems,
        500,
        *([401, 403, 421] if operation.role else []),
        *([406] if len(operation.media) > 1 else []),
        *([422] if operation.parameters is not None else []),
        *([400, 413, 415] if operation.body else []),
    }
    described: dict[str, Any] = {
        "operationId": operation.handler.__name__,
        "summary": (operation.handler.__doc__ or "").partition("\n")[0].rstrip("."),
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in in_path
        ]
        + [
            {"name": p.name, "in": p.place, "description": p.text, "schema": dict(p.schema)}
            for p in operation.parameters or ()
        ],
        "responses": {
            str(status): _response(status, operation.answer, operation.media) for status in operation.statuses
        }
        | {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(failures)},
    }
    if operation.role is not None:
        described["security"] = [{role: []} for role in ROLES[ROLES.index(operation.role) :]] + [{}]
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: {"schema": _reference(operation.body)}},
        }
    return described


def _response(status: int, model: type[BaseModel] | None, media: Iterable[str]) -> dict[str, Any]:
    whole: dict[str, Any] = {"type": "object"} if model is None else _reference(model)
    text = {"type": "string"}
    return {
        "description": _MEANS[status],
        "content": {kind: {"schema": whole if kind in {JSON, MEDIA_TYPE} else text} for kind in media},
    }


def _reference(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": _SCHEMAS + model.__name__}
