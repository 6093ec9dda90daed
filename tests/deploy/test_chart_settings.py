"""`settings`: typed by the model, written as TOML that plscp takes, and which change restarts the pod."""

import copy
import hashlib
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from plscp.config import Settings, load, schema, starter
from tests import tls
from tests.deploy.helm import CHART, Helm, Refused
from tests.deploy.test_chart import FORMS

SECRETS = "/etc/plscp/secrets"


def as_in_the_pod(toml: str, folder: Path) -> Path:
    """The settings file with its Secrets and its volume below a folder of this machine."""
    tls.write(folder, client_ca="hospital")
    content = {
        "tls.crt": (folder / "server.pem").read_bytes(),
        "tls.key": (folder / "server.key").read_bytes(),
        "ca.crt": (folder / "devices.pem").read_bytes(),
        "user.crt": (folder / "server.pem").read_bytes(),
        "user.key": (folder / "server.key").read_bytes(),
        "current.toml": b"",
    }
    for path in re.findall(rf'"{SECRETS}/([^"]+)"', toml):
        file = folder / "secrets" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.get(file.name, b"secret\n"))
    (written := folder / "plscp.toml").write_text(
        toml.replace(SECRETS, f"{folder}/secrets").replace("/var/lib/plscp/", f"{folder}/data/"), "utf-8"
    )
    return written


@pytest.mark.parametrize("values", FORMS, ids=lambda path: path.name)
def test_the_settings_of_each_form_have_no_fault(helm: Helm, values: Path, tmp_path: Path) -> None:
    """`plscp config check` takes the file in the ConfigMap, with the files that the Secrets mount."""
    file = as_in_the_pod(helm.template(files=[values]).settings, tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "plscp", "config", "check", "--config", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{file}: no fault\n"), done.stderr


def test_smallest_values(helm: Helm) -> None:
    """Plain DICOM on every address of the pod, the API on loopback, probes of their own; unknown devices are refused."""
    assert tomllib.loads(helm.template({"tests": {"enabled": False}}).settings) == {
        "dicom": {"ae_title": "PLSCP", "drain_delay": "PT5S", "host": "0.0.0.0", "port": 11112},
        "http": {"host": "127.0.0.1", "port": 8080, "probes": "0.0.0.0:8081"},
        "store": {"url": "sqlite:////var/lib/plscp/plscp.db"},
    }
    assert Settings().dicom.unknown_devices == "refuse"


def test_what_is_given_goes_before_what_follows(helm: Helm, tmp_path: Path) -> None:
    """Numbers stay whole numbers, false and 0 are kept, and a setting of the values is never replaced."""
    values = {
        "dicom": {"host": "::", "drain_delay": "PT0S", "max_data_set": 1099511627776, "futile_share": 0.001},
        "http": {"probes": "0.0.0.0:9999"},
        "store": {"url": "sqlite:////var/lib/plscp/other.db"},
        "matching": {"turnover_decides": False},
        "devices": {"HELMTEST": {"validation": "strict", "coerce_by_location": False}},
    }
    file = as_in_the_pod(helm.template({"settings": values}).settings, tmp_path)
    found = load(file, {})
    assert (found.dicom.host, found.dicom.max_data_set, found.dicom.futile_share) == ("::", 1 << 40, 0.001)
    assert found.http.probes == "0.0.0.0:9999"
    assert found.store.url == f"sqlite:///{tmp_path}/data/other.db"
    assert "turnover_decides = false" in file.read_text()


def test_strimzi_users(helm: Helm) -> None:
    """SCRAM or TLS, with or without the cluster's CA: what the broker is told follows."""
    kafka = {"bootstrap_servers": ["k:9093"]}

    def told(user: dict[str, Any], *, ca: bool) -> dict[str, Any]:
        given = {"user": {"existingSecret": "lab"} | user, "clusterCa": {"existingSecret": "ca" if ca else ""}}
        table: dict[str, Any] = tomllib.loads(helm.template({"settings": {"kafka": kafka}, "kafka": given}).settings)
        return {name: value for name, value in table["kafka"].items() if name not in kafka}

    scram = {
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "lab",
        "sasl_plain_password_file": f"{SECRETS}/kafka-user/password",
    }
    assert told({}, ca=False) == {"security_protocol": "SASL_PLAINTEXT", **scram}
    assert told({"name": "other"}, ca=True) == {
        "security_protocol": "SASL_SSL",
        "ssl_cafile": f"{SECRETS}/kafka-ca/ca.crt",
        **scram,
        "sasl_plain_username": "other",
    }
    assert told({"type": "tls"}, ca=True) == {
        "security_protocol": "SSL",
        "ssl_cafile": f"{SECRETS}/kafka-ca/ca.crt",
        "ssl_certfile": f"{SECRETS}/kafka-user/user.crt",
        "ssl_keyfile": f"{SECRETS}/kafka-user/user.key",
    }


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)


