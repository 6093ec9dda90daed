"""The state machine beside PS3.8 Table 9-10, and each of its cells on the wire."""

import struct

import pytest

from plscp.dicom.answer import PendingResponse
from plscp.dicom.upper_layer import TABLE, State, TableEvent
from tests.dicom.wire import CONTEXTS, Line, request
from tests.rawscu import associate_rq

# PS3.8 Table 9-10, the columns Sta1, Sta2, Sta3, Sta6, Sta8, Sta13, typed from the standard: action and next state, '-' for
# an empty cell. The rows and columns that only a requestor, or an acceptor that itself asks for a release, can reach are not here.
STANDARD = """
E3   -        AA-1/13  AA-8/13  AA-8/13  AA-8/13  AA-6/13
E4   -        AA-1/13  AA-8/13  AA-8/13  AA-8/13  AA-6/13
E5   AE-5/2   -        -        -        -        -
E6   -        AE-6/3   AA-8/13  AA-8/13  AA-8/13  AA-7/13
E7   -        -        AE-7/6   -        -        -
E8   -        -        AE-8/13  -        -        -
E9   -        -        -        DT-1/6   AR-7/8   -
E10  -        AA-1/13  AA-8/13  DT-2/6   AA-8/13  AA-6/13
E12  -        AA-1/13  AA-8/13  AR-2/8   AA-8/13  AA-6/13
E13  -        AA-1/13  AA-8/13  AA-8/13  AA-8/13  AA-6/13
E14  -        -        -        -        AR-4/13  -
E15  -        -        AA-1/13  AA-1/13  AA-1/13  -
E16  -        AA-2/1   AA-3/1   AA-3/1   AA-3/1   AA-2/1
E17  -        AA-5/1   AA-4/1   AA-4/1   AA-4/1   AR-5/1
E18  -        AA-2/1   -        -        -        AA-2/1
E19  -        AA-1/13  AA-8/13  AA-8/13  AA-8/13  AA-7/13
"""
COLUMNS = (1, 2, 3, 6, 8, 13)


def cells() -> list[tuple[int, int, str]]:
    """(event, state, cell) for every place of the table."""
    return [
        (int(row.split()[0][1:]), state, cell)
        for row in STANDARD.strip().splitlines()
        for state, cell in zip(COLUMNS, row.split()[1:], strict=True)
    ]


@pytest.mark.parametrize(("event", "state", "cell"), cells())
def test_every_cell_is_the_standards(event: int, state: int, cell: str) -> None:
    """Each cell of the table in the code has the action and next state of PS3.8 Table 9-10, or is empty as there."""
    step = TABLE[TableEvent(event)].get(State(state))
    assert cell == ("-" if step is None else f"{step.action}/{step.state.value}")


def test_there_is_no_row_beyond_the_standards() -> None:
    """The code has exactly the events and states that the table above has."""
    assert (
        {event.value for event in TableEvent} == {event for event, _, _ in cells()} == {event.value for event in TABLE}
    )
    assert {state.value for state in State} == set(COLUMNS)


