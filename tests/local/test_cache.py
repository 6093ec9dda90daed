"""The cache folder and its lock."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plscp.errors import CommandError
from plscp.files import LockFile
from plscp.local.fetch import cache_folder


def environments(folder: Path) -> list[tuple[dict[str, str], Path]]:
    return [
        ({"XDG_CACHE_HOME": str(folder / "x"), "HOME": str(folder / "h")}, folder / "x" / "plscp"),
        ({"HOME": str(folder / "h")}, folder / "h" / ".cache" / "plscp"),
        ({}, folder / ".cache"),
        ({"XDG_CACHE_HOME": str(folder / "file"), "HOME": str(folder / "file")}, folder / ".cache"),
    ]


@pytest.mark.parametrize("row", range(4))
def test_the_first_folder_that_can_be_written_is_taken(
    row: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XDG_CACHE_HOME, then the home folder, then the current one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    environ, expected = environments(tmp_path)[row]
    assert cache_folder(environ) == expected
    assert expected.is_dir()


def test_no_folder_at_all_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where nothing can be kept is told so."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".cache").write_text("in the way")
    with pytest.raises(CommandError, match="no folder to keep fetched files in") as caught:
        cache_folder({})
    assert "\n" not in str(caught.value)


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """Who tries meanwhile is told that it is held and by whom; who waits goes on when the holder is killed."""
    script = (
        "import sys; from pathlib import Path; from plscp.files import LockFile\n"
        "with LockFile(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "lock")]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        lock = LockFile(tmp_path / "lock")
        assert not lock.take()
        assert lock.holder == str(holder.pid)
        holder.kill()  # the only way on is the holder's end
        with lock:
            assert holder.wait(60) < 0
            assert lock.holder == str(os.getpid())
