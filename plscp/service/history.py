"""What the store's registry changes say of one study, patient or room: since when something holds, and by what it came."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from plscp.matching.records import Patient, PatientId, Study, utc_text
from plscp.matching.registry import Registry, moment_of
from plscp.service.keeper import RegistryKeeper
from plscp.store.port import EventStore, StoredEvent

Json = dict[str, Any]
_AT_ONCE: Final = 500
"""Studies whose changes are read from the store in one piece."""


class _Change(NamedTuple):
    """What a registry change said, and what is told of it."""

    said: Json
    by: Json


def _changes(store: EventStore, keys: Sequence[str]) -> Iterator[tuple[str, list[_Change]]]:
    """The changes of each key, in order."""
    for at in range(0, len(keys), _AT_ONCE):
        found = sorted(store.changes_of(keys[at : at + _AT_ONCE]), key=lambda event: event.key)  # keeps their order
        for key, events in groupby(found, lambda event: event.key):
            yield key, [_change(event) for event in events]


def _change(event: StoredEvent) -> _Change:
    said, lead = json.loads(event.change or "{}"), json.loads(event.payload)
    by = {
        "position": event.position,
        "time": event.occurred,
        "what": said["what"],
        "reason": said.get("reason", ""),
        "source": lead.get("source", ""),
        "message": lead.get("message", ""),
    }
    return _Change(said, by)


# --- studies ---------------------------------------------------------------------------------------------------------------


def of_study(store: EventStore, study: Study) -> Json:
    """Where a study was when, when it was opened and ended, and every change, each with what brought it."""
    changes = [
        each for _, found in _changes(store, [study.study_instance_uid]) for each in found if "stays" in each.said
    ]
    stays = [stay.as_json() for stay in study.stays]
    for index, stay in enumerate(stays):
        for name in ("arrived", "left"):
            stay[f"{name}_by"] = _first_to_say(changes, index, name, len(stays)) if stay[name] else None
    return {
        **study.as_json(),
        "stays": stays,
        "openings": list(_openings(changes)),
        "changes": [
            {**each.by, **{name: each.said[name] for name in ("status", "location", "patient")}} for each in changes
        ],
    }


def _first_to_say(changes: Sequence[_Change], index: int, name: str, count: int) -> Json | None:
    """The change since which a stay begins, or ends, when it does by the last one."""
    if not changes or len(changes[-1].said["stays"]) != count:
        return None
    value, by = changes[-1].said["stays"][index][name], None
    for each in reversed(changes):
        stays = each.said["stays"]
        if len(stays) <= index or stays[index][name] != value:
            break
        by = each.by
    return by


def _openings(changes: Sequence[_Change]) -> Iterator[Json]:
    """Each time from an opening to the closing, or cancellation, that ended it."""
    opening: Json | None = None
    for each in changes:
        is_open = each.said["status"] == "open"
        if is_open and opening is None:
            opening = {"opened_by": each.by, "closed": None, "status": "open", "closed_by": None}
        elif not is_open and opening is not None:
            yield opening | {"closed": each.said["closed"], "status": each.said["status"], "closed_by": each.by}
            opening = None
    if opening is not None:
        yield opening


# --- patients --------------------------------------------------------------------------------------------------------------


def of_patient(
    store: EventStore, patient: Patient, keys: Sequence[str], spans: Iterable[tuple[PatientId, int, int | None]]
) -> Json:
    """The identifiers of a patient, each with what it is, since when and by what; and every change.

    Args:
        keys: of `Registry.keys_of`: its changes, and those of patients that were merged into it.
        spans: of `Registry.spans_of`: under such a key stand others' as well, where an ID was given anew.
    """
    owned: dict[PatientId, list[tuple[int, int | None]]] = {}
    for identifier, since_position, until in spans:
        owned.setdefault(identifier, []).append((since_position, until))

    def is_theirs(change: _Change) -> bool:
        said, position = change.said, int(change.by["position"])
        if not said["what"].startswith("patient."):
            return False
        whose = owned.get(PatientId(said["id"], said["issuer"]), ())
        return any(since <= position and (until is None or position < until) for since, until in whose)

    found = {key: [each for each in changes if is_theirs(each)] for key, changes in _changes(store, keys)}
    since: dict[PatientId, tuple[str, Json]] = {}
    for each in found.get(patient.key, ()):
        if "other_ids" in each.said:
            since = {
                known: since[known] if since.get(known, ("",))[0] == role else (role, each.by)
                for known, role in _roles(each.said)
            }
    first: dict[PatientId, Json] = {}
    changes = sorted((each for some in found.values() for each in some), key=lambda each: int(each.by["position"]))
    for each in changes:
        if "other_ids" in each.said:
            for known, _ in _roles(each.said):
                first.setdefault(known, each.by)
    return {
        **patient.identifiers(),
        "identifiers": [
            {**known.as_json(), "role": role, "since": by, "first": first[known]} for known, (role, by) in since.items()
        ],
        "changes": [{**each.by, "id": each.said["id"], "issuer": each.said["issuer"]} for each in changes],
    }


def _roles(said: Mapping[str, Any]) -> Iterator[tuple[PatientId, str]]:
    yield PatientId(said["id"], said["issuer"]), "current"
    for role, name in (("other", "other_ids"), ("former", "former_ids")):
        yield from ((PatientId(one["id"], one.get("issuer", "")), role) for one in said[name])


# --- rooms -----------------------------------------------------------------------------------------------------------------


def of_rooms(store: EventStore, keeper: RegistryKeeper) -> list[Json]:
    """Each location that is configured or where a study is: who is there since when and by what, and who left last."""
    rooms: list[Json] = []
    stays: dict[str, int] = {}  # of each study that is in a room
    with keeper.lock:
        registry = keeper.registry
        for place in dict.fromkeys([*map(registry.place, registry.locations), *registry.presence.occupied()]):
            here = [study for uid in registry.presence.now(place) if (study := registry.study(uid)) is not None]
            stays |= {study.study_instance_uid: len(study.stays) for study in here}
            room = {
                "location": place,
                "configured": registry.locations.resolve(place) is not None,
                "studies": sorted((_present(registry, place, study) for study in here), key=itemgetter("arrived")),
                "left_last": None,
            }
            last = registry.presence.last_to_leave(place)
            if last is not None and (left := registry.study(last.study_instance_uid)) is not None:
                patient = left.patient_id.as_json()
                room["left_last"] = {
                    "study_instance_uid": last.study_instance_uid,
                    "patient": patient,
                    "left": utc_text(last.left),
                }
            rooms.append(room)
    brought = dict(_changes(store, list(stays)))
    for each in (each for room in rooms for each in room["studies"]):
        uid = each["study_instance_uid"]
        changes = [change for change in brought.get(uid, ()) if "stays" in change.said]
        each["arrived_by"] = _first_to_say(changes, stays[uid] - 1, "arrived", stays[uid])
    return rooms


def _present(registry: Registry, place: str, study: Study) -> Json:
    uid, stay = study.study_instance_uid, study.stays[-1]
    alive = registry.last_sign_of_life(uid, place)
    by_request = alive and alive == registry.life.last_request(uid, place)
    return {
        "study_instance_uid": uid,
        "patient": registry.patient_number(study.patient).identifiers(),
        "arrived": utc_text(stay.arrived),
        "confirmed": utc_text(stay.confirmed),
        "steps": list(study.steps),
        "last_sign_of_life": utc_text(moment_of(alive)) if alive else None,
        "last_sign_by": ("request" if by_request else "change") if alive else None,
    }
