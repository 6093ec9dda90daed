"""The registry file as a feed: what is taken, and that a fault in it stops nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from plscp.feeds import registry_file
from plscp.matching.registry import Registry
from plscp.service.keeper import RegistryKeeper
from tests.temporary import TemporaryStore

STUDY = """
[[studies]]
study_instance_uid = "1.2.3"
status = "open"
patient = { id = "P1", issuer = "HOSP" }
"""


@pytest.fixture
def keeper() -> Iterator[RegistryKeeper]:
    """A registry on an empty store."""
    store = TemporaryStore()
    yield RegistryKeeper(store, Registry())
    store.close()


def read(path: Path, keeper: RegistryKeeper) -> int:
    return asyncio.run(registry_file.read(path, keeper))


def test_what_it_says_is_known_and_said_once(tmp_path: Path, keeper: RegistryKeeper) -> None:
    """The first reading opens the study; the same content again changes nothing."""
    path = tmp_path / "current.toml"
    path.write_text(STUDY)
    assert read(path, keeper) == 0
    study = keeper.registry.study("1.2.3")
    assert study is not None
    assert study.status == "open"
    position = keeper.registry.position
    assert read(path, keeper) == 0
    assert keeper.registry.position == position


@pytest.mark.parametrize("text", ["[[studies", "studies = 5", "[[studys]]\nx = 1", None])
def test_a_fault_changes_nothing_and_stops_nothing(tmp_path: Path, keeper: RegistryKeeper, text: str | None) -> None:
    """A file that cannot be read, or is not one, is one line; the registry stays as it was."""
    path = tmp_path / "current.toml"
    path.write_text(STUDY)
    read(path, keeper)
    position = keeper.registry.position
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with capture_logs() as lines:
        assert read(path, keeper) == 1
    assert keeper.registry.position == position
    assert [line["event"] for line in lines] == ["registry-file-refused"]


def test_of_a_file_with_one_bad_row_nothing_is_taken(tmp_path: Path, keeper: RegistryKeeper) -> None:
    """Another patient for an open study: one line, and the new study beside it is not opened until that is mended."""
    path = tmp_path / "current.toml"
    path.write_text(STUDY)
    read(path, keeper)
    path.write_text(STUDY.replace("P1", "P2") + STUDY.replace("1.2.3", "1.2.4"))
    assert read(path, keeper) == 1
    one = keeper.registry.study("1.2.3")
    assert one is not None
    assert one.as_json()["patient"]["id"] == "P1"
    assert keeper.registry.study("1.2.4") is None
    path.write_text(STUDY + STUDY.replace("1.2.3", "1.2.4"))
    assert read(path, keeper) == 0
    assert keeper.registry.study("1.2.4") is not None


def test_a_file_that_is_mended_is_said_once(tmp_path: Path, keeper: RegistryKeeper) -> None:
    """Whoever was called because of the refusal sees that it is over; a file that was never refused says nothing."""
    path = tmp_path / "current.toml"
    with capture_logs() as lines:
        for text in (STUDY, "[[studies", STUDY, STUDY):
            path.write_text(text)
            read(path, keeper)
    said = [line["event"] for line in lines if line["event"].startswith("registry-file")]
    assert said == ["registry-file-refused", "registry-file-recovered"]


def test_what_is_probably_not_meant_is_logged_without_the_patient(tmp_path: Path, keeper: RegistryKeeper) -> None:
    """A warning for each, and the change is taken."""
    path = tmp_path / "current.toml"
    path.write_text(STUDY.replace(', issuer = "HOSP"', "").replace('"P1"', '"SECRET"'))
    with capture_logs() as lines:
        assert read(path, keeper) == 0
    [warning] = [line for line in lines if line["event"] == "registry-warning"]
    assert warning["log_level"] == "warning"
    assert "has no issuer" in warning["why"]
    assert "SECRET" not in str(lines)
