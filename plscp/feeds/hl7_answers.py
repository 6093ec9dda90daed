"""Acknowledgements (HL7 v2.8.2 2.9 and 2.13.1): what a sender is told of its message."""

import itertools
import os
import re
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from plscp.errors import BrokenMessage
from plscp.feeds.hl7_message import MessageHeader, Separators

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
        now: with an offset.
        error: why it was not taken.
        records: of a master file, the segments about its records, which the application's acknowledgement has (MFK).
    """
    accept, application = (header.fields.get(number, "").strip(" ") for number in (15, 16))
    if not accept and not application:
        return [_answer(header, now, "A", error, records)]
    wanted = {"AL": True, "SU": error is None, "ER": error is not None}
    asked = (("C", accept, ()), ("A", application, records))
    return [_answer(header, now, mode, error, segments) for mode, when, segments in asked if wanted.get(when, False)]


def _answer(
    header: MessageHeader, now: datetime, mode: str, error: BrokenMessage | None, records: Sequence[str]
) -> str:
    """MSH, MSA, of what was not taken ERR, and `records`; in the message's own encoding characters, its fields as they were sent."""
    used, sent = header.separators, header.fields
    code = mode + ("A" if error is None else "R" if error.rejected else "E")
    event = sent.get(9, "").split(used.component)[1:2]
    version = sent.get(12, "").split(used.component)[0] or "2.5"
    name, whole = ("MFK", "MFK_M01") if records else ("ACK", "ACK")
    structure = [] if version in _WITHOUT_STRUCTURE else [whole]
    kind = used.component.join([name, *event, *structure] if any(event) else [name])
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
    values = (fields.get(number, "") for number in range(3, 19))
    msh = used.field.join(["MSH", "".join(used[1:]), *values]).rstrip(used.field)
    said = "" if error is None else _escaped(str(error)[:MOST_SAID], used)
    msa = used.field.join(["MSA", code, sent.get(10, ""), *([said] if said else [])])
    err = [] if error is None else [used.field.join(_err(used, version, error, said))]
    return "".join(f"{segment}\r" for segment in (msh, msa, *err, *records))


def _err(used: Separators, version: str, error: BrokenMessage, said: str) -> list[str]:
    """ERR: of v2.5 on the place as an ERL, the code and the text; of older ones ERR-1 alone, an ELD."""
    place = [str(part) for part in error.place]
    code = [str(error.code), _TEXTS.get(error.code, ""), "HL70357"]
    if re.match(r"2\.0*[0-4](\.|$)", version):
        return ["ERR", used.component.join([*(place + [""] * 3)[:3], used.subcomponent.join(code)])]
    return ["ERR", "", used.component.join(place), used.component.join(code), "E", "", "", "", said]


def _escaped(text: str, used: Separators) -> str:
    """A text of ours in the encoding characters of the message; printable ASCII."""
    letters = {character: letter for letter, character in used.letters.items()}
    return "".join(
        f"{used.escape}{letters[each]}{used.escape}" if each in letters else each if " " <= each <= "~" else "?"
        for each in text
    )
