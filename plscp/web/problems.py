"""Every error of the HTTP side as problem+json (RFC 9457)."""

import http
from collections.abc import Mapping
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plscp.errors import Conflict, InvalidBody, StoreError
from plscp.logs import log

MEDIA_TYPE: Final = "application/problem+json"


class ApiProblem(Exception):
    """An answer that says what is wrong, in one line; `more` are further members, such as `faults`."""

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


_DETAIL: Final = {404: "there is nothing at this path", 405: "this path does not take this method: see Allow"}


async def answer(request: Request, error: Exception) -> Response:
    """The problem that an exception stands for: 409, 422, 503 for our own, 500 for a defect, which is logged."""
    match error:
        case ApiProblem():
            problem = error
        case HTTPException():
            problem = ApiProblem(error.status_code, _DETAIL.get(error.status_code, error.detail), error.headers)
        case Conflict():
            problem = ApiProblem(409, str(error))
        case InvalidBody():
            problem = ApiProblem(422, str(error))
        case StoreError():
            problem = ApiProblem(503, str(error), {"Retry-After": "1"})
        case _:
            log.error("internal-error", where="http", method=request.method, exc_info=error)
            problem = ApiProblem(500, "this is a defect of plscp: the log has an internal-error line about it")
    return problem.response()
