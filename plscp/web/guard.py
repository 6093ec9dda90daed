"""Who may use the API: whoever has a token of the role; without token files, programs on this machine, but no foreign web page."""

import hmac
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plscp.config.live import InForce
from plscp.config.model import LOOPBACK, ROLES, Role
from plscp.config.secretfile import SecretFile
from plscp.web.problems import ApiProblem

GUARDED: Final = "/api/"
Tokens = InForce[Sequence[tuple[Role, SecretFile]]]


class Guard:
    """ASGI middleware in front of everything below /api/.

    Args:
        tokens: the token files; where there are none, only requests that name this machine and come from no other site are served,
            since any web page in a browser here could send them.
        anyone: whether requests that name another machine are served without a token, too: the settings say so in so many words.
        needed: the role that an operation asks for, by method and path; None where there is no such operation.
    """

    def __init__(
        self,
        app: ASGIApp,
        tokens: Tokens,
        anyone: Callable[[], bool],
        needed: Callable[[str, str], Role | None],
    ) -> None:
        self._app, self._tokens, self._anyone, self._needed = app, tokens, anyone, needed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on or refuse."""
        if scope["type"] == "http" and scope["path"].startswith(GUARDED):
            problem = self._refusal(scope)
            if problem is not None:
                await problem.response()(scope, receive, send)
                return
            await self._app(scope, receive, self._as_long_as_allowed(scope, send))
            return
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
            return _foreign(headers, anyone=self._anyone())
        needed: Role = self._needed(scope["method"], scope["path"]) or "read"
        role = _role(headers.get("authorization", ""), files)
        if role is None:
            challenge = {"WWW-Authenticate": 'Bearer realm="plscp"'}
            return ApiProblem(
                401, f"send a token of role {needed} as Authorization: Bearer TOKEN", challenge, role=needed
            )
        if ROLES.index(role) < ROLES.index(needed):
            challenge = {"WWW-Authenticate": f'Bearer realm="plscp", error="insufficient_scope", scope="{needed}"'}
            return ApiProblem(403, f"this needs a token of role {needed}, not {role}", challenge, role=needed)
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
