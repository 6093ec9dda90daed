"""The HL7 feed of a real server: other people's senders, broken messages, and what an acknowledgement promises."""

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hl7.client import MLLPClient

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.events import encoded, note, now, procedural
from tests.feeds.hl7 import message, pid, pv1
from tests.rawscu import RawScu
from tests.serving import Serving, until

SETTINGS = """
[dicom]
port = 0
unknown_devices = "accept"

[http]
port = 0

[store]
url = "sqlite:///{folder}/plscp.db"

[feeds.hl7]
port = 0
message_deadline = "PT1S"

[matching]
patient_id_issuer = "HOSP"
"""
P1 = pid("P1^^^HOSP^MR", "Muster^Maria", "19600102", "F")
BROKEN = [
    ("no header", b"PID|1||P1\r", "AR"),
    ("wrong encoding characters", message("ADT^A08", P1).replace(b"|^~\\&|", b"|^^^^|", 1), "AR"),
    ("ten megabytes", message("ADT^A08", P1, "OBX|1|ED|" + "x" * 10_000_000), "AR"),
    ("no such day", message("ADT^A08", pid("P1^^^HOSP", "A^B", "19601345")), "AE"),
    ("no patient", message("ADT^A08", pv1("W3")), "AE"),
]


def port_of(server: Serving) -> int:
    """Where the feed listens: the line that `serve` prints."""
    [line] = [line for line in server.lines if line.startswith("hl7 ")]
    return int(line.rpartition(":")[2])


def sender(server: Serving) -> MLLPClient:
    """python-hl7's own client."""
    client = MLLPClient("127.0.0.1", port_of(server))
    client.socket.settimeout(60)
    return client


def exchanged(server: Serving, data: bytes) -> bytes:
    """The answer to a message over a connection of its own; python-hl7's client does not send ten megabytes whole."""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=60) as connection:
        connection.sendall(b"\x0b" + data + b"\x1c\r")
        answer = b""
        while not answer.endswith(b"\x1c\r"):
            piece = connection.recv(4096)
            assert piece, "the connection was closed"
            answer += piece
    return answer


def code(answer: bytes) -> str:
    """MSA-1."""
    return answer.decode().split("\rMSA|")[1][:2]


@pytest.fixture(name="server")
def _server(tmp_path: Path) -> Iterator[Serving]:
    with Serving(tmp_path, SETTINGS) as made:
        yield made


def test_another_librarys_sender_fills_the_registry(server: Serving) -> None:
    """Admitted, ordered, merged: each acknowledged, and there at once; the records say which message they come from."""
    with sender(server) as client:
        assert code(client.send_message(message("ADT^A01", P1, pv1("W3^12", "V1^^^HOSP")))) == "AA"
        order = message("ORM^O01", P1, "ORC|NW|1", "OBR|1|||CATH", "ZDS|1.2.3.4")
        assert code(client.send_message(order)) == "AA"
        assert code(client.send_message(message("ADT^A40", pid("P2^^^HOSP"), "MRG|P1^^^HOSP", control_id="M7"))) == "AA"
        assert code(client.send_message(message("ADT^A60", P1))) == "AA"
    study = server.get("/api/v1/studies/1.2.3.4")
    assert (study["status"], study["patient"]["id"]) == ("scheduled", "P2")
    events = server.get("/api/v1/events", kind="registry", latest=True, limit=1)["events"]
    assert (events[-1]["source"], events[-1]["message"]) == ("hl7", "ADT|CLINIC|M7")
    [feed] = server.get("/api/v1/feeds")["feeds"]
    assert [(one["sender"], one["messages"], one["refused"]) for one in feed["senders"]] == [("ADT|CLINIC", 4, 0)]
    metrics = httpx.get(server.http + "/metrics").text
    assert 'plscp_feed_messages_total{feed="hl7",outcome="changed",trigger="ADT^A40"} 1.0' in metrics
    assert 'plscp_feed_messages_total{feed="hl7",outcome="ignored",trigger="other"} 1.0' in metrics


def test_what_was_acknowledged_survives_a_kill(server: Serving) -> None:
    """SIGKILL after the AA: the change is there after a restart, and the message again is harmless."""
    admitted = message("ADT^A01", P1, pv1("W3^12", "V1^^^HOSP"))
    with sender(server) as client:
        assert code(client.send_message(admitted)) == "AA"
        server.kill()
    server.lines.clear()
    server.start()
    position = server.get("/api/v1/status")["store"]["position"]
    assert server.get("/api/v1/patients/P1")["name"] == "Muster^Maria"
    with sender(server) as client:
        assert code(client.send_message(admitted)) == "AA"
    assert server.get("/api/v1/status")["store"]["position"] == position


def test_broken_messages_are_refused_and_kept_and_disturb_nobody(server: Serving) -> None:
    """Each has its answer with a reason, or its connection closed; another sender is answered between them, and so is a device."""
    server.put("/api/v1/studies/1.2", {"status": "open", "patient": {"id": "P0", "issuer": "HOSP"}})

    def noted(device: RawScu) -> int:
        sent = encoded(procedural([note(now())], study="1.2"))
        return device.request(PROCEDURAL_EVENT_LOGGING, sent).status

    with sender(server) as good, RawScu(server.host, server.port, calling="HEMO1") as device:
        for number, (why, data, expected) in enumerate(BROKEN, 1):
            answer = exchanged(server, data)
            assert code(answer) == expected, why
            assert b"\rERR|" in answer, why
            assert code(good.send_message(message("ADT^A31", pid(f"Q{number}^^^HOSP")))) == "AA"
            assert noted(device) == 0, why
        with socket.create_connection(("127.0.0.1", port_of(server)), timeout=60) as half:
            half.sendall(b"\x0bMSH|^~\\&|ADT|half a frame")
            assert noted(device) == 0
            assert half.recv(1) == b""
        assert noted(device) == 0
        assert code(good.send_message(message("ADT^A31", pid("Q9^^^HOSP")))) == "AA"
    until(lambda: len(server.get("/api/v1/feeds/messages")["messages"]) == len(BROKEN) + 1, "what is kept")
    kept = server.get("/api/v1/feeds/messages")["messages"]
    assert kept[0]["why"].startswith("the connection ended before the end")
    assert kept[-3]["raw_length"] > 10_000_000
    assert len(server.get("/api/v1/patients")["patients"]) == len(BROKEN) + 2


def test_the_end_of_the_server_is_an_orderly_one(server: Serving) -> None:
    """SIGTERM: the connection is closed, the exit status is 0, and what was acknowledged is stored."""
    with sender(server) as client:
        assert code(client.send_message(message("ADT^A31", P1))) == "AA"
        assert server.stop() == 0
        assert client.socket.recv(1) == b""
