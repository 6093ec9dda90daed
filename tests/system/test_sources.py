"""Whoever fills the registry: a consumer and `plscp event tail` can follow what each has said, with the feed and the message it came from."""

import subprocess
import sys
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from plscp.consumer import Event, consume
from tests.conftest import Broker
from tests.feeds.worklist import WorklistScp, entry
from tests.serving import Serving, until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]

SETTINGS = """
[dicom]
port = 0
[store]
url = "sqlite:///{folder}/plscp.db"
[http]
port = 0
[log]
format = "json"
[locations.LAB1]
[registry]
file = "current.toml"
[operators]
policy = "list"
file = "operators.toml"
[feeds.worklist]
host = "127.0.0.1"
port = PORT
interval = "PT1S"
[kafka]
bootstrap_servers = ["BROKER"]
topic_prefix = "PREFIX"
"""


def test_what_each_source_says_can_be_followed(tmp_path: Path, kafka_broker: Broker) -> None:
    """File, HTTP and worklist: studies and patients in their topics; operators in the store alone, since nobody reads them elsewhere."""
    (tmp_path / "current.toml").write_text(
        '[[studies]]\nstudy_instance_uid = "1.1"\npatient = { id = "P1" }\nstatus = "open"\n'
    )
    (tmp_path / "operators.toml").write_text('operators = [{ value = "N1", scheme = "L" }]\n')
    prefix = f"sources-{uuid.uuid4().hex[:8]}"
    made = entry("1.3", "P3", step="SPS3", day=f"{datetime.now(UTC):%Y%m%d}")
    with WorklistScp(made) as scp:
        text = SETTINGS.replace("PORT", str(scp.port)).replace("BROKER", kafka_broker.address).replace("PREFIX", prefix)
        with Serving(tmp_path, text) as server:
            tail = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "plscp",
                    "event",
                    "tail",
                    "--kind",
                    "registry",
                    "--after",
                    "0",
                    "--json",
                    "--url",
                    server.http,
                ],
                stdout=subprocess.PIPE,
                text=True,
            )
            server.put("/api/v1/studies/1.2", {"status": "open", "patient": {"id": "P2"}})
            httpx.delete(f"{server.http}/api/v1/operators/L/N1", timeout=60).raise_for_status()
            until(lambda: httpx.get(f"{server.http}/api/v1/studies/1.3", timeout=60).is_success, "the worklist's study")
            (tmp_path / "operators.toml").write_text("operators = []\n")
            server.put("/api/v1/operators/L/N2", {})
            events = server.get("/api/v1/events", kind="registry", limit=1000)["events"]
            said = {(_subject(each), each["source"], each["message"]) for each in events}
            assert {
                ("1.1", "file", ""),
                ("1.2", "http", ""),
                ("1.3", "worklist", "SPS3"),
                ("L|N1", "file", ""),
                ("L|N1", "http", ""),
                ("L|N2", "http", ""),
            } <= said
            assert tail.stdout is not None
            with tail.stdout:
                followed = [tail.stdout.readline() for _ in events]
            tail.kill()
            tail.wait(60)
            assert [line for line in followed if '"SPS3"' in line]
            topics = [f"{prefix}.study", f"{prefix}.patient"]
            wanted = {("1.1", "file", ""), ("1.2", "http", ""), ("1.3", "worklist", "SPS3")}
            found = set[tuple[str, str, str]]()
            types = set[str]()
            with consume(kafka_broker.address, topics=topics, group=prefix, consumer_timeout_ms=60_000) as consumed:
                for event in consumed:
                    assert isinstance(event, Event)
                    data: Any = event.data
                    types.add(event.type)
                    found.add((event.key, data.source, data.message))
                    if wanted <= found and any(message and "P3" in key for key, _, message in found):
                        break
            assert ("HOSP|P3", "worklist", "SPS3") in found
            assert {kind.split(".")[2] for kind in types} == {"study", "patient"}
            assert server.stop() == 0
            with suppress(ProcessLookupError):
                tail.kill()


def _subject(event: dict[str, Any]) -> str:
    """What a change is about."""
    change = event.get("change") or event
    if change.get("scheme"):
        return f"{change['scheme']}|{change['value']}"
    return str(change.get("study_instance_uid") or (event.get("study") or {}).get("study_instance_uid", ""))
