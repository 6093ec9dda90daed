"""The package: what it holds, that it is the same each time, and that it runs where nothing but it and its dependencies is."""

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from email.parser import Parser
from importlib.metadata import version
from pathlib import Path

import pytest

import plscp
from plscp.dicom.negotiation import IMPLEMENTATION_VERSION
from tests.serving import Serving

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EPOCH = "1764000000"


def built(folder: Path) -> Path:
    """What `make dist` makes, in this folder."""
    environ = os.environ | {"SOURCE_DATE_EPOCH": EPOCH}
    command = [sys.executable, str(ROOT / ".ci/dist"), str(folder)]
    ended = subprocess.run(command, env=environ, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once for this module."""
    return built(tmp_path_factory.mktemp("dist") / "one")


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    """The wheel."""
    [found] = dist.glob("*.whl")
    return found


def test_the_version_stands_in_one_place() -> None:
    """pyproject.toml says it; the program, the log of a device (PS3.7 D.3.3.2) and the command line repeat it."""
    assert plscp.__version__ == version("plscp") == PROJECT["version"]
    assert "PLSCP_" + "_".join(PROJECT["version"].split(".")[:2]) == IMPLEMENTATION_VERSION
    assert len(IMPLEMENTATION_VERSION) <= 16
    repeated = [
        path
        for path in (ROOT / "plscp").rglob("*.py")
        if re.search(rf"version\w* *[:=].*{re.escape(PROJECT['version'])}", path.read_text("utf-8"), re.IGNORECASE)
    ]
    assert repeated == []


def test_it_is_the_same_bytes_each_time(dist: Path, tmp_path: Path) -> None:
    """Sdist and wheel of one commit: whoever builds them can compare them with what was released."""
    assert digests(built(tmp_path / "again")) == digests(dist)


def test_the_wheel_holds_the_whole_package_and_nothing_else(wheel: Path) -> None:
    """Every file of plscp/ that is checked in, types and data and examples too; no tests."""
    listed = subprocess.run(["git", "ls-files", "plscp"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    wanted = set(listed.split()) or {str(path.relative_to(ROOT)) for path in (ROOT / "plscp").rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        said = Parser().parsestr(archive.read(metadata).decode())
    assert {name for name in names if ".dist-info/" not in name} >= {name for name in wanted if (ROOT / name).exists()}
    assert {name.split("/")[0].split("-")[0] for name in names} == {"plscp"}
    assert {"plscp/py.typed", "plscp/config/starter.toml", "plscp/local/kafka-jars.txt"} <= names
    assert "plscp/consumer/examples/billing.py" in names
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("plscp", PROJECT["version"], "Apache-2.0")
    assert said["Requires-Python"] == PROJECT["requires-python"]


def test_the_sdist_holds_what_the_wheel_is_built_from(dist: Path) -> None:
    """Package, licence and project file; the tests need the checkout."""
    [sdist] = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
        assert {member.mtime for member in archive.getmembers()} == {int(EPOCH)}
    assert {"pyproject.toml", "LICENSE", "README.md", "plscp/py.typed", "plscp/config/starter.toml"} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", ".ci"))]


@pytest.mark.slow
def test_it_runs_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, far from the checkout: version, settings, server, echo."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    site = home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    # The dependencies are those of this environment: a folder that a .pth file names, whose own .pth files are not read.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True, text=True)

    def run(*arguments: str) -> str:
        command = [str(home / "bin" / "plscp"), *arguments]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert run("--version") == f"plscp {PROJECT['version']}\n"
    where = subprocess.run(
        [str(python), "-c", "import plscp; print(plscp.__file__)"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert where.startswith(str(site))
    run("config", "init")
    run("config", "check")
    server = Serving(tmp_path, '[dicom]\nport = 0\nunknown_devices = "accept"\n[http]\nport = 0\n')
    server.python = str(python)
    with server:
        assert "0000" in run("echo", server.host, str(server.port))
        assert server.get("/api/v1/status")["version"] == PROJECT["version"]
        assert server.stop() == 0
