"""The example consumers for other clients give what `consume` gives: of real records, of every kind, with barriers and repeats."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from kafka import KafkaConsumer

from plscp.consumer import Event, consume
from plscp.local.fetch import fetch, jar_list
from plscp.local.kafka import LocalBroker
from tests.consumer.javac import compiled
from tests.consumer.mixed import EXAMPLES, IDLE_MS, MAKES_TOPICS, ROOT, Mixed, agrees, mixed, topics_of
from tests.kafkaread import read_all
from tests.serving import until

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.usefixtures("leaking"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    """With everything that a consumer meets."""
    with LocalBroker(tmp_path_factory.mktemp("kafka"), properties=MAKES_TOPICS) as broker:
        yield mixed(broker.address, tmp_path_factory.mktemp("server"))


def test_every_kind_is_among_what_they_read(topics: Mixed) -> None:
    """So that the others say something."""
    assert {each["kind"] for each in topics.lines} >= {
        "drug_administered",
        "untyped",
        "substance_administered",
        "robot_moved",
    }
    assert len({each["type"] for each in topics.lines}) == 11
    assert len(topics.lines) < topics.records


def test_consume_makes_no_topic(topics: Mixed) -> None:
    """It waits for one that is not there; the relay makes it, with as many partitions as it is told."""
    group = f"group-{uuid4().hex[:8]}"
    with consume(topics.broker, topics=[*topics.topics, group], group=group, consumer_timeout_ms=IDLE_MS) as events:
        assert isinstance(next(events), Event)
    assert group not in topics_of(topics.broker)


@pytest.mark.parametrize("name", ["kafka_python", "confluent"])
def test_a_python_program(topics: Mixed, name: str) -> None:
    """With kafka-python alone; with confluent-kafka and plscp's `decode` and `Positions`."""
    agrees([sys.executable, str(EXAMPLES / f"{name}.py")], topics)


def test_a_java_program(topics: Mixed, tmp_path: Path) -> None:
    """With kafka-clients and Jackson, which the broker's own jars are as well."""
    agrees([*compiled(EXAMPLES / "java" / "Events.java", tmp_path, jar_list()), "Events"], topics)


def test_the_java_project_names_what_it_was_tried_with() -> None:
    """Maven's file, which is not run here, has the versions of the broker's jars."""
    pom = (EXAMPLES / "java" / "pom.xml").read_text("utf-8")
    named = re.findall(
        r"<groupId>(.*)</groupId>\s*<artifactId>(.*)</artifactId>\s*<version>(.*)</version>\s*</dep", pom
    )
    assert len(named) == 2
    assert {":".join(each) for each in named} <= {jar.coordinate for jar in jar_list()}


CONNECT: Final = jar_list(Path(__file__).parent / "connect-jars.txt")


def test_kafka_connect(topics: Mixed, tmp_path: Path) -> None:
    """Its predicate drops the barriers; repeats it cannot know: who takes what it brings drops them by their id."""
    java, jars = fetch(jars=[*jar_list(), *CONNECT])
    out = tmp_path / "events.jsonl"
    files = [EXAMPLES / "connect" / f"{name}.properties" for name in ("worker", "sink")]
    for file in files:
        text = file.read_text("utf-8").replace("127.0.0.1:9092", topics.broker).replace("=connect.", f"={tmp_path}/")
        text = text.replace("=http://127.0.0.1:8083", "=http://127.0.0.1:0")
        text = text.replace("plscp.procedure-log,plscp.medication-administration", ",".join(topics.topics))
        (tmp_path / file.name).write_text(text.replace("=events.jsonl", f"={out}"), "utf-8")
    whole = read_all(topics.broker, topics.topics[0].rpartition(".")[0])
    command: list[str | Path] = [
        java,
        "-cp",
        ":".join(map(str, jars)),
        "org.apache.kafka.connect.cli.ConnectStandalone",
    ]
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen([*command, *(tmp_path / file.name for file in files)], stdout=log, stderr=log) as process,
    ):
        try:
            until(lambda: process.poll() is not None or _lines(out) >= len(whole), "all to be written", 300)
        finally:
            process.kill()
    lines = [json.loads(each) for each in out.read_text("utf-8").splitlines()]
    assert len(lines) == len(whole), (tmp_path / "log").read_text("utf-8", "replace")
    assert {each["event_id"]: each for each in lines} == {each.headers["ce_id"]: each.value for each in whole}
    assert len(lines) > len(topics.lines)


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def test_the_ten_lines_of_the_guide(topics: Mixed) -> None:
    """They let every event through once, and nothing else."""
    text = (ROOT / "docs" / "consumer.md").read_text("utf-8")
    names: dict[str, Any] = {}
    exec(text.split("```python\n")[1].split("```")[0], names)
    consumer = KafkaConsumer(
        *topics.topics, bootstrap_servers=topics.broker, auto_offset_reset="earliest", consumer_timeout_ms=IDLE_MS
    )
    found = [record.offset for record in islice(consumer, topics.records) if names["new"](record)]
    consumer.close()
    assert len(found) == len(topics.lines)
