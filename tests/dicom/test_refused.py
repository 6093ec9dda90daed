"""A refused peer: one line, a count, a row."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from plscp.dicom.acceptor import Acceptor
from plscp.dicom.admission import MOST_PEERS, PeerRefusal, RefusedPeers, Required, refusal
from plscp.dicom.association import Association
from plscp.dicom.repeats import BETWEEN_SECONDS
from plscp.dicom.upper_layer import State
from plscp.metrics import Metrics
from tests.dicom.wire import CONTEXTS, SETTINGS, Listener, Transport
from tests.rawscu import RawScu, Rejected, associate_rq
from tests.serving import until

UNKNOWN = PeerRefusal("dicom.unknown_devices", "add it")


class Clock:
    """The time as the test sets it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def test_a_row_for_each_peer_and_cause() -> None:
    """Times, first and last; who was refused last comes first; one cause hides no other of the same rule."""
    peers = RefusedPeers(Clock())
    peers.note("A", "10.0.0.1", UNKNOWN)
    peers.note("B", "10.0.0.1", UNKNOWN)
    peers.note("A", "10.0.0.1", UNKNOWN)
    peers.note("A", "10.0.0.1", PeerRefusal("dicom.tls.client_ca", "client-certificate-expired"))
    peers.note("A", "10.0.0.1", PeerRefusal("dicom.tls.client_ca", "client-certificate-missing"))
    rows = peers.as_list()
    assert [(row["calling_ae"], row["hint"], row["times"]) for row in rows] == [
        ("A", "client-certificate-missing", 1),
        ("A", "client-certificate-expired", 1),
        ("A", "add it", 2),
        ("B", "add it", 1),
    ]
    assert rows[2] == {
        "calling_ae": "A",
        "address": "10.0.0.1",
        "rule": "dicom.unknown_devices",
        "hint": "add it",
        "times": 2,
        "first": "2026-03-01T12:00:01+00:00",
        "last": "2026-03-01T12:00:03+00:00",
    }


def test_invented_titles_push_nobody_else_out() -> None:
    """Beyond a hundred rows the address that has the most loses its oldest: a device that was refused once stays listed."""
    peers = RefusedPeers(Clock())
    peers.note("HEMO1", "10.0.0.1", UNKNOWN)
    for number in range(10 * MOST_PEERS):
        peers.note(f"X{number}", "10.6.6.6", UNKNOWN)
    rows = peers.as_list()
    assert len(rows) == MOST_PEERS
    assert rows[0]["calling_ae"] == f"X{10 * MOST_PEERS - 1}"
    assert rows[-1]["calling_ae"] == "HEMO1"


DEVICES = {"HEMO1": Required(username="u"), "XRAY1": Required()}
REFUSED = [
    # calling, called, a setting -> rule, label of the metric, hint
    (("NOBODY", "PLSCP", {}), "dicom.unknown_devices", "calling-ae-title", "add [devices.NOBODY] to the settings"),
    (("HEMO1", "PLSCP", {}), "devices.username", "user-identity", "devices.HEMO1.username: the device sent no user identity"),
    (("XRAY1", "OTHER", {}), "dicom.ae_title", "called-ae-title", 'the device must call PLSCP, or set dicom.called_ae = "any"'),
    (("XRAY1", "PLSCP", {"max_associations": 1}), "dicom.max_associations", "local-limit", "raise dicom.max_associations (1)"),
    (("XRAY1", "PLSCP", {"max_associations_per_address": 1}), "dicom.max_associations_per_address", "local-limit", "raise dicom.max_associations_per_address (1), or add 10.0.0.1 to dicom.trusted_proxies"),
]  # fmt: skip


@pytest.mark.parametrize(("peer", "rule", "label", "hint"), REFUSED)
def test_a_refused_peer_is_said_counted_and_kept(
    peer: tuple[str, str, dict[str, Any]], rule: str, label: str, hint: str
) -> None:
    """One line at warning for the first, none for the next; each counts; the row tells how often."""
    calling, called, given = peer
    metrics = Metrics()
    settings = replace(SETTINGS, **given)
    acceptor = Acceptor(
        settings,
        lambda _: (0, None),
        counters=metrics,
        admit=lambda caller: refusal(caller, DEVICES, unknown=False),
    )
    with capture_logs() as lines:
        for title, wanted in [("XRAY1", "PLSCP"), *[(calling, called)] * 3]:
            one = Association(acceptor)
            one.connection_made(Transport("10.0.0.1"))
            one.data_received(associate_rq(title, wanted, CONTEXTS))
            if one.state is not State.STA6:
                one.connection_lost(None)
    expected = {
        "event": "peer-refused",
        "log_level": "warning",
        "calling_ae": calling,
        "address": "10.0.0.1",
        "rule": rule,
        "hint": hint,
    }
    if rule == "dicom.ae_title":
        expected["called_ae"] = called
    assert [line for line in lines if line["event"] in {"peer-refused", "association-rejected"}] == [expected]
    [row] = acceptor.refused_peers
    assert row | {"first": "", "last": ""} == {
        "calling_ae": calling,
        "address": "10.0.0.1",
        "rule": rule,
        "hint": hint,
        "times": 3,
        "first": "",
        "last": "",
    }
    assert metrics.refused_peers.child(rule).value == 3
    assert metrics.associations.child("rejected", label).value == 3
    assert f'plscp_refused_peers_total{{rule="{rule}"}} 3.0' in metrics.exposition().decode()


def test_what_ended_is_summed_up() -> None:
    """Also when the device has given up: the listener says a minute later how often it was refused."""
    with capture_logs() as lines, Listener() as listener:
        listener.acceptor.admit = lambda caller: refusal(caller, {}, unknown=False)
        for _ in range(3):
            with pytest.raises(Rejected):
                RawScu("127.0.0.1", listener.port).associate()
        listener.acceptor._repeats._clock = lambda: time.monotonic() + BETWEEN_SECONDS
        until(lambda: [line for line in lines if line.get("more")], "the sum")
    assert [line.get("more") for line in lines if line["event"] == "peer-refused"] == [None, 2]
