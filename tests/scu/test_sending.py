"""Sending to a stock SCP: what arrives there, and what becomes of every kind of answer."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from pydicom.dataset import Dataset

from plscp.errors import CommandError
from plscp.scu import sending
from plscp.scu.pci_case import DEVICES, Played, Request, check, pci_case, play
from plscp.scu.sending import VERIFICATION, Answer, RemoteScp, ScuAssociation, sop_class_of
from plscp.statuses import (
    PROCEDURAL_EVENT_LOGGING,
    PROCEDURAL_EVENT_LOGGING_INSTANCE,
    SUBSTANCE_ADMINISTRATION_LOGGING,
    SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE,
)
from tests.ports import silent_port
from tests.scu.conftest import Heard, StockScp

CASE = pci_case()
NOW = datetime(2026, 3, 1, tzinfo=UTC)
BOTH = (PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING)


def first(sop_class: str) -> Request:
    """The case's first request of a SOP Class."""
    return next(request for request in CASE if request.sop_class == sop_class)


def reply() -> Dataset:
    """An Action Reply (Table P.2-4)."""
    made = Dataset()
    made.StudyInstanceUID, made.PatientID = "1.2.3", "P1"
    return made


def refusal(status: int, comment: str) -> Dataset:
    """A status with an Error Comment."""
    made = Dataset()
    made.Status, made.ErrorComment = status, comment
    return made


@pytest.mark.parametrize(
    ("sop_class", "instance"),
    [
        (PROCEDURAL_EVENT_LOGGING, PROCEDURAL_EVENT_LOGGING_INSTANCE),
        (SUBSTANCE_ADMINISTRATION_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING_INSTANCE),
    ],
)
def test_a_request_names_the_well_known_instance_and_action_type_1(
    scp: StockScp, sop_class: str, instance: str
) -> None:
    """P.2.4, P.3.4, Tables P.2-2 and P.3-2; the content arrives as it was made."""
    dataset = first(sop_class).dataset(NOW)
    with ScuAssociation(scp.peer(calling="HEMO1")) as association:
        assert association.send(dataset, sop_class).performed
    (heard,) = scp.heard
    assert (heard.calling, heard.sop_class, heard.instance, heard.action_type) == ("HEMO1", sop_class, instance, 1)
    assert heard.dataset.to_json_dict() == dataset.to_json_dict()
    assert sop_class_of(dataset) == sop_class


@pytest.mark.parametrize(
    ("answered", "code", "name", "performed"),
    [
        ((0x0000, reply()), "0000", "success", True),
        ((0xB102, reply()), "B102", "study-instance-uid-coercion", True),
        ((refusal(0xC103, "no study is open at the location"), None), "C103", "cannot-match-to-current-study", False),
        ((0x0213, None), "0213", "resource-limitation", False),
        ((0xC999, None), "C999", "unknown-status", False),
    ],
)
def test_an_answer_has_status_name_comment_and_reply(
    scp: StockScp, answered: tuple[int | Dataset, Dataset | None], code: str, name: str, performed: bool
) -> None:
    """Whatever the SCP says, it is shown as the standard names it."""
    scp.answers = lambda _: answered
    with ScuAssociation(scp.peer()) as association:
        answer = association.send(first(PROCEDURAL_EVENT_LOGGING).dataset(NOW), PROCEDURAL_EVENT_LOGGING)
    assert (answer.code, answer.name, answer.performed) == (code, name, performed)
    assert answer.comment == (answered[0].ErrorComment if isinstance(answered[0], Dataset) else "")
    assert (answer.study_instance_uid, answer.patient_id) == (("1.2.3", "P1") if answered[1] else ("", ""))


def test_echo_is_answered(scp: StockScp) -> None:
    """C-ECHO on an association of its own."""
    with ScuAssociation(scp.peer(), [VERIFICATION]) as association:
        assert association.echo().status == 0


def test_no_answer_in_time_is_an_answer_without_status(scp: StockScp) -> None:
    """The SCP hangs; what is sent after that is not sent at all."""
    done = threading.Event()
    scp.answers = lambda _: (0 if done.wait(60) else 0x0110, None)
    with ScuAssociation(scp.peer(dimse=0.2)) as association:
        dataset = first(PROCEDURAL_EVENT_LOGGING).dataset(NOW)
        silent = association.send(dataset, PROCEDURAL_EVENT_LOGGING)
        after = association.send(dataset, PROCEDURAL_EVENT_LOGGING)
    done.set()
    assert (silent.status, silent.code, silent.name, silent.performed) == (None, "----", "no-answer", False)
    assert after.comment == "the association is no longer open"


