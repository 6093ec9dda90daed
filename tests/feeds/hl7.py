"""HL7 messages for tests, and a registry that follows them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from plscp.feeds.hl7 import Hl7Rules, steps_of
from plscp.feeds.hl7_message import read
from plscp.feeds.hl7_persons import Authorities
from plscp.matching.plan import Plan
from plscp.store.port import RegistryRecord
from tests.matching.world import World

NOW: Final = datetime(2024, 5, 14, 12, 0, tzinfo=UTC)


def message(kind: str, *segments: str, control_id: str = "M1", codec: str = "utf-8", **header: str) -> bytes:
    """A message of a type and trigger (``ADT^A01``); header fields by number as ``f18="8859/1"``."""
    fields = ["MSH", "^~\\&", "ADT", "CLINIC", "PLSCP", "LAB", "20240514120000+0000", "", kind, control_id, "P", "2.5"]
    for name, value in header.items():
        number = int(name[1:])
        fields += [""] * (number - len(fields))
        fields[number - 1] = value
    return "".join(f"{segment}\r" for segment in ("|".join(fields), *segments)).encode(codec)


def pid(ids: str, name: str = "", born: str = "", sex: str = "", account: str = "") -> str:
    """PID with PID-3, 5, 7, 8 and 18."""
    return f"PID|1||{ids}||{name}||{born}|{sex}||||||||||{account}"


def pv1(place: str = "", visit: str = "", other: str = "") -> str:
    """PV1 with PV1-3, PV1-11 and PV1-19."""
    return f"PV1|1|I|{place}||||||||{other}||||||||{visit}"


class Hospital(World):
    """A registry that follows HL7 messages, as the feed plans them; without a store.

    Attributes:
        proposed: the corrections that were proposed.
        notes: what was not done, of the last message.
    """

    def __init__(self, *args: Any, stations: dict[str, str] | None = None, **given: Any) -> None:
        super().__init__(*args, **given)
        self.stations = stations or {}
        self.proposed: list[RegistryRecord] = []
        self.notes: list[str] = []

    def hear(self, data: bytes) -> list[str]:
        """Take a message; returns the kinds of changes that it makes; ``ignored`` where it does not concern the registry."""
        rules = Hl7Rules(Authorities(self.registry.issuers, self.policy), zone="Europe/Berlin", stations=self.stations)
        steps = steps_of(read(data, rules.codec), rules, NOW)
        if steps is None:
            return ["ignored"]
        plan = Plan(self.registry, self.policy, self.now)
        self.notes = [note for step in steps if (note := step(plan))]
        self.proposed += [record for record in plan.records if record.proposed]
        self.take([record for record in plan.records if not record.proposed])
        return [str(record.change["what"]) for record in plan.records]

    def ids(self, patient_id: str, issuer: str = "") -> tuple[str, list[str], list[str]]:
        """Of the patient whom an ID names: current ID, other IDs, former IDs."""
        patient = self.registry.patient(patient_id, issuer)
        assert patient is not None, patient_id
        return patient.current.id, _plain(patient.other_ids), _plain(patient.former_ids)


def _plain(ids: Sequence[tuple[str, str]]) -> list[str]:
    return [one[0] for one in ids]
