"""`plscp backup` and `plscp restore`: what they print, and how they end."""

import json
import os
import pwd
import re
import subprocess
import sys
from pathlib import Path

import pytest

from plscp.store import SqliteStore
from tests.cli.conftest import Run
from tests.ports import silent_port
from tests.store.drafts import request, stored

UUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Settings and a store of two events that nobody serves."""
    (tmp_path / "plscp.toml").write_text('[store]\nurl = "sqlite:///data/s.db"\n')
    store = SqliteStore(tmp_path / "data" / "s.db")
    stored(store, request())
    stored(store, request())
    store.close()
    return tmp_path


def plscp(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """In a process of its own: a backup lowers the priority of its process."""
    command = [sys.executable, "-m", "plscp", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=folder)
    return ended.returncode, ended.stdout, ended.stderr


def test_a_backup_and_its_restoration_are_a_line_each(folder: Path) -> None:
    """For people: what, up to where, how large, with which digest; no bar where nobody watches."""
    status, out, err = plscp(folder, "backup", "b.db")
    assert (status, err) == (0, "")
    line = rf"b\.db: store ({UUID}) up to position 2, \d+ bytes, sha256 [0-9a-f]{{64}}, checked, \d+\.\d s\n"
    found = re.fullmatch(line, out)
    assert found, out
    status, out, err = plscp(folder, "restore", "b.db", "--force")
    assert (status, err) == (0, "")
    first, second = out.splitlines()
    assert re.fullmatch(
        rf"data/s\.db: store {UUID}, restored from store {found[1]} up to position 2, checked, .* s", first
    )
    assert re.fullmatch(r"the store that stood there is .*/s\.db\.replaced-\d{8}T\d{6}Z now", second)


def test_json_for_machines(folder: Path) -> None:
    """One line of JSON each, with the same."""
    status, out, _ = plscp(folder, "backup", "b.db", "--json")
    assert status == 0
    assert out.count("\n") == 1
    made = json.loads(out)
    assert set(made) == {"file", "store", "position", "registry_position", "bytes", "sha256", "seconds"}
    status, out, _ = plscp(folder, "restore", "b.db", "--force", "--json")
    restored = json.loads(out)
    assert (status, restored["restored_from"], restored["position"]) == (0, made["store"], 2)
    assert (restored["beyond"], restored["beyond_unknown"]) == ([], "")


def test_where_kafka_is_away_what_it_holds_is_not_known(folder: Path) -> None:
    """The store is restored all the same, and the line says where the answer will be."""
    assert plscp(folder, "backup", "b.db")[0] == 0
    with silent_port() as port:
        with (folder / "plscp.toml").open("a") as settings:
            settings.write(f'[kafka]\nbootstrap_servers = ["127.0.0.1:{port}"]\n')
        status, out, _ = plscp(folder, "restore", "b.db", "--force")
    assert status == 0
    assert "what Kafka holds beyond the backup is not known (no broker answers at 127.0.0.1:" in out
    assert out.rstrip().endswith("plscp verify names it")


def test_without_a_store_there_is_no_backup(run: Run, tmp_path: Path) -> None:
    """One line, exit status 3, and no file."""
    ran = run("backup", "b.db")
    assert (ran.status, ran.out) == (3, "")
    assert ran.err.startswith("plscp: there is no store at ")
    assert list(tmp_path.iterdir()) == []


def test_what_stands_there_is_not_restored_over(run: Run, folder: Path) -> None:
    """One line that names --force, exit status 1."""
    ran = run("restore", "plscp.toml")
    assert ran.status == 1
    assert "--force moves it aside" in ran.err
    assert run("restore", "plscp.toml", "--force").err.rstrip().endswith("no database at all")
    store = SqliteStore(folder / "data" / "s.db")
    assert store.head() == (2, 0)
    store.close()


def test_root_restores_nothing_into_the_folder_of_another(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its server could not open the store: one line says as whom to do it, and what stands there is as it was."""
    assert run("backup", "b.db").status == 0
    data = folder / "data"
    if os.geteuid() == 0:
        os.chown(data, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 0)
    before = sorted(data.iterdir())
    ran = run("restore", "b.db", "--force")
    name = pwd.getpwuid(data.stat().st_uid).pw_name
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"plscp: data belongs to {name}, ")
    assert f"runuser -u {name} -- plscp restore" in ran.err
    assert sorted(data.iterdir()) == before
