"""What one transaction must know before it can judge its drafts: looked up at its beginning, then kept up by its own members.

Every adapter fills a `Known` for exactly the identities and entries at hand, so the rules in `batch.py` are written once.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from plscp.digests import sha256
from plscp.store.port import Draft, RequestDraft
from plscp.store.rows import Answered, Expired, Item, Seen


class EntryKeys(NamedTuple):
    """Under which an entry is remembered; each 16 bytes of a SHA-256, so nothing a device wrote decides a key's length.

    Attributes:
        near_duplicate_key: (calling AE title, near_duplicate_key).
        observation: (calling AE title, Observation UID), or empty where the entry has none.
        exact: (calling AE title, Observation UID, content), or empty.
    """

    near_duplicate_key: bytes
    observation: bytes
    exact: bytes


def keys_of(draft: RequestDraft) -> list[EntryKeys]:
    """The keys of a request's entries, in order."""
    sender = draft.calling_ae.encode()
    head = len(sender).to_bytes(2) + sender
    keys = []
    for entry in draft.entries:
        observation = exact = b""
        if entry.observation_uid:
            stem = b"o" + head + entry.observation_uid.encode()
            observation = sha256(stem)[:16]
            exact = sha256(b"e" + observation + entry.content)[:16]
        keys.append(EntryKeys(sha256(b"l" + head + entry.near_duplicate_key)[:16], observation, exact))
    return keys


class StoredUnder(NamedTuple):
    """Under what the event at a position was stored; `context` is its request's."""

    study_instance_uid: str
    patient_id: str
    issuer: str
    context: bytes


@dataclass(slots=True)
class Known:
    """Lookups of one transaction.

    Attributes:
        answered: identity -> its latest accepted request.
        seen: entry key -> the first entry with it.
        items: identity -> its quarantine item.
        stored_under: for positions that were there before this transaction.
        has_entries: whether entries stood under a study before this transaction.
        proposed: whether a proposal with this id was kept before this transaction.
        room_for_refusals: False when the quarantine would take the last reserve of the disk.
        expired: raw bytes that arrived before a moment: (before, now, how many at most).
    """

    answered: dict[bytes, Answered]
    seen: dict[bytes, Seen]
    items: dict[bytes, Item]
    stored_under: Callable[[Iterable[int]], dict[int, StoredUnder]]
    has_entries: Callable[[str], bool]
    proposed: Callable[[str], bool]
    room_for_refusals: Callable[[], bool]
    expired: Callable[[int, int, int], Expired]


@dataclass(slots=True)
class Wanted:
    """What to look up for a batch of drafts.

    Attributes:
        keys: per draft, the keys of its entries (empty for what is no request, or is refused for its content).
    """

    identities: tuple[bytes, ...] = ()
    entry_keys: tuple[bytes, ...] = ()
    keys: list[Sequence[EntryKeys]] = field(default_factory=list)

    @classmethod
    def by(cls, drafts: Iterable[Draft]) -> "Wanted":
        """Collect the identities and entry keys of these drafts."""
        identities: dict[bytes, None] = {}
        entry_keys: dict[bytes, None] = {}
        wanted = cls()
        for draft in drafts:
            keys: Sequence[EntryKeys] = ()
            if isinstance(draft, RequestDraft):
                identities[draft.identity] = None
                keys = keys_of(draft)
                for key in keys:
                    entry_keys[key.near_duplicate_key] = None
                    if key.exact:
                        entry_keys[key.observation] = None
                        entry_keys[key.exact] = None
            wanted.keys.append(keys)
        wanted.identities, wanted.entry_keys = tuple(identities), tuple(entry_keys)
        return wanted
