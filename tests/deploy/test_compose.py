"""deploy/compose.yaml: valid for the schema of compose files, restricted, and what it mounts is there and is taken."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from plscp.config import load
from tests.deploy.helm import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
MARGIN_SECONDS = 15


def judged(file: Path) -> subprocess.CompletedProcess[str]:
    """What the schema of compose files says of a file."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_is_a_compose_file() -> None:
    """The schema of the Compose Specification has nothing against it."""
    done = judged(DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout


def test_the_schema_refuses(tmp_path: Path) -> None:
    """A service with an unknown name is refused: the judge looks."""
    wrong = COMPOSE | {"services": {"plscp": SERVICES["plscp"] | {"prots": ["1:1"]}}}
    (file := tmp_path / "compose.yaml").write_text(yaml.safe_dump(wrong))
    done = judged(file)
    assert done.returncode == 1
    assert "prots" in done.stdout


@pytest.mark.parametrize("name", SERVICES)
def test_restricted(name: str) -> None:
    """No capabilities, no new privileges, a health check, a limit; a root that cannot be written but for Kafka's; nothing privileged."""
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert service["mem_limit"]
    assert service.get("read_only", False) is (name != "kafka")
    assert not {"privileged", "network_mode", "pid", "devices", "cap_add"} & service.keys()
    assert service["image"].rpartition(":")[2] != service["image"]


def test_only_dicom_is_offered_to_the_network() -> None:
    """Every other port is on the machine's loopback."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["11112:11112"]


def test_secrets_come_from_files() -> None:
    """No secret stands in the environment, and the folder for them keeps them out of the repository."""
    assert all(list(secret) == ["file"] for secret in COMPOSE["secrets"].values())
    assert {name for service in SERVICES.values() for name in service.get("secrets", [])} == COMPOSE["secrets"].keys()
    for service in SERVICES.values():
        for name in service.get("environment", {}):
            assert name.endswith("__FILE") or not any(word in name for word in ("PASSWORD", "SECRET", "TOKEN"))
    assert (DEPLOY / "compose" / "secrets" / ".gitignore").read_text() == "*\n!.gitignore\n"


def test_what_is_mounted_is_there() -> None:
    """Each folder and file of the repository that a service mounts exists, and is mounted read-only."""
    binds = [v for service in SERVICES.values() for v in service.get("volumes", []) if v["type"] == "bind"]
    assert len(binds) == 5
    for bind in binds:
        assert (DEPLOY / bind["source"]).exists(), bind["source"]
        assert bind["read_only"] is True


def test_its_settings_have_no_fault() -> None:
    """plscp takes the settings: the store on the volume, Kafka by its service, the API with a token, probes of their own."""
    found = load(DEPLOY / "compose" / "plscp" / "plscp.toml", {})
    assert found.store.url == "sqlite:////var/lib/plscp/plscp.db"
    assert found.kafka is not None
    assert found.kafka.bootstrap_servers == ["kafka:9092"]
    assert found.http.token_file == "/run/secrets/api-token"
    assert found.http.probes == "0.0.0.0:8081"
    assert found.dicom.unknown_devices == "refuse"
    dicom = found.dicom
    drain = dicom.drain_delay + dicom.drain_grace + dicom.answer_deadline
    assert SERVICES["plscp"]["stop_grace_period"] == f"{drain.seconds + MARGIN_SECONDS}s"


def test_prometheus_and_grafana_read_what_the_repository_has() -> None:
    """Prometheus reads the probes' port as job `plscp` with the repository's rules; Grafana has it as data source."""
    prometheus = yaml.safe_load((DEPLOY / "compose" / "prometheus.yaml").read_text())
    [job] = prometheus["scrape_configs"]
    assert (job["job_name"], job["static_configs"][0]["targets"]) == ("plscp", ["plscp:8081"])
    targets = {v["target"] for v in SERVICES["prometheus"]["volumes"]}
    assert set(prometheus["rule_files"]) <= targets
    [source] = yaml.safe_load((DEPLOY / "compose" / "grafana" / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((DEPLOY / "compose" / "grafana" / "dashboards" / "plscp.yaml").read_text())["providers"]
    assert {v["target"] for v in SERVICES["grafana"]["volumes"]} >= {f"{provider['options']['path']}/plscp.json"}
