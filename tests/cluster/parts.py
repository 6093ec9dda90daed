"""What a cluster is made of: brought once, kept in the cache folder, and made anew where its recipe has changed."""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from plscp.local.fetch import cache_folder
from tests.deploy.helm import programs

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
FOLDER: Final = cache_folder() / "cluster"
PROGRAMS: Final = FOLDER / "bin"
IMAGES: Final = FOLDER / "img"

PACKAGES: Final = {
    "buildah": "buildah",
    "skopeo": "skopeo",
    "mmdebstrap": "mmdebstrap",
    "containerd": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "socat": "socat",
    "ethtool": "ethtool",
    "catatonit": "catatonit",
    "nsenter": "util-linux",
    "ip": "iproute2",
    "sysctl": "procps",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
"""Programs and the Debian packages that have them; none of them starts a service where there is no init system."""
GO: Final = (1, 24)
KUBERNETES: Final = "1.34.1"
COMMANDS: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")

BASE: Final = "docker.io/library/python:3.11-slim-bookworm"
IMAGE: Final = "docker.io/library/plscp"
VERSION: Final[str] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
NEXT: Final = f"{VERSION}-next"
"""The tag of an image with the same program, to upgrade to."""
PAUSE: Final = "localhost/pause:1"
CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"


SLOW: Final = {"kube": ": eight minutes and 3 GB where nothing of it is in the cache"}


class Missing(Exception):
    """This machine cannot run a cluster: why, in one line."""


def say(line: str) -> None:
    """A line for whoever waits."""
    print(f"cluster: {line}", file=sys.stderr, flush=True)


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a program to its end; its output, or an error that shows what it said."""
    environment = os.environ | (env or {})
    ended = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        words = " ".join(str(part) for part in command)
        said = "\n".join((ended.stdout + ended.stderr).strip().splitlines()[-40:])
        raise RuntimeError(f"{words[:300]}: exit status {ended.returncode}\n{said}")
    return ended.stdout


def prepare() -> None:
    """Bring all of it; seconds where nothing has changed, about ten minutes from nothing.

    Raises:
        Missing: not on this machine.
    """
    reason = why_not()
    if reason:
        raise Missing(reason)
    for folder in (PROGRAMS, IMAGES):
        folder.mkdir(parents=True, exist_ok=True)
    packages()
    command_line()
    from_go("kube", COMMANDS, _version_flags())
    from_go("coredns", (), "-s -w")
    base_image()
    pause_image()
    project_image()


def why_not() -> str:
    """Why this machine cannot run a cluster, or nothing."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or not shutil.which("apt-get"):
        return "a cluster of one's own needs Debian on x86-64"
    if os.geteuid():
        return "a cluster of one's own needs root: network namespaces, containers"
    said = run("go", "version", env={"GOTOOLCHAIN": "local"}) if shutil.which("go") else ""
    found = re.search(r"go(\d+)\.(\d+)", said)
    if found is None or tuple(map(int, found.groups())) < GO:
        return f"Go {GO[0]}.{GO[1]} or newer is missing: Kubernetes is built from its sources"
    return ""


def packages() -> None:
    """Debian packages that are missing."""
    wanted = sorted({package for program, package in PACKAGES.items() if not shutil.which(program)})
    if wanted:
        say(f"installing {' '.join(wanted)}")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "update", "-qq", env=quiet)
        run("apt-get", "install", "-qq", "-y", "--no-install-recommends", *wanted, env=quiet)


def _kept(place: Path, recipe: str, make: Callable[[Path], None]) -> None:
    """Make what stands at a place, unless it was made by this very recipe.

    Args:
        make: writes it to the path that it is given.
    """
    mark = place.with_name(f"{place.name}.recipe")
    digest = hashlib.sha256(recipe.encode()).hexdigest()
    if place.exists() and mark.is_file() and mark.read_text("ascii") == digest:
        return
    say(f"making {place.name}{SLOW.get(place.name, '')}")
    part = place.with_name(f"{place.name}.part")
    part.unlink(missing_ok=True)
    make(part)
    part.replace(place)
    mark.write_text(digest, "ascii")


def command_line() -> None:
    """Helm and kubectl, as the tests of the chart fetch them."""
    place = programs()
    for name in ("helm", "kubectl"):
        _link(PROGRAMS / name, place / name)


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink() or link.readlink() != target:
        link.unlink(missing_ok=True)
        link.symlink_to(target)


def _version_flags() -> str:
    major, minor, _ = KUBERNETES.split(".")
    module = "k8s.io/component-base/version"
    said = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(("-s -w", *(f"-X {module}.{name}={value}" for name, value in said.items())))


def from_go(module: str, names: tuple[str, ...], flags: str) -> None:
    """A binary from a module of ours whose go.sum says what every source must be.

    Args:
        names: further names of the binary.
    """
    sources = HERE / "go" / module

    def build(place: Path) -> None:
        env = {
            "GOMODCACHE": str(FOLDER / "gomod"),
            "GOCACHE": str(FOLDER / "gocache"),
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
            "GOFLAGS": "-mod=readonly",
        }
        command = ("nice", "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", place, ".")
        run(*command, cwd=sources, env=env)

    recipe = flags + "".join(file.read_text("utf-8") for file in sorted(sources.iterdir()))
    _kept(PROGRAMS / module, recipe, build)
    for name in names:
        _link(PROGRAMS / name, Path(module))


