"""Who may use the API: whoever has the token; without a token file, programs on this machine, but no foreign web page."""

import hmac
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from plscp.config.model import LOOPBACK
from plscp.web.problems import Problem

GUARDED = "/api/"


class TokenFile:
    """A token in a file, read again when the file changes, so that it can be rotated.

    Args:
        token: as read at start.
    """

    def __init__(self, path: Path, token: str) -> None:
        self._path, self._token = path, token
        self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def current(self) -> str:
        """The token now; one that cannot be read leaves the last one in force."""
        stamp = self._stamp()
        if stamp is not None and stamp != self._seen:
            try:
                text = self._path.read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError):
                return self._token
            if text:
                self._token, self._seen = text, stamp
        return self._token


class Guard:
    """ASGI middleware in front of everything below /api/.

    Args:
        token: the token file, or None: then only requests that name this machine and come from no other site are served,
            since any web page in a browser here could send them.
    """

    def __init__(self, app: ASGIApp, token: TokenFile | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        if scope["type"] == "http" and scope["path"].startswith(GUARDED):
            problem = self._refusal(Headers(scope=scope))
            if problem is not None:
                await problem.response()(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, headers: Headers) -> Problem | None:
        if self._token is None:
            return _foreign(headers)
        scheme, _, given = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self._token.current().encode())
        if scheme.lower() == "bearer" and right:
            return None
        return Problem(
            401, "send the token as Authorization: Bearer TOKEN", {"WWW-Authenticate": 'Bearer realm="plscp"'}
        )


def _foreign(headers: Headers) -> Problem | None:
    host = urlsplit("//" + headers.get("host", "")).hostname
    if host not in LOOPBACK:
        return Problem(421, "without http.token_file only this machine is served, by the name localhost or 127.0.0.1")
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        return Problem(403, "without http.token_file pages of other sites are not served")
    return None
