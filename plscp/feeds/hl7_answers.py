"""Acknowledgements (HL7 v2.8.2 2.9 and 2.13.1): what a sender is told of its message."""

import itertools
import os
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from plscp.errors import BrokenMessage
from plscp.feeds.hl7_message import MessageHeader

APPLICATION: Final = "PLSCP"
MOST_SAID: Final = 200
"""Characters of a reason."""
_TEXTS: Final = {
    0: "Message accepted",
    100: "Segment sequence error",
    101: "Required field missing",
    102: "Data type error",
    103: "Table value not found",
    204: "Unknown key identifier",
    207: "Application internal error",
}
_WITHOUT_STRUCTURE: Final = frozenset({"2.1", "2.2", "2.3"})
"""Versions whose MSH-9 has no third component."""
_numbers: Final = itertools.count(1)
_STEM: Final = f"{os.getpid():x}{time.time_ns() // 1_000_000:x}"[-14:]


def answers(
    header: MessageHeader, now: datetime, error: BrokenMessage | None = None, records: Sequence[str] = ()
) -> list[str]:
    """The acknowledgements of a message: none where it asks for none, two where it asks for both.

    Original mode: one, of the application. Enhanced mode (MSH-15 or MSH-16 valued): the commit's (CA, CE, CR) where MSH-15 asks for it,
    and the application's (AA, AE, AR) where MSH-16 does; both stand for the same commit.

    Args:
        header: of the message.
        now: with an offset.
        error: why it was not taken.
        records: of a master file, the segments about its records, which the application's acknowledgement has (MFK).
    """
    accept, application = (header.fields.get(number, "").strip(" ") for number in (15, 16))
    kind = "A" if error is None else "R" if error.rejected else "E"
    if not accept and not application:
        return [_answer(header, now, f"A{kind}", error, records)]
    wanted = {"AL": True, "SU": error is None, "ER": error is not None}
    codes = [f"{mode}{kind}" for mode, asked in (("C", accept), ("A", application)) if wanted.get(asked, False)]
    return [_answer(header, now, code, error, records if code.startswith("A") else ()) for code in codes]


def _answer(
    header: MessageHeader, now: datetime, code: str, error: BrokenMessage | None, records: Sequence[str] = ()
) -> str:
    """MSH, MSA, of what was not taken ERR, and of a master file its records; in the message's own encoding characters, its fields as they were sent."""
    used = header.separators
    sent = header.fields
    event = sent.get(9, "").split(used.component)[1:2]
    version = sent.get(12, "").split(used.component)[0] or "2.5"
    name, whole = ("MFK", "MFK_M01") if records else ("ACK", "ACK")
    structure = [] if version in _WITHOUT_STRUCTURE else [whole]
    kind = used.component.join([name, *event, *structure] if event and event[0] else [name])
    fields = {
        3: sent.get(5, "") or APPLICATION,
        4: sent.get(6, ""),
        5: sent.get(3, ""),
        6: sent.get(4, ""),
        7: now.strftime("%Y%m%d%H%M%S%z"),
        9: kind,
        10: f"{_STEM}{next(_numbers)}"[:20],
        11: sent.get(11, "") or "P",
        12: sent.get(12, "") or version,
        18: sent.get(18, ""),
    }
    encoding = f"{used.component}{used.repetition}{used.escape}{used.subcomponent}"
    msh = used.field.join(["MSH", encoding, *(fields.get(number, "") for number in range(3, 19))]).rstrip(used.field)
    said = "" if error is None else _escaped(str(error)[:MOST_SAID], header)
    msa = used.field.join(["MSA", code, sent.get(10, ""), *([said] if said else [])])
    segments = [msh, msa]
    if error is not None:
        segments.append(used.field.join(_err(header, error, said)))
    segments += records
    return "".join(f"{segment}\r" for segment in segments)


def _err(header: MessageHeader, error: BrokenMessage, said: str) -> Iterator[str]:
    """ERR: of v2.5 on the place as an ERL, the code and the text; of older ones the ELD alone."""
    used = header.separators
    place = [str(part) for part in error.place]
    yield "ERR"
    if _is_old(header.fields.get(12, "").split(used.component)[0]):
        eld_code = used.subcomponent.join([str(error.code), _TEXTS.get(error.code, ""), "HL70357"])
        yield used.component.join([*(place + [""] * 3)[:3], eld_code])
        return
    yield ""
    yield used.component.join(place)
    yield used.component.join([str(error.code), _TEXTS.get(error.code, ""), "HL70357"])
    yield "E"
    yield from ("", "", "")
    yield said


def _is_old(version: str) -> bool:
    """Whether a version of HL7 has ERR-1 alone: before 2.5."""
    parts = version.split(".")
    return parts[0] == "2" and len(parts) > 1 and parts[1].isdecimal() and int(parts[1]) < 5


def _escaped(text: str, header: MessageHeader) -> str:
    """A text of ours in the encoding characters of the message; printable ASCII."""
    used = header.separators
    letters = {
        used.escape: "E",
        used.field: "F",
        used.component: "S",
        used.repetition: "R",
        used.subcomponent: "T",
    }
    return "".join(
        f"{used.escape}{letters[each]}{used.escape}" if each in letters else each if " " <= each <= "~" else "?"
        for each in text
    )
