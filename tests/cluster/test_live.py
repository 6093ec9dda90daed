"""What may change without a restart is changed with `helm upgrade` or in a Secret while a device has an association open."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import pytest

from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from tests import events, tls
from tests.cluster.cluster import Cluster
from tests.cluster.conftest import installing
from tests.cluster.release import Release, Values
from tests.rawscu import RawScu, Rejected, user_identity
from tests.serving import until

STUDY: Final = "1.2.826.0.1.3680043.9.3811.8.4"
ANOTHER: Final = "1.2.826.0.1.3680043.9.3811.8.5"


def registry(*studies: str) -> str:
    """The registry file."""
    table = '[[studies]]\nstudy_instance_uid = "{}"\nstudy_id = "S1"\nstatus = "open"\n'
    patient = 'patient = {{ id = "P{}", issuer = "HOSP" }}\nlocation = "LAB{}"\n'
    return "".join(table.format(uid) + patient.format(number, number) for number, uid in enumerate(studies, 1))


def server_certificate(name: str) -> dict[str, str]:
    """A Secret of the TLS listener."""
    leaf = tls.issued("hospital", "localhost", common_name=name)
    chain = "".join(blob.bytes().decode() for blob in leaf.cert_chain_pems)
    authority = tls.authority("hospital").cert_pem.bytes().decode()
    return {"tls.crt": chain, "tls.key": leaf.private_key_pem.bytes().decode(), "ca.crt": authority}


VALUES: Final[Values] = {
    "dicomTls": {"existingSecret": "server", "clientCa": {"enabled": False}},
    "httpTokens": {"existingSecret": "tokens"},
    "devicePasscodes": {"existingSecret": "passcodes"},
    "registry": {"existingSecret": "registry"},
    "service": {"http": {"enabled": True}},
    "settings": {
        "devices": {"HEMO1": {}, "PUMP1": {"username": "pump"}},
        "locations": {"LAB1": {"names": ["Lab 1"]}},
        "issuers": {"HOSP": ["Hospital"]},
    },
}
SECRETS: Final = {
    "server": server_certificate("first"),
    "tokens": {"token": "the-first-token"},
    "passcodes": {"PUMP1": "the-first-passcode"},
    "registry": {"current.toml": registry(STUDY)},
}


@pytest.fixture(scope="module")
def running(cluster: Cluster) -> Iterator[Release]:
    """One release for the module, with a device that is in the middle of a case: neither may notice anything."""
    with installing(cluster) as install:
        made = install(VALUES, **SECRETS)
        life = made.life()
        with RawScu(*made.address(), calling="HEMO1") as case:
            yield made
            assert note(case) == 0
        assert made.life() == life


def note(scu: RawScu, **given: str) -> int:
    """The status of an event."""
    sent = events.procedural([events.note(events.now())], **{"study": STUDY} | given)
    return scu.request(PROCEDURAL_EVENT_LOGGING, events.encoded(sent)).status


def noted(release: Release, **given: str) -> int:
    """The status of an event on an association of its own."""
    with RawScu(*release.address(), calling="HEMO1") as scu:
        return note(scu, **given)


def administered(release: Release) -> int:
    """The status of an administration by the operator N1001."""
    with RawScu(*release.address(), calling="HEMO1") as scu:
        sent = events.encoded(events.substance(events.now(), patient="P1"))
        return scu.request(SUBSTANCE_ADMINISTRATION_LOGGING, sent).status


def gets_in(release: Release, name: str, **given: Any) -> bool:
    """Whether a device gets an association."""
    with contextlib.suppress(Rejected), RawScu(*release.address(), calling=name, **given):
        return True
    return False


def matches(release: Release, *query: str) -> bool:
    """Whether an entry of now would go to a study."""
    try:
        release.exec("sh", "-c", f"plscp match --token-file /etc/plscp/secrets/http-tokens/token {' '.join(query)}")
    except RuntimeError:
        return False
    return True


def level(release: Release) -> bool:
    """Whether the log has lines for those who look for a defect."""
    noted(release)
    return any(line["level"] == "debug" for line in release.logs())


def changed(release: Release, more: Values) -> int:
    """`helm upgrade`; how many lines the log had before."""
    before = len(release.logs())
    release.upgrade(more)
    return before


def reloaded(release: Release, after: int) -> list[str]:
    """The settings that were said to apply, in the log from a line on."""
    lines = [line for line in release.logs()[after:] if line["event"] == "settings-reloaded"]
    return [path for line in lines for path in line["applied"]]


LIVE: Final[dict[str, tuple[Values, Callable[[Release], bool]]]] = {
    "devices": ({"devices": {"XRAY1": {"location": "LAB1"}}}, lambda at: gets_in(at, "XRAY1")),
    "locations": (
        {"locations": {"LAB1": {"names": ["Lab 1", "Lab One"]}}},
        lambda at: matches(at, "--location", "'Lab One'", "--device", "HEMO1"),
    ),
    "issuers": (
        {"issuers": {"HOSP": ["Hospital", "Clinic"]}},
        lambda at: matches(at, "--patient", "P1", "--issuer", "Clinic"),
    ),
    "matching": ({"matching": {"study_id_mismatch": "refuse"}}, lambda at: noted(at, study_id="S2") == 0xC104),
    "operators": (
        {"operators": {"policy": "list", "allowed": [{"value": "N2", "scheme": "L"}]}},
        lambda at: administered(at) == 0xC10E,
    ),
    "log.level": ({"log": {"level": "debug"}}, level),
    "dicom.trusted_proxies": ({"dicom": {"trusted_proxies": ["192.0.2.7"]}}, lambda _: True),
}
"""What is changed under `settings`, and what must be so afterwards and not before."""


@pytest.mark.parametrize("setting", LIVE)
def test_a_setting_applies_without_a_restart(running: Release, setting: str) -> None:
    """Not before `helm upgrade`, and soon after it, in the same pod, which says that it has taken it over."""
    more, holds = LIVE[setting]
    assert setting == "dicom.trusted_proxies" or not holds(running)
    before = changed(running, {"settings": more})
    until(lambda: any(path.startswith(setting) for path in reloaded(running, before)), "the line in the log", 120)
    until(lambda: holds(running), "its effect")


def test_unknown_devices_are_let_in_and_kept_out_without_a_restart(running: Release) -> None:
    """There and back again."""
    assert not gets_in(running, "NOBODY1")
    running.upgrade({"settings": {"dicom": {"unknown_devices": "accept"}}})
    until(lambda: gets_in(running, "NOBODY1"), "unknown devices to be let in", 120)
    running.upgrade({"settings": {"dicom": {"unknown_devices": "refuse"}}})
    until(lambda: not gets_in(running, "NOBODY1"), "unknown devices to be kept out", 120)


def asked(release: Release, token: str) -> int:
    """The HTTP status with a token."""
    spec = release.service(f"{release.full}-http")
    url = f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}/api/v1/status"
    return httpx.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=60, trust_env=False).status_code


def shown(release: Release) -> str:
    """Who the certificate is that the TLS listener shows."""
    with tls.SecureScu(*release.address("dicom-tls"), calling="HEMO1", tls=tls.client()) as scu:
        certificate = scu.socket.getpeercert()  # type: ignore[attr-defined]
        return str(dict(pair for part in certificate["subject"] for pair in part)["commonName"])


def passes(release: Release, passcode: str) -> bool:
    """Whether the pump gets in with a passcode."""
    return gets_in(release, "PUMP1", identity=user_identity("pump", passcode))


def known(release: Release) -> bool:
    """Whether the second study is there."""
    return matches(release, "--study", ANOTHER)


ROTATED: Final[dict[str, tuple[dict[str, str], Callable[[Release], bool], Callable[[Release], bool]]]] = {
    "tokens": (
        {"token": "the-second-token"},
        lambda at: asked(at, "the-first-token") == 200,
        lambda at: (asked(at, "the-first-token"), asked(at, "the-second-token")) == (401, 200),
    ),
    "server": (server_certificate("second"), lambda at: shown(at) == "first", lambda at: shown(at) == "second"),
    "passcodes": (
        {"PUMP1": "the-second-passcode"},
        lambda at: passes(at, "the-first-passcode"),
        lambda at: passes(at, "the-second-passcode") and not passes(at, "the-first-passcode"),
    ),
    "registry": ({"current.toml": registry(STUDY, ANOTHER)}, lambda at: not known(at), known),
}
"""A Secret's new content, what is so before, and what is so afterwards."""


@pytest.mark.parametrize("secret", ROTATED)
def test_a_secret_applies_without_a_restart(running: Release, secret: str) -> None:
    """Token, certificate, passcode, registry file: changed in the Secret, soon in force in the same pod."""
    content, before, afterwards = ROTATED[secret]
    assert before(running)
    running.secret(secret, content)
    until(lambda: afterwards(running), "its effect", 120)


def test_settings_that_cannot_be_used_change_nothing(running: Release) -> None:
    """What the chart's schema cannot know, the server refuses, says so, and goes on as before."""
    before = changed(running, {"settings": {"devices": {"HEMO1": {"location": "NOWHERE"}}}})

    def said() -> list[dict[str, Any]]:
        return [line for line in running.logs()[before:] if line["event"] == "settings-refused"]

    assert "NOWHERE" in str(until(said, "the line in the log", 120))
    assert noted(running) == 0
    running.upgrade({"settings": {"devices": {"HEMO1": {"location": "LAB1"}}}})
    until(lambda: reloaded(running, before), "usable settings", 120)
