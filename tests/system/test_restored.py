"""A server that is lost and restored from a backup that was made while it served: what devices and consumers see."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from plscp.consumer import Event, consume
from plscp.local.kafka import free_port
from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests import events
from tests.conftest import Broker
from tests.rawscu import RawScu
from tests.serving import Serving, open_study, until

SETTINGS = """
[dicom]
port = {port}
unknown_devices = "accept"
[store]
url = "sqlite:///{folder}/data/plscp.db"
[kafka]
bootstrap_servers = ["{kafka}"]
topic_prefix = "restored"
[http]
port = 0
[operators]
policy = "any"
[registry]
file = "{folder}/current.toml"
"""
STUDY = "1.2.840.99.1"
REGISTRY = open_study(STUDY)


def plscp(folder: Path, *arguments: str, status: int = 0) -> str:
    """Run a command; its standard output."""
    command = [sys.executable, "-m", "plscp", *arguments, "--config", str(folder / "plscp.toml")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)
    assert ended.returncode == status, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout + ended.stderr


def send(server: Serving, *words: str) -> None:
    """One request for each, on one association that is released: every answer is known to have arrived."""
    with RawScu("127.0.0.1", server.port, calling="HEMO1", timeout=60) as scu:
        for text in words:
            data = events.procedural([events.note(events.now(), text)], study=STUDY)
            assert scu.request(PROCEDURAL_EVENT_LOGGING, events.encoded(data)).status == 0
        scu.release()


def published(server: Serving) -> bool:
    """Whether Kafka has acknowledged everything."""
    status: dict[str, Any] = server.get("/api/v1/status")
    relay = status["kafka"]
    return isinstance(relay, dict) and relay["head"] == status["store"]["position"] and not relay["pending"]


def read(kafka: str, last: str) -> list[str]:
    """What a group's member is given, up to an entry with this text; all entries are of one study, so in one partition."""
    texts = []
    with consume(kafka, topics="restored.procedure-log", group="restored", consumer_timeout_ms=60_000) as found:
        for event in found:
            assert isinstance(event, Event)
            texts.append(event.data.entry.text)  # type: ignore[union-attr]
            if texts[-1] == last:
                break
        else:
            raise AssertionError(f"no {last} in {texts}")
    return texts


@pytest.mark.kafka
def test_a_server_is_lost_and_restored(kafka_broker: Broker, tmp_path: Path) -> None:
    """The backup is made while it serves; what came later is named from Kafka; a consumer sees each event once, before and after."""
    (tmp_path / "current.toml").write_text(REGISTRY)
    settings = SETTINGS.replace("{port}", str(free_port())).replace("{kafka}", kafka_broker.address)
    server = Serving(tmp_path, settings)
    try:
        server.start()
        send(server, "one", "two")
        until(lambda: published(server), "all published")
        made = json.loads(plscp(tmp_path, "backup", "b.db", "--json"))
        store, head = server.get("/api/v1/status")["store"], made["position"]
        assert (head, made["store"]) == (store["position"], store["id"])
        assert "is there already" in plscp(tmp_path, "backup", "b.db", status=1)
        send(server, "three", "four")
        until(lambda: published(server), "all published")
        lost = server.get("/api/v1/events", after=head)["events"]
        assert "another server" in plscp(tmp_path, "restore", "b.db", "--force", status=3)
        assert read(kafka_broker.address, "four") == ["one", "two", "three", "four"]
        server.kill()
        assert "--force moves it aside" in plscp(tmp_path, "restore", "b.db", status=1)
        said = plscp(tmp_path, "restore", "b.db", "--force")
        assert f"restored from store {made['store']} up to position {head}" in said
        assert "Kafka holds 2 records of after the backup" in said
        for event in lost:
            (line,) = (line for line in said.splitlines() if event["event_id"] in line)
            assert {f"position {event['position']}", "HEMO1", f"study {STUDY}"} <= {
                part.strip() for part in line.split("  ")
            }
        server.start()
        store = server.get("/api/v1/status")["store"]
        assert (store["position"], store["id"] != made["store"]) == (head, True)
        send(server, "five")
        until(lambda: published(server), "all published")
        assert read(kafka_broker.address, "five") == ["five"]
        send(server, "six")
        assert read(kafka_broker.address, "six") == ["six"]
        until(lambda: published(server), "all published")
        verified = plscp(tmp_path, "verify")
        assert "all well" in verified
        assert all(event["event_id"] in verified for event in lost)
        assert len(list((tmp_path / "data").glob("plscp.db.replaced-*"))) >= 1
        assert server.stop() == 0
    finally:
        server.end()
