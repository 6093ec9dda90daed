"""Fixtures of the web room."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from plscp.matching.registry import Registry
from plscp.service.corrections import Corrections
from plscp.service.keeper import RegistryKeeper
from plscp.store import EventStore, open_store
from tests.web.checked import build
from tests.web.fake import FakeServer, Running

Ask = Callable[..., httpx.Response]


@pytest.fixture
def server() -> FakeServer:
    """A server with default settings: loopback, no token."""
    return FakeServer()


@pytest.fixture
def ask() -> Ask:
    """Ask the application of a server, without a socket: ask(server, method, path, **httpx arguments)."""

    def asking(server: FakeServer, method: str, path: str, **more: Any) -> httpx.Response:
        async def call() -> httpx.Response:
            transport = httpx.ASGITransport(build(server), raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                return await client.request(method, path, **more)

        return anyio.run(call)

    return asking


@pytest.fixture
def running(server: FakeServer) -> Iterator[Running]:
    """The application on a real port."""
    with Running(server) as found:
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    """A real store."""
    opened = open_store(f"sqlite:///{tmp_path}/store.db")
    yield opened
    opened.close()


@pytest.fixture
def real(store: EventStore) -> FakeServer:
    """A server on a real store."""
    server = FakeServer()
    server.store = store  # type: ignore[assignment]  # the port, of which the fake is another adapter
    server.keeper = RegistryKeeper(store, Registry())
    server.corrections = Corrections(store, server.keeper)
    return server
