"""Who may use the API: whoever has a token of the role; without token files, programs on this machine, but no foreign web page."""

import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plscp.config import Settings
from plscp.config.live import InForce
from plscp.config.model import LOOPBACK, ROLES, Role
from plscp.config.secretfile import SecretFile
from plscp.web.operations import Operation
from plscp.web.problems import ApiProblem

if TYPE_CHECKING:
    from plscp.app import Server

GUARDED: Final = "/api/"
ROLE: Final = "plscp.role"
"""In the scope of a request that a token let in: its role."""


def role_of(scope: Scope) -> str:
    """In words, for what is kept about who changed something: the role of the token that let a request in, if one did."""
    return str(scope.get(ROLE, "without token"))


class Guard:
    """ASGI middleware in front of everything below /api/.

    Where there are no token files, only requests that name this machine and come from no other site are served, since any web page in a
    browser here could send them; those that name another machine too where the settings say so in so many words.
    """

    def __init__(self, app: ASGIApp, server: "Server", operations: Sequence[Operation]) -> None:
        self._app, self._server = app, server
        self._tokens = InForce(lambda: server.settings, Settings.tokens)
        self._rows = [(each, compile_path(each.path)[0]) for each in operations if each.role is not None]

    def needed(self, method: str, path: str) -> Role | None:
        """The role that an operation asks for; None: there is no such operation."""
        method = "GET" if method == "HEAD" else method
        return next((row.role for row, pattern in self._rows if row.method == method and pattern.match(path)), None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        if scope["type"] == "http" and scope["path"].startswith(GUARDED):
            problem = self._refusal(scope)
            if problem is not None:
                await problem.response()(scope, receive, send)
                return
            send = self._as_long_as_allowed(scope, send)
        await self._app(scope, receive, send)

    def _as_long_as_allowed(self, scope: Scope, send: Send) -> Send:
        """Ends an answer that is kept open, for days as a rule, when the token counts no more."""
        over = False

        async def checked(message: Message) -> None:
            nonlocal over
            if over:
                return
            if message.get("more_body") and self._refusal(scope) is not None:
                over, message = True, {"type": "http.response.body", "body": b""}
            await send(message)

        return checked

    def _refusal(self, scope: Scope) -> ApiProblem | None:
        headers = Headers(scope=scope)
        files = self._tokens.current()
        if not files:
            return _foreign(headers, anyone=self._server.settings.http.authentication == "none")
        needed: Role = self.needed(scope["method"], scope["path"]) or "read"
        role = _role(headers.get("authorization", ""), files)
        if role is None:
            challenge = {"WWW-Authenticate": 'Bearer realm="plscp"'}
            return ApiProblem(
                401, f"send a token of role {needed} as Authorization: Bearer TOKEN", challenge, role=needed
            )
        if ROLES.index(role) < ROLES.index(needed):
            challenge = {"WWW-Authenticate": f'Bearer realm="plscp", error="insufficient_scope", scope="{needed}"'}
            return ApiProblem(403, f"this needs a token of role {needed}, not {role}", challenge, role=needed)
        scope[ROLE] = role
        return None


def _role(authorization: str, files: Sequence[tuple[Role, SecretFile]]) -> Role | None:
    """What the token may do at most; None: it is none. Every token is compared, so that time tells nothing."""
    scheme, _, given = authorization.partition(" ")
    token = given.strip().encode("latin-1")  # the bytes of the header, as they came
    found: list[Role] = [
        role for role, file in files for each in file.current() if hmac.compare_digest(token, each.encode())
    ]
    return max(found, key=ROLES.index) if found and scheme.lower() == "bearer" else None


def _foreign(headers: Headers, *, anyone: bool) -> ApiProblem | None:
    host = urlsplit("//" + headers.get("host", "")).hostname
    if host not in LOOPBACK and not anyone:
        return ApiProblem(
            421, "without http.token_file only this machine is served, by the name localhost or 127.0.0.1"
        )
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != headers.get("host"):
        return ApiProblem(403, "without http.token_file pages of other sites are not served")
    return None
