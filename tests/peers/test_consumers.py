"""The example consumers for Node and Flink give what `consume` gives: of real records, of every kind, with barriers and repeats."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import pytest

from plscp.errors import CommandError
from plscp.local.fetch import jar_list
from plscp.local.kafka import LocalBroker
from tests.consumer.javac import compiled
from tests.consumer.mixed import EXAMPLES, MAKES_TOPICS, Mixed, agrees, mixed
from tests.consumer.writing import new_topic, patient, write
from tests.peers.test_asyncapi import MODULES

pytestmark = [pytest.mark.kafka, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]

HERE = Path(__file__).parent
OPEN = ("io", "lang", "lang.reflect", "net", "nio", "text", "time", "util", "util.concurrent", "util.concurrent.atomic")
"""Packages of Java that Flink reaches into."""


@pytest.fixture(scope="module")
def topics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mixed]:
    """With everything that a consumer meets."""
    with LocalBroker(tmp_path_factory.mktemp("kafka"), properties=MAKES_TOPICS) as broker:
        yield mixed(broker.address, tmp_path_factory.mktemp("server"))


ENVIRONMENT = os.environ | {"NODE_PATH": str(MODULES), "KAFKAJS_NO_PARTITIONER_WARNING": "1"}


@pytest.fixture
def node_program() -> list[str]:
    """The command that runs it; its test is skipped, with the reason, where that cannot be."""
    node = shutil.which("node")
    if node is None or not (MODULES / "kafkajs").is_dir():
        pytest.skip("kafkajs is missing (make peers installs it where there are node and npm)")
    return [node, str(EXAMPLES / "node" / "events.js")]


def test_a_node_program(topics: Mixed, node_program: list[str]) -> None:
    """With kafkajs."""
    agrees(node_program, topics, waits=False, env=ENVIRONMENT)


def test_a_node_program_ends_at_what_it_cannot_read(topics: Mixed, node_program: list[str]) -> None:
    """It does not stand there as if nothing came."""
    topic = new_topic(topics.broker)
    write(topics.broker, topic, [patient(1), patient(2)._replace(value=b"{"), patient(3)])
    command = [*node_program, topics.broker, topic, topic]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=ENVIRONMENT)
    assert (ended.returncode, [json.loads(each)["id"] for each in ended.stdout.splitlines()]) == (1, ["1-1"])


def test_flink_sql(topics: Mixed, tmp_path: Path) -> None:
    """The recipe as it stands, up to the end of the topics, in whatever order its tasks come; 135 MB are fetched once."""
    try:
        java, *path = compiled(HERE / "Recipe.java", tmp_path, jar_list(HERE / "flink-jars.txt"))
    except CommandError as error:
        pytest.skip(str(error))
    text = (EXAMPLES / "flink" / "events.sql").read_text("utf-8").replace("127.0.0.1:9092", topics.broker)
    text = text.replace("plscp.procedure-log;plscp.medication-administration", ";".join(topics.topics))
    text = text.replace("'scan.startup.mode'", "'scan.bounded.mode' = 'latest-offset', 'scan.startup.mode'")
    (tmp_path / "events.sql").write_text(text, "utf-8")
    opened = [f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in OPEN]
    command = [java, *opened, *path, "Recipe", str(tmp_path / "events.sql")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert ended.returncode == 0, ended.stderr
    found = [json.loads(each) for each in ended.stdout.splitlines()]
    assert sorted(found, key=itemgetter("id")) == sorted(topics.lines, key=itemgetter("id"))