@given(st.lists(TEXT.filter(str.strip), min_size=1, max_size=20), TEXT.filter(bool), st.integers(1, 2**53))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_reads_back(helm: Helm, names: list[str], table: str, number: int) -> None:
    """Whatever a name of a place holds, as a value or as a table's name: the TOML reads back as the values have it."""
    given_values = {
        "locations": {table: {"names": names}},
        "operators": {"policy": "list", "allowed": [{"value": "A", "scheme": "L", "locations": names}]},
        "store": {"disk_watermark": number},
    }
    found = tomllib.loads(helm.template({"settings": given_values, "tests": {"enabled": False}}).settings)
    assert {name: found[name] for name in ("locations", "operators")} == {
        name: given_values[name] for name in ("locations", "operators")
    }
    assert found["store"]["disk_watermark"] == number


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"imgae": {}}, "at '': additional properties 'imgae' not allowed"),
    ({"image": {"tga": "1"}}, "at '/image': additional properties 'tga' not allowed"),
    ({"image": {"digest": "sha256:1"}}, "at '/image/digest': 'sha256:1' does not match"),
    ({"store": {"mode": "postgresql"}}, "at '/store/mode': value must be 'sqlite'"),
    ({"service": {"dicom": {"type": "Ingress"}}}, "at '/service/dicom/type': value must be one of"),
    ({"service": {"dicom": {"ports": {"dicom": 0}}}}, "at '/service/dicom/ports/dicom': minimum: got 0, want 1"),
    ({"service": {"dicom": {"loadBalancerSourceRanges": "10.0.0.0/8"}}}, "got string, want array"),
    ({"persistence": {"size": "20 GB"}}, "at '/persistence/size': '20 GB' does not match"),
    ({"persistence": {"accessModes": ["ReadWriteMany"]}}, "at '/persistence/accessModes/0': value must be one of"),
    ({"replicas": 2}, "additional properties 'replicas' not allowed"),
    ({"tests": {"aeTitle": "lower case"}}, "at '/tests/aeTitle'"),
    ({"settings": {"dicmo": {}}}, "at '/settings': additional properties 'dicmo' not allowed"),
    ({"settings": {"dicom": {"prot": 1}}}, "at '/settings/dicom': additional properties 'prot' not allowed"),
    ({"settings": {"dicom": {"port": "11112"}}}, "at '/settings/dicom/port': got string, want integer"),
    ({"settings": {"dicom": {"port": 0}}}, "at '/settings/dicom/port': minimum: got 0, want 1"),
    ({"settings": {"dicom": {"ae_title": "a title that is too long"}}}, "at '/settings/dicom/ae_title'"),
    ({"settings": {"dicom": {"unknown_devices": "deny"}}}, "value must be one of 'refuse', 'accept'"),
    ({"settings": {"dicom": {"drain_grace": "30s"}}}, "at '/settings/dicom/drain_grace': '30s' does not match"),
    ({"settings": {"devices": {"A TITLE THAT IS TOO LONG": {}}}}, "at '/settings/devices': additional properties"),
    ({"settings": {"devices": {"HEMO1": {"locaiton": "LAB1"}}}}, "at '/settings/devices/HEMO1': additional"),
    ({"settings": {"devices": {"HEMO1": {"location": 1}}}}, "/HEMO1/location': got number, want string or array"),
    ({"settings": {"devices": {"HEMO1": {"passcode": "x"}}}}, "'passcode' not allowed"),
    ({"settings": {"kafka": {"bootstrap_servers": ["k:1"], "sasl_plain_password": "x"}}}, "'sasl_plain_password' not"),
    ({"settings": {"kafka": {"topic_prefix": "x"}}}, "at '/settings/kafka': missing property 'bootstrap_servers'"),
    ({"settings": {"operators": {"allowed": [{"value": "N1"}]}}}, "/operators/allowed/0': missing property 'scheme'"),
    ({"kafka": {"user": {"existingSecret": "u"}}}, "settings.kafka.bootstrap_servers: missing"),
    ({"service": {"http": {"enabled": True}}}, "httpTokens.existingSecret: missing: service.http.enabled offers"),
    ({"service": {"dicom": {"plain": False}}}, "service.dicom.plain: false needs TLS: dicomTls.existingSecret is"),
    ({"settings": {"dicom": {"tls": {"port": 2762}}}}, "dicomTls.existingSecret: missing: settings.dicom.tls has no"),
    ({"settings": {"feeds": {"hl7": {}}}}, "settings.feeds.hl7.senders: missing"),
    ({"settings": {"feeds": {"hl7": {"senders": ["10.1.5.7"], "tls": {"port": 2576}}}}}, "hl7Tls.existingSecret: missing: settings.feeds.hl7.tls"),
    ({"settings": {"feeds": {"hl7": {"senders": ["10.1.5.7"]}}}, "service": {"hl7": {"plain": False}}}, "service.hl7.plain: false needs TLS: hl7Tls"),
    ({"hl7Tls": {"existingSecret": "tls"}}, "hl7Tls.existingSecret: given, but there is no settings.feeds.hl7"),
    ({"settings": {"store": {"url": "sqlite:////data/x.db"}}}, "settings.store.url: sqlite:////data/x.db is not on"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "said"), REFUSED, ids=lambda value: value[:60] if isinstance(value, str) else "")
