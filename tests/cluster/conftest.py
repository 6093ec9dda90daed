"""The cluster and what every test on it may use; it is taken down at the end, whatever happened."""

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from plscp.files import LockFile
from plscp.local.kafka import LocalBroker
from tests.cluster.cluster import HOST, SECOND, Cluster, timed
from tests.cluster.parts import FOLDER, ROOT, Missing, prepare, say
from tests.cluster.release import Release, Values

LOGS: Final = ROOT / "build" / "cluster"
TABLES: Final[dict[str, dict[str, str]]] = {}
"""What the devices saw, for each thing that was done to their server."""
KEEP: Final = "PLSCP_TEST_CLUSTER_STAYS"
"""Environment variable: use the cluster that is up, and let it be; for those who write tests."""
_numbers = itertools.count(os.getpid())

Install = Callable[..., Release]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """One node, ready."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    lock = LockFile(FOLDER / "lock")
    if not lock.take():
        say("waiting for another cluster on this machine to end")
    with lock:
        made = Cluster()
        if os.environ.get(KEEP):
            prepare()
            if not made.ok("get", "nodes", "--request-timeout=5s"):
                made.up()
            yield made
            return
        try:
            with timed("parts"):
                prepare()
            with timed("cluster with a ready node"):
                made.up()
            yield made
        except Missing as missing:
            pytest.skip(str(missing))
        finally:
            shutil.rmtree(LOGS / "logs", ignore_errors=True)
            made.keep_logs(LOGS / "logs")
            with timed("cluster down"):
                made.down()


@pytest.fixture
def two_nodes(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with a second node, on which no pod is put after the test: others call the first node's address."""
    if cluster.ok("get", "node", SECOND.name):
        cluster.kubectl("uncordon", SECOND.name)
    else:
        with timed("second node"):
            cluster.second_node()
    yield cluster
    cluster.kubectl("cordon", SECOND.name)


@pytest.fixture(scope="session")
def broker(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalBroker]:
    """A real Kafka on this machine, where pods reach it."""
    with LocalBroker(tmp_path_factory.mktemp("kafka"), host=HOST) as running:
        yield running


@contextmanager
def installing(cluster: Cluster) -> Iterator[Install]:
    """Installs the chart: values, and Secrets by name; `installed=False` leaves the installing to the test."""
    made: list[Release] = []

    def install(values: Values, *, installed: bool = True, **secrets: dict[str, str]) -> Release:
        new = Release(cluster, f"r{next(_numbers)}", values)
        made.append(new)
        new.namespaced()
        cluster.volume(new.name)
        for name, content in secrets.items():
            new.secret(name.replace("_", "-"), content)
        if installed:
            new.install()
        return new

    yield install
    for each in made:
        each.remove()


@pytest.fixture
def release(cluster: Cluster) -> Iterator[Install]:
    """Installs the chart for one test."""
    with installing(cluster) as install:
        yield install


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What the devices saw, as a table."""
    if not TABLES:
        return
    rows = next(iter(TABLES.values()))
    lines = ["| what eight devices saw, in all (least-most of one) | " + " | ".join(TABLES) + " |"]
    lines.append("| --- |" + " --- |" * len(TABLES))
    lines += [f"| {row} | " + " | ".join(table[row] for table in TABLES.values()) + " |" for row in rows]
    for line in ("", *lines):
        terminalreporter.write_line(line)
    (LOGS / "devices.md").write_text("\n".join(lines) + "\n", "utf-8")
