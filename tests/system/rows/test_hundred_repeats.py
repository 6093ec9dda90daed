"""Repeats, worked out from the contract before they were run: answers lost, cumulative logs, resends after a refusal, restarts."""

from pathlib import Path

from plscp.statuses import PROCEDURAL_EVENT_LOGGING
from tests.events import encoded, note, procedural
from tests.system.rows.rig import Answer, Rig, at
from tests.system.rows.stories import DEVICES, ISSUERS, play, told

ROOM = """
        09:00 study 1.1 PA at=LAB1 id=S1
        """
THEN_PB = """
        10:05 close 1.1
        10:10 study 1.2 PB at=LAB1
        """

REPEATS = {
    "an answer lost twice, heard at the third time, and then a second equal bolus": ROOM
    + """
        10:00 HEMO1 sends P=PA as=bolus unheard -> 0000 1.1 PA
        10:01 HEMO1 resends bolus unheard -> 0000 1.1 PA retry
        10:02 HEMO1 resends bolus -> 0000 1.1 PA retry
        10:03 HEMO1 resends bolus unheard -> 0000 1.1 PA
        10:04 HEMO1 resends bolus -> 0000 1.1 PA retry
        10:05 HEMO1 resends bolus -> 0000 1.1 PA
        """,
    "an answer lost, and a restart before each repeat": ROOM
    + """
        10:00 HEMO1 sends P=PA as=bolus unheard -> 0000 1.1 PA
        10:00 restart
        10:01 HEMO1 resends bolus -> 0000 1.1 PA retry
        10:01 restart
        10:02 HEMO1 resends bolus -> 0000 1.1 PA
        """,
    "a retry is answered as before, whatever became of the study and the patient": ROOM
    + """
        10:00 HEMO1 sends P=PA as=bolus unheard -> 0000 1.1 PA
        10:01 merge PX PA
        10:02 HEMO1 resends bolus unheard -> 0000 1.1 PX retry
        10:03 close 1.1
        12:00 HEMO1 resends bolus unheard -> 0000 1.1 PX retry
        12:01 patient PA
        12:02 study 1.2 PA at=LAB1
        12:03 HEMO1 resends bolus unheard -> 0000 1.1 PX retry
        12:04 rename PX PY
        12:05 HEMO1 resends bolus -> 0000 1.1 PY retry
        12:06 HEMO1 resends bolus -> 0000 1.2 PA
        """,
    "what was heard is judged afresh when it comes again": ROOM
    + """
        10:00 HEMO1 sends as=note -> 0000 1.1 PA
        10:01 HEMO1 resends note -> 0000 1.1 PA
        """
    + THEN_PB
    + """
        10:11 HEMO1 resends note -> C103
        10:12 HEMO1 measured
        10:13 HEMO1 resends note -> 0000 1.1 PA
        10:50 PUMP1 resends note -> C103
        12:00 MOBILE resends note -> C103
        16:00:01 HEMO1 resends note -> C103
        """,
    "another device's same words are its own": ROOM
    + """
        10:00 HEMO1 sends P=PA as=bolus unheard -> 0000 1.1 PA
        10:00 PUMP1 resends bolus -> 0000 1.1 PA
        10:01 HEMO1 resends bolus -> 0000 1.1 PA retry
        10:02 PUMP1 resends bolus -> 0000 1.1 PA
        """,
    "a retry in every transfer syntax": ROOM
    + """
        10:00 HEMO1 sends P=PA as=bolus unheard syntax=0 -> 0000 1.1 PA
        10:01 HEMO1 resends bolus unheard syntax=1 -> 0000 1.1 PA retry
        10:02 HEMO1 resends bolus unheard syntax=2 -> 0000 1.1 PA retry
        10:03 HEMO1 resends bolus syntax=3 -> 0000 1.1 PA retry
        10:04 HEMO1 resends bolus syntax=0 -> 0000 1.1 PA
        """,
    "refused twice, and taken once the feed has caught up": ROOM
    + """
        10:00 HEMO1 sends P=PB as=early -> C104
        10:01 HEMO1 resends early unheard -> C104
        10:02 study 1.1 at=LAB2
        10:03 HEMO1 resends early -> C103
        10:04 study 1.2 PB at=LAB1
        10:05 HEMO1 resends early unheard -> 0000 1.2 PB
        10:06 HEMO1 resends early -> 0000 1.2 PB retry
        10:07 HEMO1 resends early -> 0000 1.2 PB
        """,
    "a refusal that is answered and heard is no acceptance": ROOM
    + """
        10:00 HEMO1 sends U=1.2 as=early -> C103
        10:01 HEMO1 resends early -> C103
        10:01 restart
        10:02 study 1.2 PB at=LAB2
        10:03 HEMO1 resends early -> 0000 1.2 PB
        10:04 close 1.2
        10:35 HEMO1 resends early -> C101
        """,
    "warnings are repeated with a retry and judged with an event of its own": ROOM
    + """
        10:00 HEMO1 sends U=9.9 P=PA S=S9 frame=1.2.3 as=odd unheard -> B102 1.1 PA
        10:01 study 1.1 id=S9
        10:02 HEMO1 resends odd says=COERCED -> B102 1.1 PA retry
        10:03 HEMO1 resends odd warns=B102,B101 -> B102 1.1 PA
        10:04 study 9.9 PB at=LAB2
        10:05 HEMO1 resends odd -> C104
        """,
    "a cumulative log grows": ROOM
    + """
        10:00 HEMO1 sends P=PA obs=2.1 at=09:59 -> 0000 1.1 PA
        10:01 HEMO1 sends P=PA obs=2.1,2.2 at=09:59,10:00 -> 0000 1.1 PA adds=1
        10:02 HEMO1 sends P=PA obs=2.1,2.2,2.3 at=09:59,10:00,10:01 -> 0000 1.1 PA adds=1
        10:02 restart
        10:03 HEMO1 sends P=PA obs=2.1,2.2,2.3 at=09:59,10:00,10:01 -> 0000 1.1 PA adds=0
        10:04 HEMO1 sends obs=2.3,2.4 at=10:01,10:04 -> 0000 1.1 PA adds=1
        10:05 HEMO1 sends U=1.1 obs=2.4,2.1 at=10:04,09:59 -> 0000 1.1 PA adds=0
        """,
    "a cumulative log goes on into the next patient's time": ROOM
    + """
        10:00 HEMO1 measured
        10:01 HEMO1 sends obs=2.1 at=10:00:30 -> 0000 1.1 PA
        """
    + THEN_PB
    + """
        10:20 HEMO1 sends P=PB obs=2.1,2.2 at=10:00:30,10:19 -> C104
        10:20 HEMO1 sends U=1.2 obs=2.1,2.2 at=10:00:30,10:19 -> C104
        10:20 HEMO1 sends P=PA obs=2.1,2.2 at=10:00:30,10:19 -> 0000 1.1 PA adds=1
        10:21 HEMO1 sends P=PB obs=2.3 at=10:20 -> 0000 1.2 PB
        10:22 HEMO1 sends P=PB obs=2.2,2.3 at=10:19,10:20 -> C104
        """,
    "new entries by place beside a known one of another patient": ROOM
    + """
        10:00 HEMO1 measured
        10:01 HEMO1 sends obs=2.1 at=10:00:30 -> 0000 1.1 PA
        """
    + THEN_PB
    + """
        10:20 HEMO1 sends obs=2.1,2.2 at=10:00:30,10:19 -> C104
        """,
    "a log that is wholly known is sent again long after": ROOM
    + """
        10:00 HEMO1 sends P=PA obs=2.1,2.2 at=09:58,09:59 -> 0000 1.1 PA
        """
    + THEN_PB
    + """
        12:00 HEMO1 sends P=PA obs=2.1 at=09:58 -> 0000 1.1 PA adds=0
        12:00 HEMO1 sends obs=2.2 at=09:59 -> 0000 1.1 PA adds=0
        12:00 HEMO1 sends U=1.1 obs=2.2 at=09:59 -> 0000 1.1 PA adds=0
        12:00 HEMO1 sends L="Lab 2" obs=2.2 at=09:59 -> 0000 1.1 PA adds=0
        12:00 HEMO1 sends P=PB obs=2.1 at=09:58 -> C104
        12:00 HEMO1 sends U=1.2 obs=2.1 at=09:58 -> C104
        12:00 HEMO1 sends U=1.1 P=PB obs=2.1 at=09:58 -> C104
        12:00 HEMO1 sends P=PA obs=2.1,2.3 at=09:58,10:00 as=log -> C103
        12:00 HEMO1 measured
        12:01 HEMO1 resends log -> 0000 1.1 PA adds=1
        """,
    "what was logged for the first by mistake is sent again for the second": ROOM
    + """
        09:30 study 1.2 PB at=LAB2
        10:00 HEMO1 sends P=PB obs=2.9 at=09:20 as=early -> 0000 1.2 PB
        10:00 HEMO1 sends P=PC obs=2.1 at=09:59 as=slip -> C104
        10:01 HEMO1 sends P=PA obs=2.1 at=09:59 -> 0000 1.1 PA
        10:02 HEMO1 sends P=PB obs=2.1 at=09:59 -> C104
        10:03 study 1.3 PC at=LAB2
        10:04 HEMO1 resends slip -> C104
        10:05 HEMO2 sends P=PC obs=2.1 at=09:59 -> 0000 1.3 PC
        """,
    "a known entry follows its patient through a merge": ROOM
    + """
        10:00 HEMO1 sends P=PA obs=2.1 at=09:59 -> 0000 1.1 PA
        10:01 merge PX PA
        10:02 HEMO1 sends P=PX obs=2.1 at=09:59 -> 0000 1.1 PX adds=0
        10:03 HEMO1 sends P=PA U=1.1 obs=2.1 at=09:59 -> 0000 1.1 PX adds=0
        10:04 patient PA
        10:05 HEMO1 sends P=PA obs=2.1 at=09:59 L="Lab 1" -> C104
        10:06 HEMO1 sends P=PX obs=2.1,2.2 at=09:59,10:05 -> 0000 1.1 PX adds=1
        """,
    "an Observation UID with other content": ROOM
    + """
        10:00 HEMO1 sends P=PA obs=2.1 words=first at=09:59 -> 0000 1.1 PA
        10:01 HEMO1 sends P=PA obs=2.1 words=second at=09:59 finds=observation-seen-before -> 0000 1.1 PA
        10:02 HEMO1 sends P=PA obs=2.1 words=first at=09:58 finds=observation-seen-before -> 0000 1.1 PA
        """,
    "a cumulative log without Observation UIDs is stored again, and says so": ROOM
    + """
        10:00 HEMO1 sends P=PA words=first at=09:59 -> 0000 1.1 PA
        10:01 HEMO1 sends P=PA U=1.1 words=first at=09:59 finds=probable-repeat -> 0000 1.1 PA
        10:02 HEMO1 sends P=PA words=first,second at=09:59,10:01 -> 0000 1.1 PA
        10:03 PUMP1 sends P=PA U=1.1 words=first at=09:59 -> 0000 1.1 PA
        """,
    "a retry goes before known entries, and they before matching": ROOM
    + """
        10:00 HEMO1 sends obs=2.1 at=09:59 as=log unheard -> 0000 1.1 PA
        """
    + THEN_PB
    + """
        12:00 HEMO1 resends log -> 0000 1.1 PA retry
        12:01 HEMO1 resends log -> 0000 1.1 PA adds=0
        12:02 PUMP1 resends log -> C103
        """,
    "known entries of two patients in one request": ROOM
    + """
        09:30 study 1.2 PB at=LAB2
        10:00 MOBILE sends P=PA obs=2.1 at=09:59 -> 0000 1.1 PA
        10:00 MOBILE sends P=PB obs=2.2 at=09:59 -> 0000 1.2 PB
        10:01 MOBILE sends P=PA obs=2.1,2.2 at=09:59,09:59 -> C104
        10:01 MOBILE sends P=PB obs=2.1,2.2 at=09:59,09:59 -> C104
        10:02 MOBILE sends P=PA obs=2.1,2.2,2.3 at=09:59,09:59,10:00 -> C104
        """,
    "a scheduled study that took an event keeps it under its patient through a retry": """
        09:00 study 1.1 PA status=scheduled at=LAB1
        09:10 HEMO1 sends U=1.1 as=early unheard -> 0000 1.1 PA
        09:11 refuses study 1.1 PB
        09:12 HEMO1 resends early -> 0000 1.1 PA retry
        09:13 study 1.1
        09:14 HEMO1 resends early -> 0000 1.1 PA
        """,
    "a retry is a sign of life of nobody": ROOM
    + """
        14:00 HEMO1 sends as=note unheard -> 0000 1.1 PA
        14:30 HEMO1 resends note unheard -> 0000 1.1 PA retry
        15:00:01 HEMO1 sends -> C103
        """,
}

