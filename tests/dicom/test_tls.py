"""TLS: who is let in, who is not and what is said of it; and nobody who does not shake hands keeps the others waiting."""

import asyncio
import contextlib
import resource
import socket
import ssl
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pynetdicom import AE
from structlog.testing import capture_logs

from plscp.dicom import sockets
from plscp.dicom.fairness import BURST_SECONDS
from plscp.dicom.handshakes import HANDSHAKES
from plscp.dicom.settings import Deadlines, NetworkCounters
from plscp.dicom.tls import Secured
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, PROCEDURAL_EVENT_LOGGING_INSTANCE
from tests import events
from tests.dicom.wire import CONTEXTS, DATA, Listener, request
from tests.rawscu import SYNTAXES, Aborted, RawScu, associate_rq, p_data
from tests.serving import until
from tests.tls import PAST, SecureScu, bare, certificates, client, device, hello, wrapped, write

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
RQ = associate_rq("HEMO1", "PLSCP", CONTEXTS)


class Counted(NetworkCounters):
    """What the acceptor counted."""

    def __init__(self) -> None:
        self.ends: Counter[tuple[str, str]] = Counter()

    def association(self, outcome: str, reason: str) -> None:
        self.ends[outcome, reason] += 1


@contextlib.contextmanager
def listening(folder: Path, *, client_ca: str = "", **settings: Any) -> Iterator[tuple[Listener, Counted]]:
    """A listener over TLS, with the server's certificate."""
    listener = Listener(certificates=certificates(folder, client_ca=client_ca), **settings)
    listener.acceptor._counters = counted = Counted()
    with listener:
        yield listener, counted


def honest(port: int, tls: ssl.SSLContext | None = None, source: str = "127.0.0.1") -> None:
    """An association over TLS, one request, a release."""
    with SecureScu("127.0.0.1", port, tls=tls, source=(source, 0), timeout=60) as scu:
        assert scu.request(PROCEDURAL_EVENT_LOGGING, DATA).status == 0


def rest_of(one: socket.socket, seconds: float = 60.0) -> bytes:
    """What comes until the peer closes."""
    one.settimeout(seconds)
    found = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while part := one.recv(4096):
            found += part
    return found