def test_an_association_that_ends_as_a_request_is_sent(scp: StockScp, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was open a moment ago: no answer came, as where it ended before or after."""
    monkeypatch.setattr(sending, "quieten", lambda association: association.abort())
    with ScuAssociation(scp.peer()) as association:
        sent = association.send(first(PROCEDURAL_EVENT_LOGGING).dataset(NOW), PROCEDURAL_EVENT_LOGGING)
    with ScuAssociation(scp.peer(), [VERIFICATION]) as association:
        echoed = association.echo()
    for answer in (sent, echoed):
        assert (answer.status, answer.comment) == (None, "the association is no longer open")
    assert not scp.heard


def test_a_rejected_association_names_both_titles_and_the_reason(make_scp: Callable[..., StockScp]) -> None:
    """PS3.8 Table 9-21, in words."""
    scp = make_scp(callers=("HEMO1",))
    with pytest.raises(CommandError, match=r"of NOBODY with STOCK \(1/1/3: calling AE title not recognized\)"):
        ScuAssociation(scp.peer(calling="NOBODY")).open()


@pytest.mark.usefixtures("leaking")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_a_port_that_nobody_listens_on_is_one_line() -> None:
    """No traceback, no waiting."""
    with silent_port() as port, pytest.raises(CommandError, match=f"no association with 127.0.0.1:{port}"):
        ScuAssociation(RemoteScp("127.0.0.1", port, connection=60)).open()


def test_a_host_that_nobody_knows_is_one_line() -> None:
    """The resolver's own words; .invalid never resolves (RFC 2606)."""
    with pytest.raises(CommandError, match=r"no association with nosuch\.invalid:104: \w+"):
        ScuAssociation(RemoteScp("nosuch.invalid", 104)).open()


def test_a_sop_class_that_the_scp_does_not_take_is_one_line(make_scp: Callable[..., StockScp]) -> None:
    """The association stands, the presentation context was refused."""
    scp = make_scp(sop_classes=(PROCEDURAL_EVENT_LOGGING,))
    with (
        ScuAssociation(scp.peer()) as association,
        pytest.raises(CommandError, match="does not take Substance Administration Logging"),
    ):
        association.send(first(SUBSTANCE_ADMINISTRATION_LOGGING).dataset(NOW), SUBSTANCE_ADMINISTRATION_LOGGING)


@pytest.fixture(scope="module")
def quick() -> list[Request]:
    """Some of the case, with pauses that are over at once."""
    return [request for request in CASE if request.at < 300]


def played_on(scp: StockScp, case: list[Request]) -> tuple[list[Played], list[Played]]:
    """Play at a thousand times life: (result, what was told)."""
    told: list[Played] = []
    played = play(case, lambda device: ScuAssociation(scp.peer(calling=device)), speed=1000, told=told.append)
    return played, told


def test_every_device_plays_on_its_own_association_in_its_order(scp: StockScp, quick: list[Request]) -> None:
    """What arrives is the case, device by device, and each answer is told as it comes."""
    played, told = played_on(scp, quick)
    assert told == played
    assert {heard.calling for heard in scp.heard} == set(DEVICES)
    for device in DEVICES:
        want = [request.at for request in quick if request.device == device]
        assert [one.request.at for one in played if one.request.device == device] == want
        assert len([heard for heard in scp.heard if heard.calling == device]) == len(want)


def test_only_the_pauses_shrink_and_each_datetime_is_that_of_sending(scp: StockScp, quick: list[Request]) -> None:
    """At any speed the DateTimes are now, in the order of sending."""
    before = datetime.now(UTC)
    played, _ = played_on(scp, quick)
    after = datetime.now(UTC)
    for device in DEVICES:
        times = [last_time(heard) for heard in scp.heard if heard.calling == device]
        assert times == sorted(set(times))
        assert times == [one.sent for one in played if one.request.device == device]
        assert before <= times[0] <= times[-1] <= after
    span = max(one.sent for one in played) - min(one.sent for one in played)
    assert span >= timedelta(seconds=0.28)


def last_time(heard: Heard) -> datetime:
    """The last DateTime of a request."""
    dataset = heard.dataset
    text = (
        dataset.ContentSequence[-1].ObservationDateTime
        if "ContentSequence" in dataset
        else dataset.SubstanceAdministrationDateTime
    )
    return datetime.strptime(text, "%Y%m%d%H%M%S.%f%z")


def test_playing_stops_between_two_requests(scp: StockScp) -> None:
    """A case that is stopped sends nothing more, and says that not all was sent."""
    stop = threading.Event()

    def told(_: Played) -> None:
        stop.set()

    played = play(CASE, lambda device: ScuAssociation(scp.peer(calling=device)), speed=1, told=told, stop=stop)
    assert len(played) < len(CASE)
    with pytest.raises(CommandError, match=f"of {len(CASE)} requests got no answer"):
        check(played, CASE)


def outcomes() -> Iterator[tuple[str, int, int | None, str | None]]:
    """What is said of (expected, answered)."""
    yield "as written", 0, 0, None
    yield "a warning for success", 0, 0xB101, None
    yield "refused as written", 0xC102, 0xC102, None
    yield "a laxer SCP", 0xC102, 0, None
    yield "refused for another reason", 0xC102, 0xC103, None
    yield "refused", 0, 0xC103, "1 of 1 requests were refused, the first with C103 cannot-match-to-current-study: why"
    yield "refused instead of coerced", 0xB102, 0xC101, "1 of 1 requests were refused, the first with C101"
    yield "silent", 0, None, "1 of 1 requests got no answer"


@pytest.mark.parametrize(("name", "expect", "status", "line"), list(outcomes()))
def test_check_tells_a_case_that_went_well(name: str, expect: int, status: int | None, line: str | None) -> None:
    """Requests that are written to be refused do not make a case fail; others do."""
    request = next(request for request in CASE if request.expect == expect)
    played = [Played(request, Answer(status, "why"), NOW)]
    if line is None:
        check(played, [request])
    else:
        with pytest.raises(CommandError, match=line):
            check(played, [request])
    assert played[0].as_expected == (status == expect), name


def test_a_device_without_association_ends_the_case_in_one_line(make_scp: Callable[..., StockScp]) -> None:
    """Nothing is sent when one of the four may not."""
    scp = make_scp(callers=("HEMO1", "XRAY1", "TABLET1"))
    with pytest.raises(CommandError, match="INJECT1"):
        played_on(scp, CASE)
    assert not scp.heard
