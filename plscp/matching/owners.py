"""Which patient an identifier names, now and at an earlier position: IDs are merged, changed and given anew."""

from plscp.matching.records import PatientId

_History = tuple[tuple[int, int | None], ...]  # (position from which on, patient's number; None for nobody)


class Owners:
    """From identifiers to patients' numbers, with the history that late answers need."""

    def __init__(self) -> None:
        # Keys are PatientIds, which are tuples: the hot path looks up with plain ones.
        self._now: dict[tuple[str, str], int] = {}
        self._issuers: dict[str, tuple[str, ...]] = {}
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

    def named(self, patient_id: str, issuer: str) -> tuple[int, ...]:
        """Whom an ID may mean: with an issuer the one of that issuer, else of no issuer; without, everyone who has it."""
        if issuer:
            exact = self._now.get((patient_id, issuer))
            if exact is None:
                exact = self._now.get((patient_id, ""))
            return () if exact is None else (exact,)
        issuers = self._issuers.get(patient_id, ())
        return tuple(dict.fromkeys(self._now[patient_id, known] for known in issuers))

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