# --- who is let in ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [V12, V13])
def test_a_stock_scu_over_tls(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """pynetdicom's SCU with tls_args: associated, answered and released, and the log names the version."""
    ae = AE(ae_title="HEMO1")
    ae.acse_timeout = 60
    ae.add_requested_context(PROCEDURAL_EVENT_LOGGING, SYNTAXES[1])
    with capture_logs() as lines, listening(tmp_path) as (listener, counted):
        scu = ae.associate(
            "127.0.0.1", listener.port, ae_title="PLSCP", tls_args=(client(version=version), "localhost")
        )
        assert scu.is_established
        dataset = events.procedural([events.note(events.now())])
        status, _ = scu.send_n_action(dataset, 1, PROCEDURAL_EVENT_LOGGING, PROCEDURAL_EVENT_LOGGING_INSTANCE)
        scu.release()
        assert status.Status == 0
        assert scu.is_released
        listener.until(lambda: counted.ends)
    [event] = listener.events
    assert event.request.raw == events.encoded(dataset)
    assert counted.ends == {("released", "released"): 1}
    [line] = [line for line in lines if line["event"] == "association-accepted"]
    assert line["tls"] == {V12: "TLSv1.2", V13: "TLSv1.3"}[version]
    assert "certificate" not in line


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("size", [10, 100_000, 1_000_000])
def test_data_sets_of_any_size(tmp_path: Path, version: ssl.TLSVersion, size: int) -> None:
    """Many records, or a part of one: the data set is the one that was sent."""
    data = DATA * (size // len(DATA) + 1)
    with (
        listening(tmp_path) as (listener, _),
        SecureScu("127.0.0.1", listener.port, tls=client(version=version)) as scu,
    ):
        assert [scu.request(PROCEDURAL_EVENT_LOGGING, data).status for _ in range(3)] == [0, 0, 0]
    assert [event.request.raw for event in listener.events] == [data] * 3


def test_release_and_abort_over_tls(tmp_path: Path) -> None:
    """A release is answered; an A-ABORT ends it; ours arrives."""
    with listening(tmp_path) as (listener, counted):
        SecureScu("127.0.0.1", listener.port).associate().__exit__(None)
        SecureScu("127.0.0.1", listener.port).associate().abort()
        third = SecureScu("127.0.0.1", listener.port).associate()
        third.socket.sendall(p_data(b"\0\0\0\1\1"))
        with pytest.raises(Aborted) as aborted:
            third.pdu()
        third.socket.close()
        listener.until(lambda: sum(counted.ends.values()) == 3)
    assert aborted.value.args == (2, 6)
    assert counted.ends == {("released", "released"): 1, ("aborted", "by-peer"): 1, ("aborted", "2-6"): 1}


def test_the_end_of_the_server_over_tls(tmp_path: Path) -> None:
    """An idle association is aborted by the service user; a connection that shakes hands is closed."""
    with listening(tmp_path) as (listener, _), bare(listener.port) as half:
        scu = SecureScu("127.0.0.1", listener.port).associate()
        half.sendall(hello())
        listener.until(lambda: len(listener.acceptor._open) == 2)
        asyncio.run_coroutine_threadsafe(listener.acceptor.drain(0.1), listener.loop).result(60)
        with pytest.raises(Aborted) as aborted:
            scu.pdu()
        scu.socket.close()
        assert aborted.value.args == (0, 0)
        rest_of(half)


@pytest.mark.parametrize("version", [V12, V13])
def test_a_client_certificate_is_in_the_log(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """With a CA given, a device that it vouches for associates, and the line of the association names subject and names."""
    with capture_logs() as lines, listening(tmp_path, client_ca="hospital") as (listener, _):
        honest(listener.port, client(device(), version=version))
    [line] = [line for line in lines if line["event"] == "association-accepted"]
    assert "CN=HEMO1" in line["certificate"]
    assert "O=Cath Lab" in line["certificate"]
    assert line["certificate_names"] == "DNS:hemo1.example"


# --- who is not ------------------------------------------------------------------------------------------------------------


def sends(data: bytes) -> Callable[[int], None]:
    """A device that sends these bytes and waits for the end; no PDU may come."""

    def act(port: int) -> None:
        with bare(port) as one:
            one.sendall(data)
            answer = rest_of(one)
            assert not answer or answer[0] in {0x15, 0x16}, answer  # an alert, or a ServerHello and an alert

    return act


def shakes(make: Callable[[], ssl.SSLContext]) -> Callable[[int], None]:
    """A device that does not get further than the handshake; with TLS 1.3 it hears of it when it reads."""

    def act(port: int) -> None:
        with (
            bare(port) as one,
            contextlib.suppress(OSError),
            wrapped(make(), one) as tls,
        ):
            tls.sendall(RQ)
            assert rest_of(tls) == b""

    return act


def old() -> ssl.SSLContext:
    """TLS 1.1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return client(version=ssl.TLSVersion.TLSv1_1, suites="DEFAULT:@SECLEVEL=0")


REFUSED: dict[str, tuple[Callable[[int], None], str, str]] = {
    "plain DICOM": (sends(RQ), "", "not-tls"),
    "plain HTTP": (sends(b"GET / HTTP/1.1\r\n\r\n"), "", "not-tls"),
    "a ClientHello of zeros": (sends(b"\x16\3\1\0\x20\1\0\0\x1c" + bytes(28)), "", "tls-handshake"),
    "no ClientHello": (sends(b"\x16\3\1\0\4\2\0\0\0"), "", "tls-handshake"),
    "a ClientHello of 64 KiB": (sends(b"\x16\3\1\x40\0\1\1\0\0"), "", "tls-handshake"),
    "TLS 1.1": (shakes(old), "", "tls-version"),
    "no suite of BCP 195": (
        shakes(lambda: client(version=V12, suites="ECDHE-ECDSA-AES128-SHA256")),
        "",
        "tls-nothing-in-common",
    ),
    "does not trust us": (shakes(lambda: client(trusts="elsewhere")), "", "server-certificate-unknown-issuer"),
    "no certificate, 1.2": (shakes(lambda: client(version=V12)), "hospital", "client-certificate-missing"),
    "no certificate, 1.3": (shakes(lambda: client(version=V13)), "hospital", "client-certificate-missing"),
    "another CA, 1.2": (
        shakes(lambda: client(device("elsewhere"), version=V12)),
        "hospital",
        "client-certificate-unknown-issuer",
    ),
    "another CA, 1.3": (
        shakes(lambda: client(device("elsewhere"), version=V13)),
        "hospital",
        "client-certificate-unknown-issuer",
    ),
    "expired": (
        shakes(lambda: client(device(not_before=PAST.replace(year=2019), not_after=PAST))),
        "hospital",
        "client-certificate-expired",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_handshake_that_fails(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """No PDU is answered; the cause is logged once for this peer and counted each time; the next device is served."""
    act, client_ca, reason = REFUSED[name]
    with capture_logs() as lines, listening(tmp_path, client_ca=client_ca) as (listener, counted):
        for _ in range(3):
            act(listener.port)
        listener.until(lambda: counted.ends["closed", reason] == 3 or sum(counted.ends.values()) > 3)
        assert counted.ends == {("closed", reason): 3}
        honest(listener.port, client(device()))
    said = [line["reason"] for line in lines if line["event"] == "connection-closed"]
    assert said == [reason]
    refused = [(row["rule"], row["hint"].partition(":")[0], row["times"]) for row in listener.acceptor.refused_peers]
    rule = "dicom.tls.client_ca" if reason.startswith("client-certificate-") else "dicom.tls"
    assert refused == ([(rule, reason, 3)] if reason in HANDSHAKES else [])
    assert listener.events  # the honest one's
    assert "Traceback" not in capfd.readouterr().err


def test_tls_on_the_plain_port() -> None:
    """To PS3.8 it is a PDU of an unknown type, so an A-ABORT answers it; no association, and whoever asks why is told."""
    with Listener() as listener:
        with bare(listener.port) as one:
            one.sendall(hello())
            assert one.recv(10)[:1] == b"\7"
        [row] = listener.acceptor.refused_peers
        assert (row["rule"], row["hint"]) == ("dicom.tls", f"not-tls: {HANDSHAKES['not-tls']}")
        with RawScu("127.0.0.1", listener.port) as scu:
            assert scu.request(PROCEDURAL_EVENT_LOGGING, DATA).status == 0


def test_bytes_that_break_tls_after_the_handshake(tmp_path: Path) -> None:
    """A record that was tampered with ends the association, and nothing of it is taken."""
    with listening(tmp_path) as (listener, counted):
        scu = SecureScu("127.0.0.1", listener.port, tls=client(version=V12)).associate()
        below = socket.socket(fileno=scu.socket.detach())
        below.sendall(b"\x17\3\3\0\x20" + bytes(32))
        with below:
            assert rest_of(below)[:1] == b"\x15"
        listener.until(lambda: counted.ends)
    assert counted.ends == {("lost", "transport"): 1}
    assert not listener.events


# --- those who do not shake hands ------------------------------------------------------------------------------------------


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Room for 1,000 connections with both ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= 4096, "this test needs 4,096 file descriptors"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4096), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("descriptors")
@pytest.mark.parametrize("first", [b"", b"\x16", hello()], ids=["silent", "one byte", "a hello"])
def test_a_thousand_half_open_handshakes(tmp_path: Path, first: bytes) -> None:
    """From ten addresses, 100 each, all kept: an honest device is served. The next connections of an address are closed."""
    with (
        listening(tmp_path, deadlines=Deadlines(first_pdu_deadline=3600.0)) as (listener, counted),
        ExitStack() as stack,
    ):
        for i in range(10):
            for _ in range(100):
                stack.enter_context(bare(listener.port, f"127.0.3.{i + 1}")).sendall(first)
        listener.until(lambda: len(listener.acceptor._open) == 1000)
        honest(listener.port)  # while all of them are there
        assert counted.ends.keys() <= {("released", "released")}
        for _ in range(3):
            with bare(listener.port, "127.0.3.1") as one:
                assert rest_of(one) == b""
        listener.until(lambda: counted.ends["closed", "connections-per-address"] == 3)


def test_the_oldest_handshake_goes_first(tmp_path: Path) -> None:
    """At twice the associations in all, the oldest connection without an association is closed, also in its handshake."""
    with (
        listening(tmp_path, max_associations=2, deadlines=Deadlines(first_pdu_deadline=3600.0)) as (listener, counted),
        ExitStack() as stack,
    ):
        half = []
        for i in range(6):
            half.append(stack.enter_context(bare(listener.port, f"127.0.4.{i + 1}")))
            half[-1].sendall(hello())
            listener.until(lambda n=i + 1: len(listener.acceptor._open) == min(n, 4))  # type: ignore[misc]
        for one in half[:2]:
            rest_of(one)
        honest(listener.port)
        assert counted.ends["closed", "connections"] == 3


@pytest.mark.parametrize("first", [b"", hello()], ids=["silent", "a hello"])
def test_a_handshake_that_does_not_go_on(tmp_path: Path, first: bytes) -> None:
    """It is closed when the first PDU is overdue, without a PDU."""
    with (
        listening(tmp_path, deadlines=Deadlines(first_pdu_deadline=0.5)) as (listener, counted),
        bare(listener.port) as one,
    ):
        one.sendall(first)
        assert rest_of(one)[:1] in {b"", b"\x16"}  # nothing but what the handshake says
        listener.until(lambda: counted.ends)
        assert counted.ends == {("closed", "no-tls-handshake"): 1}


def test_handshakes_are_work(tmp_path: Path) -> None:
    """Who shakes hands again and again for nothing is read more slowly; others are not."""
    slowed: set[str] = set()
    with listening(tmp_path, futile_share=0.001) as (listener, _):
        listener.acceptor.slowed = lambda one, _: slowed.add(one.requestor.address)  # type: ignore[assignment, method-assign]
        listener.call(lambda: listener.acceptor.accounts.charge("127.0.0.5", BURST_SECONDS - 0.01))

        def once_more() -> bool:
            SecureScu("127.0.0.1", listener.port, source=("127.0.0.5", 0)).connect().socket.close()
            return bool(slowed)

        until(once_more, "a peer that is slowed")
        honest(listener.port)
    assert slowed == {"127.0.0.5"}


# --- how the socket is set -------------------------------------------------------------------------------------------------


def test_a_device_with_nagle_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request in two writes, Nagle's algorithm on: what is read is acknowledged at once, so that no 40 ms pass between them."""
    reads: list[int] = []
    at_once: list[int] = []
    acknowledge, received = sockets.acknowledge, Secured.data_received

    def acknowledging(one: socket.socket) -> bool:
        done = acknowledge(one)
        at_once.append(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK))
        return done

    def reading(one: Secured, data: bytes) -> None:
        reads.append(len(data))
        received(one, data)

    monkeypatch.setattr(sockets, "acknowledge", acknowledging)
    monkeypatch.setattr(Secured, "data_received", reading)
    with listening(tmp_path) as (listener, _), SecureScu("127.0.0.1", listener.port) as scu:
        [one] = listener.acceptor._open
        assert one.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        scu.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        for number in range(1, 12):
            raw = request(number)
            scu.socket.sendall(raw[: -len(DATA) - 12])
            scu.socket.sendall(raw[-len(DATA) - 12 :])
            assert scu.response().status == 0
    assert len(reads) > 11
    assert at_once == [1] * len(reads)


# --- certificates that are exchanged ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [V12, V13])
def test_no_session_is_resumed(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """A second connection shakes hands in full, so that its certificate is judged by the CA of that moment."""
    with listening(tmp_path) as (listener, _):
        context = client(version=version)
        session = None
        for _ in range(2):
            with (
                socket.create_connection(("127.0.0.1", listener.port), timeout=60) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=session) as one,
            ):
                one.sendall(RQ)
                assert one.recv(1) == b"\x02"
                assert not one.session_reused
                session = one.session


def test_certificates_that_are_exchanged(tmp_path: Path) -> None:
    """New associations get the new certificate and CA; those that are open go on."""
    with listening(tmp_path, client_ca="hospital") as (listener, _):
        assert listener.certificates is not None
        with SecureScu("127.0.0.1", listener.port, tls=client(device())) as scu:
            write(tmp_path, leaf=None, client_ca="elsewhere")
            for _ in range(2):
                listener.certificates.look()
            assert scu.request(PROCEDURAL_EVENT_LOGGING, DATA).status == 0
            honest(listener.port, client(device("elsewhere")))
            shakes(lambda: client(device()))(listener.port)
            assert scu.request(PROCEDURAL_EVENT_LOGGING, DATA).status == 0
    assert len(listener.events) == 3