FOUR = b"\0\0\0\0"
PDUS = {
    "A-ASSOCIATE-AC": (3, struct.pack(">BBL", 2, 0, 4) + FOUR),
    "A-ASSOCIATE-RJ": (4, struct.pack(">BBL", 3, 0, 4) + b"\0\1\1\1"),
    "A-ASSOCIATE-RQ": (6, associate_rq("HEMO1", "PLSCP", CONTEXTS)),
    "P-DATA-TF": (10, request(9, b"")),
    "A-RELEASE-RQ": (12, struct.pack(">BBL", 5, 0, 4) + FOUR),
    "A-RELEASE-RP": (13, struct.pack(">BBL", 6, 0, 4) + FOUR),
    "A-ABORT": (16, struct.pack(">BBL", 7, 0, 4) + FOUR),
    "type 0": (19, struct.pack(">BBL", 0, 0, 4) + FOUR),
    "type 8": (19, struct.pack(">BBL", 8, 0, 4) + FOUR),
    "HTTP": (19, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "A-RELEASE-RQ of 5 bytes": (19, struct.pack(">BBL", 5, 0, 5) + FOUR + b"\0"),
}


def bring(line: Line, state: int) -> None:
    """Bring a new connection to a state; Sta8 waits for a commit."""
    if state in {6, 8, 13}:
        line.associate()
    if state == 8:
        line.handler = lambda _: PendingResponse()
        line.send(request(1))
        line.send(PDUS["A-RELEASE-RQ"][1])
    elif state == 13:
        line.send(PDUS["A-RELEASE-RQ"][1])
        assert line.pdus() == [(6, FOUR)]
    assert line.state == state


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("state", [2, 6, 8, 13])
@pytest.mark.parametrize("name", PDUS)
def test_each_pdu_in_each_state(name: str, state: int, cut: bool) -> None:
    """Whatever PDU arrives, whole or byte by byte: what is sent, and the state after it, are what the table's action says."""
    number, raw = PDUS[name]
    [cell] = [cell for event, column, cell in cells() if (event, column) == (number, state)]
    action = cell.split("/")[0]
    with Line() as line:
        bring(line, state)
        line.send(*([raw[i : i + 1] for i in range(len(raw))] if cut else [raw]))
        sent, ends = line.pdus(), line.state
        assert ([kind for kind, _ in sent], ends, line.transport.closing) == {
            "AA-1": ([7], 13, False),
            "AA-2": ([], 1, True),
            "AA-3": ([], 1, True),
            "AA-6": ([], 13, False),
            "AA-7": ([7], 13, False),
            "AA-8": ([7], 13, False),
            "AE-6": ([2], 6, False),
            "AR-2": ([6], 13, False),  # with AR-4: nothing is in hand
            "DT-2": ([4], 6, False),
        }[action]
        if sent and sent[0][0] == 7:
            reason = 2 if number != 19 else 1 if "of 5 bytes" not in name else {6: 6, 13: 6}.get(state, 2)
            assert sent[0][1] == (
                FOUR if action == "AA-1" else bytes([0, 0, 2, reason])
            )  # PS3.8 9.3.8: not significant


@pytest.mark.parametrize("state", [6, 8])
def test_a_local_abort_names_the_user(state: int) -> None:
    """AA-1: what the server ends by itself ends with an A-ABORT of the service user."""
    with Line() as line:
        bring(line, state)
        line.association.end()
        assert line.pdus() == [(7, FOUR)]
        assert line.transport.closing


@pytest.mark.parametrize("state", [2, 6, 8, 13])
def test_a_lost_connection_leads_to_the_idle_state(state: int) -> None:
    """AA-4, AA-5, AR-5: the peer closes its side, and nothing more is sent."""
    with Line() as line:
        bring(line, state)
        line.association.eof_received()
        line.turn()
        assert (line.pdus(), line.state, line.lost) == ([], 1, True)


@pytest.mark.parametrize("state", [2, 13])
def test_the_artim_timer_closes(state: int) -> None:
    """AA-2 on E18: the connection is closed without a PDU."""
    with Line() as line:
        bring(line, state)
        line.association.overdue()
        line.turn()
        assert (line.pdus(), line.state, line.lost) == ([], 1, True)


def test_an_answer_goes_out_before_the_release_is_answered() -> None:
    """AR-7, then AR-4: the commit that was under way is answered in Sta8, and only then the release."""
    with Line() as line:
        line.associate()
        response = PendingResponse()
        line.handler = lambda _: response
        line.send(request(1) + PDUS["A-RELEASE-RQ"][1])
        assert (line.pdus(), line.state) == ([], 8)
        line.resolve(response)
        assert ([kind for kind, _ in line.pdus()], line.state) == ([4, 6], 13)


def test_a_flood_in_the_last_state_is_answered_once() -> None:
    """AA-7 says A-ABORT to a peer that goes on talking, once; the bytes are thrown away."""
    with Line() as line:
        bring(line, 13)
        line.send(PDUS["A-ASSOCIATE-RQ"][1] * 3 + PDUS["type 0"][1] * 3)
        assert [kind for kind, _ in line.pdus()] == [7]