def _storage() -> dict[str, str]:
    """The environment of programs that keep images: in a folder of ours."""
    settings = FOLDER / "storage.conf"
    settings.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{FOLDER}/storage"\nrunroot = "{FOLDER}/storage-run"\n', "utf-8"
    )
    return {"CONTAINERS_STORAGE_CONF": str(settings), "BUILDAH_ISOLATION": "chroot"}


def _from_scratch(name: str, source: str | Path, target: str, *settings: str) -> None:
    """An image of one file, or of the files in an archive."""
    env = _storage()
    container = run("buildah", "from", "scratch", env=env).strip()
    run("buildah", "add", "-q", container, source, target, env=env)
    run("buildah", "config", *settings, container, env=env)
    run("buildah", "commit", "-q", "--rm", container, name, env=env)


def _exported(name: str, place: Path) -> None:
    """An image as the archive that containerd imports."""
    run("skopeo", "copy", "-q", f"containers-storage:{name}", f"docker-archive:{place}:{name}", env=_storage())


def base_image() -> None:
    """Debian with the Python that the published image of that name has: there is no registry to fetch it from."""
    wanted = (
        "python3-minimal",
        "python3.11-minimal",
        "libpython3.11-stdlib",
        "python3-venv",
        "python3-pip-whl",
        "ca-certificates",
        "tzdata",
        "libexpat1",
    )
    left_out = ("man", "doc", "locale")
    links = "; ".join(f'ln -s /usr/bin/python3.11 "$1"/usr/local/bin/{name}' for name in ("python", "python3"))
    command = (
        "mmdebstrap",
        "--mode=root",
        "--variant=minbase",
        f"--include={','.join(wanted)}",
        '--aptopt=Acquire::Languages "none"',
        *(f"--dpkgopt=path-exclude=/usr/share/{each}/*" for each in left_out),
        f'--customize-hook={links}; rm -f "$1"/usr/lib/python3.11/EXTERNALLY-MANAGED',
        '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin',
        "bookworm",
    )
    apt = Path("/etc/apt")
    mirrors = next(
        str(file) for file in (apt / "sources.list.d" / "debian.sources", apt / "sources.list") if file.is_file()
    )
    place = IMAGES / "base.tar"
    _kept(place, " ".join(command), lambda part: _moved(command, mirrors, part))
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    mark = FOLDER / "storage" / "base.recipe"
    digest = (IMAGES / "base.tar.recipe").read_text("ascii")
    if not mark.is_file() or mark.read_text("ascii") != digest:
        _from_scratch(BASE, place, "/", "--cmd", "/bin/bash", "--env", path)
        mark.write_text(digest, "ascii")


def _moved(command: tuple[str, ...], mirrors: str, part: Path) -> None:
    """The archive at a path that does not say what it is: mmdebstrap goes by the name's end."""
    archive = part.with_suffix(".tmp.tar")
    run("nice", *command, archive, mirrors)
    archive.replace(part)


def pause_image() -> None:
    """What holds a pod's namespaces: an init that waits."""

    def make(place: Path) -> None:
        entry = ("--entrypoint", '["/pause","-P"]', "--cmd", "", "--user", "65535:65535")
        _from_scratch(PAUSE, "/usr/bin/catatonit", "/pause", *entry)
        _exported(PAUSE, place)

    _kept(IMAGES / "pause.tar", PAUSE, make)


def project_image() -> None:
    """The image of this checkout under two tags, `VERSION` and `NEXT`; layers that did not change are kept."""
    for version in (VERSION, NEXT):
        name = f"{IMAGE}:{version}"
        command = (
            *(
                "nice",
                "buildah",
                "bud",
                "-q",
                "--isolation",
                "chroot",
                "--pull-never",
                "--layers",
                "--format",
                "docker",
            ),
            # only while it is built: whoever fetches through a proxy needs the machine's own certificates
            *("-v", f"{CERTIFICATES}:{CERTIFICATES}:ro"),
            *("--build-arg", f"VERSION={version}", "-f", "deploy/Dockerfile", "-t", name, "."),
        )
        identity = run(*command, cwd=ROOT, env=_storage()).split()[-1]
        _kept(archive(version), identity, lambda place, name=name: _exported(name, place))  # type: ignore[misc]


def archive(version: str) -> Path:
    """Where the image with a tag lies."""
    return IMAGES / f"plscp-{version}.tar"


def configuration(version: str) -> dict[str, Any]:
    """What the image with a tag says of itself: Labels, User, Healthcheck and so on."""
    said = json.loads(run("buildah", "inspect", "--type", "image", f"{IMAGE}:{version}", env=_storage()))
    found: dict[str, Any] = said["Docker"]["config"]
    return found


def purge() -> None:
    """Remove all that was kept; the archives of Go modules cannot be written to, so that they are made so first."""
    for folder, _, _ in os.walk(FOLDER / "gomod"):
        Path(folder).chmod(0o755)
    shutil.rmtree(FOLDER, ignore_errors=True)
