"""Apicurio, a real schema registry, takes what `plscp schema register` brings."""

import copy
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import httpx
import pytest

from plscp.cli import main
from plscp.local import fetch
from plscp.records.schemas import schema, text
from plscp.records.values import ADAPTERS
from tests.serving import until

VERSION, DIGEST = "2.6.13.Final", "3cda1b34aa020fb4ac4dd6a66018d757e81e437f97e20a1f92d366b70091c6ba"
STUDY = "org.plscp.study.opened.v1"


def program() -> Path:
    """Its archive, 142 MB, fetched once; the test is skipped, with the reason, where it cannot be had."""
    kept = fetch.cache_folder() / f"apicurio-registry-app-{VERSION}-all.tar.gz"
    if not kept.is_file():
        maven = import_module("jgo.maven")
        try:
            project = maven.MavenContext(repo_cache=kept.parent / "apicurio", timeout=fetch.TIMEOUT).project(
                "io.apicurio", "apicurio-registry-app"
            )
            Path(project.at_version(VERSION).artifact("all", "tar.gz").resolve()).replace(kept)
        except Exception as error:
            pytest.skip(f"Apicurio could not be fetched: {error}")
    assert sha256(kept.read_bytes()).hexdigest() == DIGEST
    return kept


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """An empty one, in memory, with a client of its Confluent API."""
    folder = tmp_path_factory.mktemp("apicurio")
    with tarfile.open(program()) as archive:
        archive.extractall(folder, filter="data")
    options = ["-Dquarkus.http.port=0", "-Dquarkus.http.host=127.0.0.1", "-XX:TieredStopAtLevel=1"]
    command = [str(fetch.java()), *options, "-jar", f"apicurio-registry-app-{VERSION}-runner.jar"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:

        def listening() -> re.Match[str] | None:
            said = (folder / "log").read_text("utf-8", "replace")
            assert process.poll() is None, said[-2000:]
            return re.search(r"Listening on: (http://[\d.]+:\d+)", said)

        address = until(listening, "Apicurio", 300)[1]
        with httpx.Client(base_url=f"{address}/apis/ccompat/v7", timeout=300, trust_env=False) as client:
            yield client
    finally:
        process.kill()
        process.wait()


def test_every_type_is_registered_once(registry: httpx.Client, capsys: pytest.CaptureFixture[str]) -> None:
    """As a subject each, which takes a version with one more member, and refuses one with another type."""
    ask = ("schema", "register", "--registry", str(registry.base_url), "--json")
    for outcome in ("new subject", "unchanged"):
        assert main(ask) == 0
        done = json.loads(capsys.readouterr().out)
        assert {each["subject"]: (each["outcome"], each["version"]) for each in done} == dict.fromkeys(
            ADAPTERS, (outcome, 1)
        )
    assert sorted(registry.get("/subjects").json()) == sorted(ADAPTERS)
    for kind in ADAPTERS:
        assert registry.get(f"/config/{kind}").json()["compatibilityLevel"] == "FORWARD_TRANSITIVE"
        there = registry.get(f"/subjects/{kind}/versions/latest").json()
        assert json.loads(there["schema"]) == {n: v for n, v in schema(kind, draft_07=True).items() if n != "$id"}
    grown = json.loads(registry.get(f"/subjects/{STUDY}/versions/latest").json()["schema"])
    grown["definitions"]["StudyRecord"]["properties"]["ward"] = {"type": "string"}
    broken = copy.deepcopy(grown)
    broken["definitions"]["StudyRecord"]["properties"]["position"] = {"type": "string"}
    for made, status in ((broken, 409), (grown, 200)):
        body = {"schemaType": "JSON", "schema": text(made)}
        assert registry.post(f"/subjects/{STUDY}/versions", json=body).status_code == status
