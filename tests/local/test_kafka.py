"""The local broker: the real one."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from plscp.cli import main
from plscp.errors import CommandError
from plscp.local import kafka as local
from plscp.local.kafka import HOST, LocalBroker, cluster_id
from tests.serving import until

NEVER_SECONDS = 3600.0
"""A time-out that no test waits for: what passes did not need it."""


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


@pytest.mark.kafka
@pytest.mark.slow
def test_one_life_of_a_broker(own_broker: Callable[[], LocalBroker]) -> None:
    """Killed, it starts again at the same address as the same cluster; frozen, it does not answer; thawed, it does."""
    broker = own_broker()
    address, cluster = broker.address, broker.cluster_id
    assert cluster_id(HOST, broker.port, 60) == cluster
    broker.kill()
    assert not broker.running
    assert cluster_id(HOST, broker.port, 1) is None
    broker.start()
    assert (broker.address, cluster_id(HOST, broker.port, 60)) == (address, cluster)
    broker.freeze()
    assert broker.running
    assert cluster_id(HOST, broker.port, 0.3) is None
    broker.thaw()
    until(lambda: cluster_id(HOST, broker.port, 10) == cluster, "an answer after thawing")
    broker.stop()
    assert not broker.running


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anything is fetched or started: one line that names the option."""
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        assert main(["kafka", "--port", str(port)], {}) == 3
    assert capsys.readouterr().err == f"plscp: kafka: {HOST}:{port}: Address already in use; see --port\n"


@pytest.mark.kafka
@pytest.mark.slow
def test_a_broker_dies_with_its_owner(tmp_path: Path) -> None:
    """The owner is killed: the broker ends although nobody stops it."""
    script = (
        "import sys; from pathlib import Path; from plscp.local.kafka import LocalBroker\n"
        "broker = LocalBroker(Path(sys.argv[1])).start()\n"
        "print(broker._process.pid, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        assert not gone(pid)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait(60)
    until(lambda: gone(pid), "the broker's end")


def test_a_strangers_broker_is_not_taken_for_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port at which another cluster answers is an error, not a broker."""
    broker = LocalBroker(tmp_path)
    monkeypatch.setattr(local, "cluster_id", lambda *_: "somebody-elses-cluster")
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        broker._process = process
        with pytest.raises(CommandError, match="another Kafka broker answers"):
            broker._await(60)
        broker._process = None


def test_a_broker_that_ends_at_once_is_one_line(tmp_path: Path) -> None:
    """Its last words are in the line."""
    (tmp_path / "broker.log").write_text("WARNING: noise\nException: Address already in use\n")
    broker = LocalBroker(tmp_path)
    broker.port = local.free_port()
    broker._process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"])
    with pytest.raises(CommandError, match="ended with status 1: Exception: Address already in use"):
        broker._await(60)


def answering(answer: bytes) -> tuple[int, threading.Thread]:
    """A listener that answers one connection with these bytes."""
    listener = socket.create_server((HOST, 0))

    def run() -> None:
        with listener, listener.accept()[0] as connection:
            connection.recv(1000)
            connection.sendall(answer)

    thread = threading.Thread(target=run)
    thread.start()
    return int(listener.getsockname()[1]), thread


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x04abcd", b"\xff" * 12, b"\0\0\0\x09\0"]
)
def test_what_is_not_kafka_has_no_cluster(answer: bytes) -> None:
    """Anything else at the port is None, never an exception."""
    port, thread = answering(answer)
    assert cluster_id(HOST, port, NEVER_SECONDS) is None
    thread.join(60)
