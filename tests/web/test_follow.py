"""Answers that are kept open, and the listener itself."""

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from plscp.errors import CommandError
from plscp.web.events import MOST_FOLLOWERS
from plscp.web.serve import HttpServer, listen
from tests.serving import until
from tests.web.checked import build
from tests.web.fake import AWAY, FakeServer, Running, entry, settings_of


def lines(answer: httpx.Response) -> Iterator[int]:
    for line in answer.iter_lines():
        yield json.loads(line)["position"]


def test_follow(running: Running) -> None:
    """`follow` gives what is there and then what comes, in order, until the limit."""
    store = running.server.store
    store.add("entry", entry())
    with httpx.stream("GET", f"{running.url}/api/v1/events?follow=true&limit=4", timeout=60) as answer:
        assert answer.headers["content-type"] == "application/x-ndjson"
        got = lines(answer)
        assert next(got) == 1
        store.add("refusal", {})
        store.add("entry", entry())
        assert next(got) == 3
        store.add("entry", entry())
        store.add("entry", entry())
        assert list(got) == [4, 5]


def test_follow_ends_when_the_server_stops(running: Running) -> None:
    """Answers that are kept open end when the server drains: they never hold it up."""
    running.server.store.add("entry", entry())
    with httpx.stream("GET", f"{running.url}/api/v1/events?follow=1", timeout=60) as answer:
        got = lines(answer)
        assert next(got) == 1
        running.server.draining = True
        assert list(got) == []


def test_follow_ends_when_the_store_fails(running: Running) -> None:
    """A store that stops answering ends the answer."""
    running.server.store.add("entry", entry())
    with httpx.stream("GET", f"{running.url}/api/v1/events?follow=1", timeout=60) as answer:
        got = lines(answer)
        assert next(got) == 1
        running.server.store.failure = AWAY
        running.server.store.add("entry", entry())
        assert list(got) == []


def test_follow_ends_when_its_token_is_taken_out(tmp_path: Path) -> None:
    """Whoever may read no more gets nothing that comes after that, however long the answer was open; it counts as gone."""
    file = tmp_path / "token"
    file.write_text("mine\n")
    server = FakeServer(settings_of(tmp_path, '[http]\nread_token_file = "token"\n'))
    server.store.add("entry", entry())
    with Running(server) as running:
        url, mine = f"{running.url}/api/v1/events?follow=1", {"Authorization": "Bearer mine"}
        with httpx.stream("GET", url, headers=mine, timeout=60) as answer:
            got = lines(answer)
            assert next(got) == 1
            server.store.add("entry", entry())
            assert next(got) == 2
            file.write_text("another\n")
            server.store.add("entry", entry())
            assert list(got) == []
        other = {"Authorization": "Bearer another"}

        def opened() -> int:
            with httpx.stream("GET", url, headers=other, timeout=60) as answer:
                return answer.status_code

        with contextlib.ExitStack() as held:
            for _ in range(MOST_FOLLOWERS - 1):
                held.enter_context(httpx.stream("GET", url, headers=other, timeout=60))
            until(lambda: opened() == 200, "the one that was ended to count no more")


def test_followers_are_bounded_and_go(running: Running) -> None:
    """Past the bound of answers kept open: 503. Callers that went away count no more."""
    running.server.store.add("entry", entry())
    url = f"{running.url}/api/v1/events?follow=1"
    with httpx.Client(limits=httpx.Limits(max_connections=None), timeout=60) as client:
        held = [client.send(client.build_request("GET", url), stream=True) for _ in range(MOST_FOLLOWERS)]
        readers = [lines(answer) for answer in held]  # a reader that is collected closes its answer
        assert [next(reader) for reader in readers] == [1] * MOST_FOLLOWERS
        assert client.get(url).status_code == 503
        for answer in held:
            answer.close()

    def free() -> bool:
        with httpx.stream("GET", url, timeout=60) as answer:
            return answer.status_code == 200

    assert until(free, "a place among the followers")


def test_followers_that_come_at_once_are_bounded(running: Running) -> None:
    """Each counts before the next one is looked at."""
    running.server.store.add("entry", entry())

    async def asked() -> list[int]:
        async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=60) as client:
            request = client.build_request("GET", f"{running.url}/api/v1/events?follow=1")
            answers = await asyncio.gather(*(client.send(request, stream=True) for _ in range(MOST_FOLLOWERS + 8)))
            for answer in answers:
                await answer.aclose()
            return sorted(answer.status_code for answer in answers)

    assert asyncio.run(asked()) == [200] * MOST_FOLLOWERS + [503] * 8


def test_taken_port() -> None:
    """A port that is taken is one line that names the setting."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(
            CommandError, match=rf"http.port: cannot listen on 127.0.0.1:{port}: Address already in use"
        ):
            listen("127.0.0.1", port)


def test_unknown_host() -> None:
    """A host that is no address of this machine is one line that names the setting."""
    with pytest.raises(CommandError, match=r"http\.port: cannot listen on 192\.0\.2\.1:0"):
        listen("192.0.2.1", 0)
    with pytest.raises(CommandError, match=r"http\.host: nowhere\.invalid"):
        listen("nowhere.invalid", 0)


def test_starts_and_stops_in_a_loop(server: FakeServer) -> None:
    """The listener runs in the caller's event loop, leaves signals alone, and stops within its grace, twice if asked."""

    async def run() -> int:
        http = HttpServer(build(server), "127.0.0.1", 0)
        await http.stop()
        host, port = await http.start()
        async with httpx.AsyncClient(timeout=60) as client:
            status = (await client.get(f"http://{host}:{port}/livez")).status_code
        await http.stop()
        await http.stop()
        return status

    assert asyncio.run(run()) == 200
