"""Writes the seeds of the corpus anew from real requests: `python -m tests.fuzz.seeds`. Files named `found-*` are left alone."""

from plscp.statuses import PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING
from tests.dicom import wire
from tests.dicom.stimuli import LYING, UNREADABLE, command
from tests.fuzz.running import CORPUS
from tests.fuzz.targets import PLACES
from tests.rawscu import ABORT, RELEASE_RQ, SYNTAXES, VERIFICATION, associate_rq, n_action, p_data, pdv, user_identity
from tests.templates import build

BOTH = (PROCEDURAL_EVENT_LOGGING, SUBSTANCE_ADMINISTRATION_LOGGING)
MANY = [(sop_class, syntax) for sop_class in (*BOTH, VERIFICATION, "1.2.3") for syntax in SYNTAXES]


def _connections() -> dict[str, bytes]:
    rq = associate_rq("HEMO1", "PLSCP", wire.CONTEXTS)
    echo = p_data(pdv(wire.ECHO, 3, command(0x0030, 1, 0x0101)))
    return {
        "released": rq + echo + RELEASE_RQ,
        "asked": rq + wire.request(1) + wire.request(2) + RELEASE_RQ,
        "aborted": rq + wire.request(1)[:60] + ABORT,
        "many-contexts": associate_rq("HEMO1", "PLSCP", MANY, 0) + RELEASE_RQ,
        "rejected": associate_rq("HEMO1", "OTHER", wire.CONTEXTS) + RELEASE_RQ,
        "identified": associate_rq(
            "HEMO1", "PLSCP", wire.CONTEXTS[:1], identity=user_identity("u", "p", response=True)
        ),
        "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    }


def _established() -> dict[str, bytes]:
    data, action = b"x" * 40, n_action(1, PROCEDURAL_EVENT_LOGGING)
    return {
        "asked": wire.request(1) + wire.request(2, context=3) + RELEASE_RQ,
        "fragments": b"".join(p_data(pdv(1, 1 | 2 * (at > 80), action[at : at + 20])) for at in range(0, 100, 20))
        + p_data(pdv(1, 0, data), pdv(1, 2, data)),
        "in-one": p_data(pdv(1, 3, action), pdv(1, 2, data), pdv(wire.ECHO, 3, command(0x0030, 2, 0x0101)))
        + RELEASE_RQ,
        "cancel": p_data(pdv(1, 3, command(0x0FFF, 1, 0x0101))) + wire.request(1, b""),
        "unclear": p_data(pdv(1, 3, command(0x0130, 1, None)), pdv(1, 2, data)) + RELEASE_RQ,
        "lying": b"".join(LYING[3:5]),
    }


def _commands() -> dict[str, bytes]:
    return {
        "procedural": n_action(1, PROCEDURAL_EVENT_LOGGING),
        "substance": n_action(2, SUBSTANCE_ADMINISTRATION_LOGGING, data=False),
        "echo": command(0x0030, 3, 0x0101),
        "bare": n_action(4, PROCEDURAL_EVENT_LOGGING, instance=None, action=None),
        "cancel": command(0x0FFF, None, 0x0101),
        "unclear": command(0x0130, 5, None),
        "response": command(0x8130, 5, 0x0101),
    }


def _data_sets() -> dict[str, bytes]:
    made = {
        "log": build.log(build.drug(), build.note()),
        "notes": build.log(*[build.note(second, f"Note {second}") for second in range(1, 6)]),
        "greek": build.log(build.note(1, "\u03b1\u03b2\u03b3"), SpecificCharacterSet="ISO_IR 126"),
        "kanji": build.log(build.note(1, "\u5c71\u7530\\\u592a\u90ce"), SpecificCharacterSet=["", "ISO 2022 IR 87"]),
        "chinese": build.log(build.note(1, "\u91d1\u4e00"), SpecificCharacterSet="GB18030"),
        "administration": build.administration(),
    }
    found = {}
    for number, (syntax, event) in enumerate(PLACES):
        for name, dataset in made.items():
            if (name == "administration") is not bool(event) and (name in {"log", "administration"} or number < 4):
                for strict in (0, 1) if name == "log" else (0,):
                    raw = bytes([number << 1 | strict]) + build.encode(dataset, syntax, undefined=bool(number & 2))
                    found[f"{name}-{number}-{strict}"] = raw
    return found


def seeds() -> dict[str, dict[str, bytes]]:
    """Target to name to bytes."""
    return {
        "connection": _connections(),
        "established": _established(),
        "request": {
            **{name: raw[6:] for name, raw in _connections().items() if raw[0] == 1},
            **{f"unreadable-{number}": raw for number, raw in enumerate(UNREADABLE) if len(raw) < 1000},
        },
        "command": _commands(),
        "data_set": _data_sets(),
    }


def main() -> None:
    """Write them."""
    for target, files in seeds().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("[!f]*.bin"):
            old.unlink()
        for name, raw in files.items():
            (folder / f"{name}.bin").write_bytes(raw)


if __name__ == "__main__":
    main()