CLOSINGS = {
    "equal stents of a device that closes without a release": ROOM
    + """
        10:00 CLOSER1 sends P=PA as=stent closes -> 0000 1.1 PA
        10:01 CLOSER1 resends stent closes -> 0000 1.1 PA
        10:01 restart
        10:02 CLOSER1 resends stent unheard -> 0000 1.1 PA
        10:03 CLOSER1 resends stent closes -> 0000 1.1 PA retry
        10:04 CLOSER1 resends stent -> 0000 1.1 PA
        """,
    "equal stents of a device that nobody said closes without a release": ROOM
    + """
        10:00 HEMO1 sends P=PA as=stent closes -> 0000 1.1 PA
        10:01 HEMO1 resends stent closes -> 0000 1.1 PA retry
        10:01 restart
        10:02 HEMO1 resends stent -> 0000 1.1 PA retry
        10:03 HEMO1 resends stent closes -> 0000 1.1 PA
        10:04 PUMP1 resends stent closes -> 0000 1.1 PA
        """,
    "refused, closed, taken, closed, and given once more": ROOM
    + """
        10:00 CLOSER1 sends U=1.2 as=early closes -> C103
        10:01 CLOSER1 resends early closes -> C103
        10:02 study 1.2 PB at=LAB2
        10:03 CLOSER1 resends early closes -> 0000 1.2 PB
        10:04 CLOSER1 resends early closes -> 0000 1.2 PB
        10:05 close 1.2
        10:40 CLOSER1 resends early closes -> C101
        """,
    "doses and known entries of a device that closes without a release": ROOM
    + """
        10:00 CLOSER1 gives P=PA as=dose closes -> 0000 PA
        10:01 CLOSER1 resends dose closes -> 0000 PA
        10:02 CLOSER1 sends P=PA obs=2.1 at=10:02 as=log closes -> 0000 1.1 PA
        10:03 CLOSER1 resends log closes -> 0000 1.1 PA adds=0
        10:04 CLOSER1 sends P=PA obs=2.1,2.2 at=10:02,10:04 closes -> 0000 1.1 PA adds=1
        """,
}


