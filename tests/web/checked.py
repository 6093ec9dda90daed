"""The application with a judge in front of it: each answer must be one that the OpenAPI document describes."""

import json
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from jsonschema import Draft202012Validator, FormatChecker
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plscp.web import app
from plscp.web.operations import CSV, EVENT_STREAM, NDJSON

if TYPE_CHECKING:
    from plscp.app import Server
    from tests.web.fake import FakeServer

STREAMED = {NDJSON, CSV, EVENT_STREAM}
ANYWHERE = {401, 403, 404, 405, 421}
"""What is answered where there is no such operation."""


def build(server: "FakeServer") -> ASGIApp:
    """The application on a server, judged."""
    return Judged(app.build(cast("Server", server)))


def build_probes(server: "FakeServer") -> ASGIApp:
    """The application for probes, judged."""
    return Judged(app.build_probes(cast("Server", server)))


@cache
def _judge(schema: str) -> Draft202012Validator:
    whole = {"$ref": schema, "components": app.described()["components"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


def judge(method: str, path: str, status: int, media: str, body: bytes) -> None:
    """Assert that the document describes an answer."""
    method = "GET" if method == "HEAD" else method
    rows = (row for row in app.OPERATIONS if row.method == method and compile_path(row.path)[0].match(path))
    row = next(rows, None)
    if row is None:
        assert status in ANYWHERE, (method, path, status)
        content = app.described()["components"]["responses"]["404"]["content"]
    else:
        responses = app.described()["paths"][row.plain_path][method.lower()]["responses"]
        assert str(status) in responses, (method, path, status, body)
        response = responses[str(status)]
        if "$ref" in response:
            response = app.described()["components"]["responses"][response["$ref"].rpartition("/")[2]]
        content = response["content"]
    assert media in content, (method, path, status, media)
    schema = content[media]["schema"]
    if body and "$ref" in schema:
        _judge(schema["$ref"]).validate(json.loads(body))


class Judged:
    """ASGI middleware; an answer that is kept open is judged by its status and media type."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer: dict[str, Any] = {}
        body = bytearray()

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = dict(message["headers"])
                answer["status"] = message["status"]
                answer["media"] = headers[b"content-type"].partition(b";")[0].decode()
                if answer["media"] in STREAMED:
                    judge(scope["method"], scope["path"], 200, answer["media"], b"")
            elif answer["media"] not in STREAMED:
                body.extend(message.get("body", b""))
            await send(message)

        await self._application(scope, receive, noted)
        if answer:  # else the caller went away
            judge(scope["method"], scope["path"], answer["status"], answer["media"], bytes(body))
