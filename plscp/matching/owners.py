"""Which patient an identifier names, now and at an earlier position: IDs are merged, changed and given anew."""

from collections.abc import Callable

from plscp.matching.records import PatientId

Spell = Callable[[str], str]

_History = tuple[tuple[int, int | None], ...]  # (position from which on, patient's number; None for nobody)


class Owners:
    """From identifiers to patients' numbers, with the history that late answers need.

    Identifiers stand here as they were stored; `spell` brings their issuers to one spelling where they are compared.
    """

    def __init__(self) -> None:
        # Keys are PatientIds, which are tuples: the hot path looks up with plain ones.
        self._now: dict[tuple[str, str], int] = {}
        self._issuers: dict[str, tuple[str, ...]] = {}
        self._authorities: dict[str, int] = {}  # as stored; how many identifiers each has given
        self._history: dict[PatientId, _History] = {}
        self._merged_into: dict[int, int] = {}
        self._names_of: dict[int, tuple[PatientId, ...]] = {}

    def copy(self) -> "Owners":
        """An independent copy."""
        twin = Owners()
        for name, value in vars(self).items():
            setattr(twin, name, dict(value))
        return twin

    def of(self, patient_id: PatientId) -> int | None:
        """Whom exactly this identifier names."""
        return self._now.get(patient_id)

    def has_authority(self, issuer: str) -> bool:
        """Whether some patient has an identifier of this issuer, as stored."""
        return issuer in self._authorities

    def spellings(self, patient_id: str, issuer: str, spell: Spell) -> tuple[PatientId, ...]:
        """The identifiers, as stored, that are this ID of this authority, or of none for an empty one."""
        known = self._issuers.get(patient_id, ())
        return tuple(PatientId(patient_id, stored) for stored in known if spell(stored) == issuer)

    def named(self, patient_id: str, issuer: str, spell: Spell) -> tuple[int, ...]:
        """Whom an ID may mean.

        With an issuer whoever has the ID of that authority; where nobody has it of any authority, whoever has it of none. An ID
        that one authority gave, and that is also known without issuer, is no other authority's. Without issuer everyone who has
        the ID.

        Args:
            issuer: spelled already.
        """
        known = self._issuers.get(patient_id, ())
        if issuer:
            of_authority = tuple(stored for stored in known if spell(stored) == issuer)
            known = of_authority or (known if known == ("",) else ())
        return tuple(dict.fromkeys(self._now[patient_id, stored] for stored in known))

    def has(self, number: int, patient_id: str, issuer: str, spell: Spell) -> bool:
        """Whether a patient has an ID: of the authority, or of none while nobody has it of that authority; without issuer of any.

        Args:
            issuer: spelled already.
        """
        known = self._issuers.get(patient_id, ())
        own = [stored for stored in known if self._now[patient_id, stored] == number]
        if not issuer:
            return bool(own)
        if any(spell(stored) == issuer for stored in known):
            return any(spell(stored) == issuer for stored in own)
        return own == [""]

    def of_then(self, patient_id: PatientId, position: int | None) -> int | None:
        """Whom an identifier named at a position (None: names now), followed through the merges since."""
        number = self._now.get(patient_id)
        if position is not None:
            number = None
            for since, owner in self._history.get(patient_id, ()):
                if since <= position:
                    number = owner
        while number in self._merged_into:
            number = self._merged_into[number]
        return number

    def claim(self, position: int, patient_id: PatientId, number: int) -> None:
        """From `position` on, an identifier names patient `number`."""
        before = self._now.get(patient_id)
        if before == number:
            return
        if before is not None:
            self._names_of[before] = tuple(known for known in self._names_of[before] if known != patient_id)
        else:
            self._authorities[patient_id.issuer] = self._authorities.get(patient_id.issuer, 0) + 1
        self._now[patient_id] = number
        self._names_of[number] = (*self._names_of.get(number, ()), patient_id)
        self._history[patient_id] = (*self._history.get(patient_id, ()), (position, number))
        issuers = self._issuers.get(patient_id.id, ())
        if patient_id.issuer not in issuers:
            self._issuers[patient_id.id] = (*issuers, patient_id.issuer)

    def release(self, position: int, patient_id: PatientId) -> None:
        """From `position` on, an identifier names nobody."""
        number = self._now.pop(patient_id)
        self._names_of[number] = tuple(known for known in self._names_of[number] if known != patient_id)
        self._history[patient_id] = (*self._history[patient_id], (position, None))
        self._authorities[patient_id.issuer] -= 1
        if not self._authorities[patient_id.issuer]:
            del self._authorities[patient_id.issuer]
        left = tuple(issuer for issuer in self._issuers[patient_id.id] if issuer != patient_id.issuer)
        if left:
            self._issuers[patient_id.id] = left
        else:
            del self._issuers[patient_id.id]

    def merge(self, position: int, prior: int, survivor: int) -> None:
        """Every identifier of patient `prior` names patient `survivor` from `position` on."""
        for patient_id in self._names_of.get(prior, ()):
            self.claim(position, patient_id, survivor)
        self._merged_into[prior] = survivor
