"""Where each accepted entry must stand: at first as it was answered, then as corrections moved it; held against what the store says."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from plscp.matching.bodies import parse
from plscp.matching.corrections import MERGE, CorrectionBody, SettleBody
from plscp.records.parts import SETTLED_TYPE, WITHDRAWN_TYPE
from plscp.service.misplaced import BECAUSE
from plscp.store.corrections import Proposal, Standing
from plscp.store.port import Filter, StoredEvent
from tests.matching.senders import NOBODY, Sent
from tests.matching.server import Server
from tests.matching.truth import Truth

JsonObject = dict[str, Any]
Where = tuple[str, str]
"""The study under which an entry of a log stands, or the person under whom an administration does."""


@dataclass
class Entry:
    """An accepted entry.

    Attributes:
        sent: the request that brought it; None: an administration.
        record: its first record, as it was published.
        where: withdrawn, and not yet assigned: None.
        moved_by: corrections, one after the other.
    """

    sent: Sent | None
    record: bytes
    where: Where | None
    moved_by: list[str] = field(default_factory=list)


class Ledger:
    """Follows the events of the store.

    Attributes:
        entries: by their positions.
    """

    def __init__(self, truth: Truth, server: Server) -> None:
        self._truth, self._server = truth, server
        self.entries: dict[int, Entry] = {}
        self._read = self._checked = 0
        self._named: dict[str, tuple[str, str]] = {}  # by proposal: whom it named, and who would be merged
        self._undo: dict[
            str, dict[int, tuple[Where, str]]
        ] = {}  # by correction and position: where it stood, and under whom

    # --- what the store has ---

    def follow(self, sent: Sent | None = None, *, administers: bool = False) -> list[int]:
        """Read on; the positions of entries that a request has brought, which nothing else may bring.

        Args:
            sent: the request that was just answered; or one that `administers`.
        """
        brought, moved = [], False
        for event in self._server.store.read(Filter(after=self._read, kinds=("entry", "proposal", "correction"))):
            self._read = event.position
            if event.kind == "entry":
                assert sent is not None or administers, self._story("an entry that nobody sent")
                [one] = self._server.store.standing([event.position])
                self.entries[event.position] = Entry(sent, event.payload, self._where(one.at))
                brought.append(event.position)
            elif event.kind == "correction":
                self._follow_move(event)
                moved = True
            elif event.type != SETTLED_TYPE:
                self._follow_proposal(event.subject, json.loads(event.change or ""))
        if moved:
            self._forget_empty_studies()
        return brought

    def _follow_move(self, event: StoredEvent) -> None:
        said = json.loads(event.payload)["correction"]
        position, entry = said["event_position"], self.entries[said["event_position"]]
        if event.type == WITHDRAWN_TYPE:
            assert self._now(entry) == self._place(said["moved_from"], entry), self._story("withdrawn from elsewhere")
            assert said["who"] != "server" or not entry.moved_by, self._story("moved by itself after people did")
            assert entry.where is not None
            self._undo.setdefault(said["id"], {})[position] = entry.where, self.person(position)
            entry.where = None
            return
        assert entry.where is None, self._story("assigned twice")
        entry.where = self._place(said["moved_to"], entry)
        entry.moved_by.append(said["id"])
        if said["who"] == "server":
            self._require_named(position, self.person(position), mistaken=False)
        self._truth.log.append(f"{position} moved to {entry.where} by {said['who']}")

    def _follow_proposal(self, proposal: str, change: JsonObject) -> None:
        to, prior = change["to"]["patient"], change.get("prior", {"id": "", "issuer": ""})
        named = self._person(to) if to["id"] else ""
        if to["id"] == "" and change["to"]["study_instance_uid"]:
            named = self._under(change["to"]["study_instance_uid"])
        self._named[proposal] = named, self._person(prior)
        if change["because"] == BECAUSE:
            for position in change["positions"]:
                self._require_named(position, named, mistaken=True)

    def _require_named(self, position: int, person: str, *, mistaken: bool) -> None:
        """The server puts an entry by itself, or would, only under somebody whom its request or its room named.

        Args:
            mistaken: as of `Truth.could_be`: a proposal may go by it, a move may not.
        """
        sent = self.entries[position].sent
        assert sent is not None, self._story("an administration is moved by a room")
        allowed = self._truth.could_be(sent, by_now=True, mistaken=mistaken)
        assert person in allowed, self._story(f"{position} is to be {person}'s, but only {allowed} are named")

    def _forget_empty_studies(self) -> None:
        """A study without entries may become another patient's."""
        studies = {entry.where[0] for entry in self.entries.values() if entry.sent is not None and entry.where}
        known = self._truth.stands_under
        self._truth.stands_under = {uid: known.get(uid) or self._under(uid) for uid in studies}

    # --- who and where ---

    def _where(self, at: Standing) -> Where:
        if at.study_instance_uid:
            return at.study_instance_uid, ""
        current = self._server.keeper.registry.current_patient(at.patient_id, at.issuer, at.standing)
        return "", self._truth.person(*current)

    def _place(self, said: JsonObject, entry: Entry) -> Where:
        """As a correction says; the person of an administration by the identifier of now."""
        if entry.sent is not None:
            return said["study_instance_uid"], ""
        return "", self._person(said["patient"])

    def _person(self, said: JsonObject) -> str:
        return self._truth.person(said["id"], said["issuer"])

    def _under(self, uid: str) -> str:
        study = self._server.keeper.registry.study(uid)
        assert study is not None
        return self._truth.person(*study.patient_id)

    def person(self, position: int) -> str:
        """Under whom an entry stands."""
        where = self.entries[position].where
        assert where is not None, self._story("it stands nowhere")
        return self._truth.who(where[1]) if where[1] else self._under(where[0])

    def at(self, sent: Sent) -> int | None:
        """The position of the entry that came with a request, or with the one that it repeats."""
        same = (
            position
            for position, entry in self.entries.items()
            if entry.sent is not None
            and entry.sent.observation == sent.observation
            and entry.sent.sender == sent.sender
        )
        return next(same, None)

    def study(self, position: int) -> str:
        """The study under which an entry stands; none for an administration."""
        where = self.entries[position].where
        return where[0] if where else ""

    def _all(self) -> dict[int, Where | None]:
        return {position: self._now(entry) for position, entry in self.entries.items()}

    def _now(self, entry: Entry) -> Where | None:
        return entry.where and (entry.where[0], self._truth.who(entry.where[1]))

    def _story(self, what: str) -> str:
        return "\n".join([*self._truth.log, what])

    # --- what people do ---

    def correct(self, which: int, target: int, *, rightly: bool, whole: bool, claimed: str = "") -> int | None:
        """Somebody moves an entry, or all that stand with it, to a study, or an administration to its patient; the entry's position.

        Args:
            rightly: to where it truly belongs, if that is known.
            claimed: says of the study that it is this patient's.
        """
        if not self.entries or not self._truth.told:
            return None
        position = sorted(self.entries)[-1 - which % min(8, len(self.entries))]
        entry, study = self.entries[position], self._truth.told[-1 - target % len(self._truth.told)]
        person, uid = study.patient, study.uid
        if rightly and entry.sent is not None:
            truly = self._truth.occupant(entry.sent.room, entry.sent.occurred)
            uid = self._truth.study_at(truly, entry.sent) or uid
            person = self._under(uid)
        if person not in self._truth.ids:
            return None
        positions = [position]
        body: JsonObject = {"why": "by hand", "positions": positions}
        if whole and entry.sent is not None and entry.where is not None:
            positions = [one for one, other in self.entries.items() if other.where == entry.where]
            body = {"why": "by hand", "entries": {"study_instance_uid": entry.where[0]}}
        named = self._truth.who(claimed or person)
        where = (uid, "") if entry.sent is not None else ("", named)
        number, issuer = self._truth.ids[named][-1]
        body["to"] = {"study_instance_uid": where[0], "patient": {"id": number, "issuer": issuer}}
        before = self._all()
        taken = self._server.takes(self._server.corrections.make(parse(CorrectionBody, body), "somebody"))
        self._truth.log.append(f"by hand: {positions} to {where} of {named}: {taken}")
        self.follow()
        assert not taken or not where[0] or named == self._under(uid), self._story(
            "moved to another's study than was said"
        )
        assert self._all() == before | (dict.fromkeys(positions, where) if taken else {}), self._story("not moved so")
        return position

    def settle(self, which: int, how: Literal["confirm", "reject"], what: str) -> None:
        """Somebody confirms or rejects what is proposed, a `MOVE` or a `MERGE`; who is to say where to says how it truly was."""
        proposals = [one for one in self._server.store.proposals(state="proposed") if one.change["what"] == what]
        if not proposals:
            return
        proposal = proposals[which % len(proposals)]
        if how == "reject":
            before = self._all()
            assert self._settle(proposal, "reject")
            assert self._all() == before, self._story("rejected, and moved")
        elif proposal.change["what"] == MERGE:
            self._confirm_merge(proposal)
        else:
            self._confirm_move(proposal)

    def _settle(self, proposal: Proposal, how: str, **said: Any) -> bool:
        body = parse(SettleBody, {"why": "so it is", **said})
        taken = self._server.takes(getattr(self._server.corrections, how)(proposal, body, "somebody"))
        self._truth.log.append(f"{how} {proposal.id} {proposal.change['what']} {said}: {taken}")
        self.follow()
        return taken

    def _confirm_move(self, proposal: Proposal) -> None:
        change, before, said = proposal.change, self._all(), {}
        under = {place["study_instance_uid"] for place in change["from"]} - {""}
        positions = change["positions"] or [p for p, where in before.items() if where and where[0] in under]
        uid, named = change["to"]["study_instance_uid"], self._truth.who(self._named[proposal.id][0])
        if not uid and not named:
            sent = next((self.entries[position].sent for position in positions), None)
            named = self._truth.occupant(sent.room, sent.occurred) if sent is not None else NOBODY
            uid = self._truth.study_at(named, sent) if sent is not None else ""
            if not uid:
                return
            said["to"] = {"study_instance_uid": uid}
        taken = self._settle(proposal, "confirm", **said)
        after = self._all()
        for position in positions if taken else ():
            assert self.person(position) == named, self._story(f"{position} is not {named}'s, as was proposed")
            assert not uid or self.study(position) in {uid, ""}, self._story(f"{position} is not in {uid}")
        still = set(before) - set(positions if taken else ())
        assert {p: after[p] for p in still} == {p: before[p] for p in still}, self._story("others moved, too")

    def _confirm_merge(self, proposal: Proposal) -> None:
        """Of two who are linked; or of somebody who came with a placeholder, by the study that is open."""
        survivor, prior = map(self._truth.who, self._named[proposal.id])
        said: JsonObject = {}
        if prior not in self._truth.ids:
            emergency = next((one for one in self._truth.told if one.patient[0] == "?"), None)
            if emergency is None:
                return
            prior, said["to"] = emergency.patient, {"study_instance_uid": emergency.uid}
        if self._settle(proposal, "confirm", **said) and prior != survivor:
            self._truth.became(prior, survivor)

    def revert(self, which: int) -> None:
        """Somebody takes back what a correction moved."""
        done = [one for one in self._server.store.proposals(state="confirmed") if one.moved]
        if not done:
            return
        proposal, before = done[which % len(done)], self._all()
        undo = self._undo[proposal.id]
        later = any(self.entries[position].moved_by[-1] != proposal.id for position in undo)
        taken = self._settle(proposal, "revert")
        assert not (taken and later), self._story("moved back what another correction has moved since")
        back = {position: (uid, self._truth.who(person)) for position, ((uid, person), _) in undo.items()}
        assert self._all() == before | (back if taken else {}), self._story("not moved back so")
        whose = {position: self._truth.who(person) for position, (_, person) in undo.items()}
        assert not taken or whose == {position: self.person(position) for position in undo}, self._story("to others")

    # --- whether the store says the same ---

    def check(self) -> None:
        """Every accepted entry stands exactly once, where the ledger has it; its first record is as it was."""
        self.follow()
        if self._checked == self._read:
            return
        self._checked = self._read
        store, found = self._server.store, {}
        for study in self._server.keeper.registry.studies():
            for one in store.timeline(study.study_instance_uid):
                position = one.at.position
                assert position not in found, self._story(f"{position} stands twice")
                found[position] = study.study_instance_uid, ""
                assert one.entry.payload == self.entries[position].record, self._story("the first record was touched")
                said = json.loads(one.last.payload)
                assert said["study"]["study_instance_uid"] == study.study_instance_uid, self._story(
                    "published elsewhere"
                )
        given = [position for position, entry in self.entries.items() if entry.sent is None]
        for one in store.standing(given):
            found[one.at.position] = self._where(one.at)
            assert one.entry.payload == self.entries[one.at.position].record, self._story(
                "the first record was touched"
            )
        assert found == self._all(), self._story(f"the store has {found}, not {self._all()}")