@told(REPEATS | CLOSINGS)
def test_repeats(tmp_path: Path, story: str) -> None:
    play(tmp_path, story)


def _room(folder: Path) -> Rig:
    rig = Rig(folder, *DEVICES, issuers=ISSUERS)
    rig.clock("09:00")
    rig.study("1.1", "PA", location="LAB1")
    rig.clock("10:00")
    return rig


def test_an_association_that_stays_open_proves_nothing(tmp_path: Path) -> None:
    """The device may still be waiting: the same content on a second association is a retry; on the first, an event of its own."""
    bolus = encoded(procedural([note(at("09:59"))], patient="PA"))
    with _room(tmp_path) as rig, rig.scu("HEMO1") as first, rig.scu("HEMO1") as second:
        assert str(Answer(first.request(PROCEDURAL_EVENT_LOGGING, bolus))) == "0000 1.1 PA"
        assert str(Answer(second.request(PROCEDURAL_EVENT_LOGGING, bolus))) == "0000 1.1 PA"
        assert len(rig.events()) == 1
        assert str(Answer(first.request(PROCEDURAL_EVENT_LOGGING, bolus))) == "0000 1.1 PA"
        assert len(rig.events()) == 2


def test_a_further_request_on_the_association_proves_the_answer_before_it(tmp_path: Path) -> None:
    """Also one that is refused, and also of the other SOP Class's kind; what was not answered yet is not proven."""
    bolus = encoded(procedural([note(at("09:59"))], patient="PA"))
    other = encoded(procedural([note(at("09:59"))], study="9.9"))
    with _room(tmp_path) as rig:
        with rig.scu("HEMO1") as scu:
            scu.request(PROCEDURAL_EVENT_LOGGING, bolus)
            assert Answer(scu.request(PROCEDURAL_EVENT_LOGGING, other)).status == "C103"
            scu.abort()
        assert str(rig.send(procedural([]), calling="HEMO1"))  # nothing in it: refused
        with rig.scu("HEMO1") as scu:
            assert str(Answer(scu.request(PROCEDURAL_EVENT_LOGGING, bolus))) == "0000 1.1 PA"
        assert len(rig.events()) == 2
