"""`plscp relay` and `plscp verify`: what they ask the relay room for, what they show, how they end."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from plscp.cli import upkeep as command
from plscp.errors import RelayError
from plscp.relay import admin
from plscp.relay.verify import PartitionReport, VerificationReport
from tests.cli.conftest import Run

SETTINGS = '[kafka]\nbootstrap_servers = ["127.0.0.1:9"]\ntopic_prefix = "lab"\n'


@pytest.fixture(autouse=True)
def _library_level() -> Iterator[None]:
    """Leave kafka-python's logger as it was."""
    logger = logging.getLogger("kafka")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with settings that name a Kafka nobody runs."""
    (tmp_path / "plscp.toml").write_text(SETTINGS)
    return tmp_path


def test_repartition(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hands the topic on and says from which position on the new count holds."""
    asked = []

    def repartition(settings: object, topic: str) -> admin.Repartitioned:
        asked.append((settings, topic))
        return admin.Repartitioned("lab.study", 6, 12, 41)

    monkeypatch.setattr(admin, "repartition", repartition)
    ran = run("relay", "repartition", "study")
    assert ran == (0, "lab.study: 6 partitions up to now, 12 from position 41 on\n", "")
    assert asked[0][1] == "study"
    assert json.loads(run("relay", "repartition", "study", "--json").out)["after"] == 12
    assert folder.is_dir()


def test_rewind(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hands topic and position on and says what is published again."""

    def rewind(_: object, topic: str, position: int) -> admin.Rewound:
        return admin.Rewound(f"lab.{topic}", position + 1, 7)

    monkeypatch.setattr(admin, "rewind", rewind)
    ran = run("relay", "rewind", "study", "--to", "40")
    assert ran == (0, "lab.study: 7 records from position 41 on are published again\n", "")
    assert run("relay", "rewind", "study").status == 2
    assert run("relay", "rewind", "study", "--to", "-1").status == 2
    assert folder.is_dir()


@pytest.mark.parametrize(
    "typed", [["relay", "repartition", "study"], ["relay", "rewind", "study", "--to", "0"], ["verify"]]
)
def test_nothing_there(run: Run, folder: Path, typed: list[str]) -> None:
    """Without a store the commands end with 3 and one line, without [kafka] with 2."""
    ran = run(*typed)
    assert ran.status == 3
    assert "there is no store" in ran.err
    assert ran.err.count("\n") == 1
    (folder / "plscp.toml").write_text("")
    ran = run(*typed)
    assert (ran.status, ran.err) == (2, "plscp: kafka: the settings name no Kafka: [kafka] bootstrap_servers\n")


def test_verify_shows(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It shows each partition, names what is wrong with its positions, and ends with 1 where something is."""
    good = PartitionReport("lab.study", 0, expected=3, records=3)
    bad = PartitionReport("lab.study", 1, expected=3, records=2, missing=1, unpublished=1, first_missing=[7])
    reports = iter(
        [
            VerificationReport("5f0c", 9, [good], [], None),
            VerificationReport("5f0c", 9, [good, bad], ["lab.patient"], 4),
            VerificationReport("5f0c", 9, [good, bad], [], None),
        ]
    )
    monkeypatch.setattr(command, "verified", lambda *_, **__: next(reports))
    ran = run("verify")
    assert ran.status == 0
    assert "all well: store 5f0c up to position 9" in ran.out
    ran = run("verify")
    assert ran.status == 1
    for text in (
        "lab.study/1 missing: 7",
        "1 of the missing are not published yet",
        "lab.patient is not there",
        "broken at position 4",
    ):
        assert text in ran.out
    ran = run("verify", "--json")
    assert ran.status == 1
    assert json.loads(ran.out)["ok"] is False
    assert folder.is_dir()


def test_relay_errors_are_one_line(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the relay's own checks refuse is said in their words, with status 3."""

    def repartition(*_: object) -> admin.Repartitioned:
        raise RelayError("the relay runs: stop the server first")

    monkeypatch.setattr(admin, "repartition", repartition)
    ran = run("relay", "repartition", "study")
    assert ran == (3, "", "plscp: the relay runs: stop the server first\n")
    assert folder.is_dir()
