"""What is fuzzed: functions of bytes that return what became of them, and raise where that must not happen."""

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn
from unittest.mock import patch

from plscp.content import parsing
from plscp.content.layouts import Memory
from plscp.content.model import Bounds
from plscp.content.reader import Decoded, decode
from plscp.dicom import acceptor, association, dimse, negotiation
from plscp.dicom.answer import SUCCESS
from plscp.dicom.pdu import InvalidPdu
from plscp.dicom.upper_layer import State
from plscp.errors import Refused
from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from plscp.templates.procedure_log import read_log
from plscp.templates.request import ProcedureLog
from plscp.templates.substance import read_administration
from tests.dicom.wire import CONTEXTS, Line, pdus_of
from tests.rawscu import SYNTAXES, associate_rq

SLOW: Final = 1.0
"""Seconds of this thread's own time that one input may take; 64 KiB are never worth that."""
RQ: Final = associate_rq("HEMO1", "PLSCP", CONTEXTS)
PLACES: Final = [(syntax, sop_class) for syntax in SYNTAXES for sop_class in (0, 1)]


class Defect(AssertionError):
    """What must not happen, in words."""


class Silent:
    """Takes log lines; a defect that was caught and logged is a defect all the same."""

    @staticmethod
    def info(event: str, **fields: Any) -> None:
        """Nothing."""

    warning = info

    @staticmethod
    def exception(event: str, **fields: Any) -> NoReturn:
        """Out with it."""
        raise Defect(event)


# --- bytes of the wire -------------------------------------------------------------------------------------------------


def _conversation(*pieces: bytes, first: bytes = b"") -> tuple[list[tuple[int, bytes]], State]:
    """What is answered, and the state after it."""
    with patch.object(association, "log", Silent), patch.object(acceptor, "log", Silent), Line() as line:
        line.handler = lambda event: (SUCCESS, None) if len(event.request.raw) % 3 else (0xC103, None)
        if first:
            line.send(first)
            assert pdus_of(bytes(line.transport.written))[0][0] == 2
        line.send(*pieces)
        if line.state not in {State.STA1, State.STA2, State.STA6, State.STA13}:
            raise Defect(f"{line.state!r} with nothing in hand")
        return line.pdus(), line.state


def _wire(raw: bytes, first: bytes = b"") -> object:
    """However it is cut, it is answered the same."""
    if len(raw) > 1 << 16:
        raw = raw[: 1 << 16]
    whole = _conversation(raw, first=first)
    middle = sum(raw) % (len(raw) + 1)
    parts = [raw[:1], raw[1:middle], raw[middle:]] if middle else [raw]
    if _conversation(*parts, first=first) != whole:
        raise Defect(f"cut at 1 and {middle} it is answered otherwise")
    return tuple((kind, body if len(body) == 4 else body[:6]) for kind, body in whole[0][:4]), whole[1]


def connection(raw: bytes) -> object:
    """A connection from its first byte on."""
    return _wire(raw)


def established(raw: bytes) -> object:
    """An association from the first byte after the A-ASSOCIATE-AC on."""
    return _wire(raw, RQ)


def request(raw: bytes) -> object:
    """The body of an A-ASSOCIATE-RQ."""
    try:
        found, identity = negotiation.read(raw, 128)
        if isinstance(found, negotiation.Rejection):
            return found
        answer, contexts = negotiation.accept(found, 16382, confirmed=identity is not None)
    except InvalidPdu:
        return "unreadable"
    [(kind, _)] = pdus_of(answer)
    if kind != 2 or not contexts.keys() <= set(range(1, 256, 2)):
        raise Defect("a wrong A-ASSOCIATE-AC")
    return len(contexts), bool(found.max_length), identity is not None and (identity.kind, identity.response)


def command(raw: bytes) -> object:
    """A command set, read on an association that has seen another, and answered."""
    reader = dimse.CommandReader()
    first = _command(reader, raw)
    for further in (raw, raw[:30] + b"\x07\x08" + raw[32:], raw):
        if _command(reader, further) != _command(dimse.CommandReader(), further):
            raise Defect("it depends on the command set before it")
    if isinstance(first, str):
        return first
    for status in (0, 0x0211, 0xC102):
        answer = dimse.elements(dimse.response(first, status, has_data=False))
        if answer[dimse.STATUS] != status.to_bytes(2, "little"):
            raise Defect("a wrong answer")
    return first.field, first.fault, first.has_data, first.asks, first.action_type is None


def _command(reader: dimse.CommandReader, raw: bytes) -> Any:
    try:
        return reader.read(raw)
    except InvalidPdu:
        return "malformed"


# --- data sets ---------------------------------------------------------------------------------------------------------


def data_set(raw: bytes) -> object:
    """Action Information; the first byte says in which transfer syntax, of which SOP Class, how strict."""
    if not raw:
        return None
    syntax, event = PLACES[raw[0] >> 1 & 7]
    sop_class = PROCEDURAL_EVENT_LOGGING if event else SUBSTANCE_ADMINISTRATION_LOGGING
    strict = bool(raw[0] & 1)
    check: Any = read_log if event else read_administration
    found = _read_and_typed(raw[1:], syntax, sop_class, check, strict=strict)
    with patch.object(parsing, "memory", Memory()):
        other = _read_and_typed(raw[1:], syntax, sop_class, check, strict=strict)
    if found != other:
        raise Defect("what is remembered of others changes what it is")
    with patch.object(parsing, "LONGEST_BYTES", sys.maxsize):
        other = _read_and_typed(raw[1:], syntax, sop_class, check, strict=strict)
    if found != other:
        raise Defect("read element by element it is something else")
    return found[0]


def _read_and_typed(raw: bytes, syntax: str, sop_class: str, check: Any, *, strict: bool) -> tuple[object, object]:
    try:
        decoded = decode(raw, syntax, calling_ae="HEMO1", sop_class=sop_class, bounds=Bounds())
    except Refused as refused:
        return _said(refused), [str(finding) for finding in refused.findings]
    said, made = _typed(check, decoded, strict=strict)
    return said, (decoded.identity, made)


def _typed(check: Any, decoded: Decoded, *, strict: bool) -> tuple[object, object]:
    try:
        made = check(decoded, strict=strict)
    except Refused as refused:
        return _said(refused), [str(finding) for finding in refused.findings]
    if isinstance(made, ProcedureLog):
        entries = [replace(entry, findings=list(entry.findings)) for entry in made.entries]
        made = replace(made, entries=entries, findings=list(made.findings))
        codes = {finding.code for entry in entries for finding in entry.findings}
        return (tuple(sorted({entry.kind for entry in entries})), tuple(sorted(codes))), made
    return "administration", replace(made, findings=list(made.findings))


def _said(refused: Refused) -> object:
    return refused.status, tuple(sorted({finding.code for finding in refused.findings}))


TARGETS: Final[dict[str, Callable[[bytes], object]]] = {
    target.__name__: target for target in (connection, established, request, command, data_set)
}


@dataclass
class Outcome:
    """What became of one input; a defect where `error` is there."""

    what: object
    error: Exception | None = None


def run(name: str, raw: bytes, slow: float = SLOW) -> Outcome:
    """One input, with its time bounded."""
    began = time.thread_time()
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            what = TARGETS[name](raw)
        if warned:  # a line on standard error, and Python remembers each for ever
            raise Defect(f"warned: {warned[0].category.__name__}: {warned[0].message}")
        taken = time.thread_time() - began
        if taken > slow:
            raise Defect(f"{taken:.1f} s")
    except Exception as error:  # that is what is looked for
        return Outcome(None, error)
    return Outcome(what)