def test_wrong_values_are_refused_with_their_place(helm: Helm, values: dict[str, Any], said: str) -> None:
    """Nothing is rendered, and the message names the value."""
    with pytest.raises(Refused, match=re.escape(said)):
        helm.template(values)


def test_the_api_without_tokens_takes_a_word(helm: Helm) -> None:
    """Offered to the cluster without tokens only where a setting says so in so many words."""
    values = {"service": {"http": {"enabled": True}}, "settings": {"http": {"authentication": "none"}}}
    assert tomllib.loads(helm.template(values).settings)["http"]["host"] == "0.0.0.0"


def leaves(part: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every setting of the schema: its path, and its schema; `X1` stands for names that a hospital makes up."""
    if "properties" in part:
        for name, each in part["properties"].items():
            yield from leaves(each, (*path, name))
    elif isinstance(part.get("additionalProperties"), dict):
        yield from leaves(part["additionalProperties"], (*path, "X1"))
    elif "patternProperties" in part:
        for each in part["patternProperties"].values():
            yield from leaves(each, (*path, "X1"))
    else:
        yield path, part


CHART_SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))
LEAVES = dict(leaves(CHART_SCHEMA["properties"]["settings"]))
AT_ONCE = ("devices", "locations", "operators", "issuers", "matching")
FILES = {
    ("dicom", "tls"): ("certificate", "private_key", "client_ca"),
    ("http", "tls"): ("certificate", "private_key"),
    ("feeds", "hl7", "tls"): ("certificate", "private_key", "client_ca"),
    ("http",): ("token_file", "read_token_file", "operate_token_file", "feed_token_file"),
}
HL7 = ("senders", "character_set", "timezone", "silent_after")
AT_ONCE_PATHS = (
    {("log", "level"), ("dicom", "unknown_devices"), ("dicom", "trusted_proxies")}
    | {("feeds", "hl7", name) for name in HL7}
    | {(*table, name) for table, names in FILES.items() for name in names}
)
VALID: dict[tuple[str, ...], Any] = {
    ("store", "url"): "sqlite:////var/lib/plscp/x.db",
    ("kafka", "bootstrap_servers"): ["k:9092", "l:9092"],
    ("http", "probes"): "0.0.0.0:9000",
    ("operators", "allowed"): [{"value": "N1", "scheme": "L"}],
}


def another(path: tuple[str, ...]) -> Any:
    """A value of a setting, other than its default and than what the chart fills in."""
    part = LEAVES[path]
    if path in VALID:
        return VALID[path]
    if "enum" in part:
        return next(each for each in part["enum"] if each != part.get("default"))
    kind = part["type"] if isinstance(part["type"], str) else part["type"][0]
    if kind == "boolean":
        return not part.get("default", False)
    if kind in {"integer", "number"}:
        return part["minimum"] if part.get("default") != part["minimum"] else part["minimum"] + 1
    if kind == "array":
        return part["items"].get("enum", ["1"])[:1]
    return part.get("examples", ["1.2"])[0].replace("PT30M", "PT31M")


def all_settings() -> dict[str, Any]:
    """Every setting there is, with a value that is taken."""
    tree: dict[str, Any] = {}
    for path in LEAVES:
        here = tree
        for name in path[:-1]:
            here = here.setdefault(name, {})
        here[path[-1]] = another(path)
    return tree


def at_once(path: tuple[str, ...]) -> bool:
    """Whether a running server takes the setting over."""
    return path[0] in AT_ONCE or path in AT_ONCE_PATHS


def test_each_setting_restarts_the_pod_or_not(helm: Helm) -> None:
    """Of all settings there are, the annotation that restarts the pod is made from those that a running server does not take over."""
    shown = """
        apiVersion: v1
        kind: ConfigMap
        metadata: {name: restart}
        data: {settings: '{{ include "plscp.restartSettings" . }}'}
    """
    values = {"settings": all_settings(), "extraObjects": [textwrap.dedent(shown)]}
    hashed = helm.template(values).one("ConfigMap", "restart")["data"]["settings"]
    found = {path for path, _ in members(json.loads(hashed))}
    assert found == {path for path in LEAVES if not at_once(path)}
    assert len(found) > 50
    # Twice the same text has the same checksum, another one has another.
    assert helm.template(values).checksum == hashlib.sha256(hashed.encode()).hexdigest()


def members(tree: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each value that is no table, with its path."""
    for name, each in tree.items():
        if isinstance(each, dict):
            yield from members(each, (*path, name))
        else:
            yield (*path, name), each


@pytest.mark.parametrize(
    ("changed", "restarts"),
    [
        ({"devices": {"NEW1": {"location": "LAB1"}}, "locations": {"LAB1": {}}, "log": {"level": "debug"}}, False),
        ({"dicom": {"unknown_devices": "accept", "trusted_proxies": "10.1.1.1"}, "issuers": {"H": "h"}}, False),
        ({"matching": {"close_grace": "PT1H"}, "operators": {"policy": "any"}}, False),
        ({"dicom": {"max_associations": 7}}, True),
        ({"log": {"format": "json"}}, True),
        ({"kafka": {"bootstrap_servers": ["k:9092"]}}, True),
    ],
)
def test_a_new_device_needs_no_restart(helm: Helm, changed: dict[str, Any], restarts: bool) -> None:
    """What applies at once changes the mounted file and leaves the pod as it is; anything else changes the pod's annotation."""
    before, after = helm.template(), helm.template({"settings": changed})
    assert after.settings != before.settings
    assert (after.checksum != before.checksum) is restarts
    assert (after.pod != before.pod) is restarts


def test_every_setting_but_secrets_can_be_given() -> None:
    """The schema of the values has all settings of the model; those missing are the secrets, which a ConfigMap would show."""
    missing = dict(leaves(schema())).keys() - LEAVES.keys()
    assert {path[-1] for path in missing} == set(Settings.secrets)
    assert len(LEAVES) > 100


def test_nothing_unknown_is_taken_anywhere() -> None:
    """Every table of the values is closed but those that Kubernetes or a hospital fills, and `global`, which a parent chart does."""
    taken: set[str] = set()

    def walk(part: dict[str, Any], path: str) -> None:
        if part.get("type") == "object" and part.get("additionalProperties", True) is True:
            taken.add(path)
        for name, each in part.get("properties", {}).items():
            walk(each, f"{path}.{name}".strip("."))

    walk(CHART_SCHEMA, "")
    assert taken == {
        "global", "podSecurityContext", "securityContext", "affinity", "persistence.selector", "tests.resources",
    }  # fmt: skip


def test_the_schema_of_settings_judges_as_the_model_does() -> None:
    """`plscp config schema`: what the model takes is valid; a wrong name, type or form is not; every setting is described."""
    Draft202012Validator.check_schema(whole := schema())
    judge = Draft202012Validator(whole)
    given_settings = tomllib.loads(starter())
    assert not list(judge.iter_errors(given_settings))
    for path, wrong in ((("dicom", "port"), "x"), (("dicom", "prot"), 1), (("matching", "close_grace"), "30 min")):
        bad = copy.deepcopy(given_settings)
        bad.setdefault(path[0], {})[path[1]] = wrong
        assert list(judge.iter_errors(bad)), path
    assert all(
        each.get("description") for path, each in leaves(whole) if path[0] != "issuers" and "schemes" not in path
    )
