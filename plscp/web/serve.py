"""The HTTP listener: uvicorn inside the server's own event loop, without its signal handlers."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from plscp.dicom.certificates import Certificates
from plscp.errors import CommandError, StoreError

logging.getLogger("uvicorn.error").addFilter(
    # An answer that a failing store breaks off was logged where it failed: uvicorn closes the connection, and would log it again.
    lambda record: not (record.exc_info and isinstance(record.exc_info[1], StoreError))
)
STOP_SECONDS = 3
MOST_CONNECTIONS = 200


class HttpServer(uvicorn.Server):
    """Serves an ASGI application from `start` to `stop`; signals are left to plscp. `settings` is where host and port come from."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        certificates: Certificates | None = None,
        *,
        settings: tuple[str, str] = ("http.host", "http.port"),
    ) -> None:
        self._host, self._port, self._settings = host, port, settings
        config = uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            http="h11",
            ws="none",
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        if certificates is not None:

            def take_current(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
                connection.context = certificates.context  # at each handshake the one that is there then

            config.load()  # which makes a context of its own, or none
            config.ssl = certificates.load()  # asyncio keeps the one that it is given
            config.ssl.sni_callback = take_current
        super().__init__(config)
        self._serving: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals stay as they are."""
        yield

    async def start(self) -> tuple[str, int]:
        """Listen; returns the address and the port. Raises CommandError: it cannot be listened on."""
        bound = listen(self._host, self._port, self._settings)
        self._serving = asyncio.get_running_loop().create_task(self.serve([bound]))
        while not self.started:
            if self._serving.done():
                self._serving.result()
                raise CommandError("http: the listener ended while it started")
            await asyncio.sleep(0.005)
        host, port = bound.getsockname()[:2]
        return host, port

    async def stop(self) -> None:
        """Finish the answers in hand, within a few seconds; safe to call twice, or without `start`."""
        if self._serving is not None:
            self.should_exit = True
            serving, self._serving = self._serving, None
            await serving


def listen(host: str, port: int, settings: tuple[str, str] = ("http.host", "http.port")) -> socket.socket:
    """A listening socket. Raises CommandError with the setting, out of those that host and port come from, and the reason."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CommandError(f"{settings[0]}: {host}: {error.strerror or error}", 3) from None
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise CommandError(f"{settings[1]}: cannot listen on {host}:{port}: {error.strerror or error}", 3) from None
    return bound
