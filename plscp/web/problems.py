"""Answers in JSON; every error of the HTTP side as problem+json (RFC 9457)."""

import http
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plscp.errors import Conflict, InvalidBody, StoreError
from plscp.logs import log

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER = "1"
NOT_KEPT: Final = {"Cache-Control": "no-store"}
"""Of answers with patients in them: no cache keeps them."""


def private(content: Any, status: int = 200) -> JSONResponse:
    """An answer that no cache keeps."""
    return JSONResponse(content, status, NOT_KEPT)


class Problem(Exception):
    """An answer that says what is wrong.

    Attributes:
        status: of HTTP.
        detail: one line for the caller.
        more: further members, such as `errors`.
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.more = status, detail, dict(headers or {}), more

    def response(self) -> Response:
        """The answer."""
        body = {
            "type": "about:blank",
            "title": http.HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            **self.more,
        }
        return JSONResponse(body, self.status, self.headers, MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """The problem that an exception stands for: 409, 422, 503 for our own, 500 for a defect."""
    match error:
        case Problem():
            return error
        case HTTPException():
            return Problem(error.status_code, _DETAIL.get(error.status_code, error.detail), error.headers)
        case Conflict():
            return Problem(409, str(error))
        case ValidationError():
            return invalid(error)
        case StoreError():
            return Problem(503, str(error), {"Retry-After": RETRY_AFTER})
        case InvalidBody():
            return Problem(422, str(error))
    return Problem(500, "this is a defect of plscp: the log has an internal-error line about it")


_DETAIL = {404: "there is nothing at this path", 405: "this path does not take this method: see Allow"}


def invalid(error: ValidationError) -> Problem:
    """422 with a line per fault; values that were sent are not repeated."""
    errors = [
        {"path": ".".join(str(part) for part in each["loc"]), "reason": str(each["msg"]).removeprefix("Value error, ")}
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    detail = f"{first['path']}: {first['reason']}" if first["path"] else first["reason"]
    return Problem(422, detail + more, errors=errors)


async def answer(request: Request, error: Exception) -> Response:
    """Starlette's exception handler for all of them."""
    problem = problem_of(error)
    if problem.status == 500:
        log.error("internal-error", where="http", method=request.method, exc_info=error)
    return problem.response()
