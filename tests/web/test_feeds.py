"""Feeds over HTTP: who sends, and what was refused."""

import base64

from plscp.store.port import RefusedMessage
from tests.web.conftest import Ask
from tests.web.fake import NOW, FakeServer


def refused(number: int) -> RefusedMessage:
    """A refused message."""
    return RefusedMessage(number, "hl7", "10.1.2.9:4711", "ADT|CLINIC|7", NOW, "no PID PID^1", 9, b"MSH|^~\\&|")


def test_feeds(server: FakeServer, ask: Ask) -> None:
    """Each with what it says of itself; the status has them, too."""
    [feed] = ask(server, "GET", "/api/v1/feeds").json()["feeds"]
    assert (feed["feed"], feed["senders"][0]["sender"], feed["connections"][0]["address"]) == (
        "hl7",
        "ADT|CLINIC",
        "10.1.2.9",
    )
    assert ask(server, "GET", "/api/v1/status").json()["feeds"] == [feed]


def test_refused_messages(server: FakeServer, ask: Ask) -> None:
    """Newest first and in parts, without what is in them; one of them whole; 404 for one that is not there."""
    server.store.messages = [refused(number) for number in (1, 2, 3)]
    first = ask(server, "GET", "/api/v1/feeds/messages?limit=2").json()
    assert [each["id"] for each in first["messages"]] == ["3", "2"]
    assert "raw" not in first["messages"][0]
    rest = ask(server, "GET", f"/api/v1/feeds/messages?after={first['next']}").json()
    assert [each["id"] for each in rest["messages"]] == ["1"]
    whole = ask(server, "GET", "/api/v1/feeds/messages/2").json()
    assert base64.b64decode(whole["raw"]) == b"MSH|^~\\&|"
    assert (whole["why"], whole["peer"], whole["raw_length"], whole["raw_kept"]) == (
        "no PID PID^1",
        "10.1.2.9:4711",
        9,
        9,
    )
    for wrong in ("9", "x", "99999999999999999999"):
        assert ask(server, "GET", f"/api/v1/feeds/messages/{wrong}").status_code == 404
