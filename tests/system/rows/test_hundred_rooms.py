"""Rooms, worked out from the contract before they were run: moves, turnovers, forgotten closings, early registrations, gaps."""

from dataclasses import replace
from pathlib import Path

from tests.system.rows.rig import POLICY
from tests.system.rows.stories import play, told

ROOMS = {
    "a study that moved is named by its patient from the room it left, while the next one lies there": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.1 at=LAB2
        10:05 study 1.2 PB at=LAB1
        10:30 HEMO1 sends P=PA at=09:30 -> 0000 1.1 PA
        10:31 HEMO1 sends P=PB -> 0000 1.2 PB
        10:32 HEMO2 sends -> 0000 1.1 PA
        """,
    "a study that moved is not found by an unmeasured clock's times in the room it left": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.1 at=LAB2
        10:05 study 1.2 PB at=LAB1
        10:30 HEMO1 sends at=09:30 says=TIMES_NAME_ANOTHER -> C103
        10:40 HEMO1 measured
        10:41 HEMO1 sends at=09:30 -> 0000 1.1 PA
        """,
    "a gap between two patients belongs to the first for the tolerance and then to nobody": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:10 study 1.2 PB at=LAB1
        10:20 HEMO1 measured
        10:21 HEMO1 sends at=10:02 -> 0000 1.1 PA
        10:21 HEMO1 sends at=10:02:01 says=NONE_AT_LOCATION -> C103
        10:21 HEMO1 sends at=10:07:59 -> C103
        10:21 HEMO1 sends at=10:08 -> 0000 1.2 PB
        """,
    "a gap shorter than two tolerances belongs to nobody where both tolerances reach": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:03 study 1.2 PB at=LAB1
        10:20 HEMO1 measured
        10:21 HEMO1 sends at=10:00:59 -> 0000 1.1 PA
        10:21 HEMO1 sends at=10:01:30 says=SEVERAL_AT_LOCATION -> C103
        10:21 HEMO1 sends at=10:02:30 -> 0000 1.2 PB
        """,
    "no tolerance reaches into the time of the next patient": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:01 study 1.2 PB at=LAB1
        10:20 HEMO1 measured
        10:21 HEMO1 sends at=10:01:30 -> 0000 1.2 PB
        10:21 HEMO1 sends at=09:59:30 -> 0000 1.1 PA
        """,
    "the minute of a change from one patient to the next is nobody's": """
        09:00 study 1.1 PA at=LAB1
        10:00:30 close 1.1
        10:00:30 study 1.2 PB at=LAB1
        10:20 HEMO1 measured
        10:21 HEMO1 sends dt=202405141000+0000 -> C103
        10:21 HEMO1 sends dt=202405140959+0000 -> 0000 1.1 PA
        10:21 HEMO1 sends dt=202405141001+0000 -> 0000 1.2 PB
        10:21 HEMO1 sends at=10:00:30 -> 0000 1.2 PB
        10:21 HEMO1 sends P=PA dt=202405141000+0000 -> 0000 1.1 PA
        """,
    "one patient in two rooms is told apart by the room": """
        09:00 study 1.1 PA at=LAB1
        09:10 study 1.4 PA at=LAB2
        10:00 HEMO1 sends P=PA -> 0000 1.1 PA
        10:00 HEMO2 sends P=PA -> 0000 1.4 PA
        10:00 MOBILE sends P=PA says=SEVERAL_OF_PATIENT -> C103
        10:00 MOBILE sends P=PA L="Lab 2" -> 0000 1.4 PA
        10:00 MOBILE sends P=PA L="Lab 9" -> C103
        10:00 BOTH sends P=PA -> C103
        10:00 BOTH sends P=PA L=CATH^LAB1 -> 0000 1.1 PA
        """,
    "one patient's two studies are told apart by the times only of a measured clock": """
        09:00 study 1.1 PA
        09:30 study 1.4 PA
        10:00 MOBILE sends P=PA at=09:15 -> C103
        10:01 MOBILE measured
        10:02 MOBILE sends P=PA at=09:15 -> 0000 1.1 PA
        10:02 MOBILE sends P=PA at=09:15,09:45 -> 0000 1.1 PA
        10:02 MOBILE sends P=PA at=09:45 -> C103
        """,
    "a room that is not the device's own is not looked into, but a patient named is found there": """
        09:00 study 1.1 PA at=LAB1
        09:00 study 1.2 PB at=LAB2
        10:00 HEMO1 sends L="Lab 2" says=FOREIGN_LOCATION -> C103
        10:00 HEMO1 sends P=PA L="Lab 2" warns=B104 says=LOCATION_CONTRADICTS -> B104 1.1 PA
        10:00 HEMO1 sends P=PB L="Lab 2" -> 0000 1.2 PB
        10:00 HEMO1 sends L="Lab 9" says=UNKNOWN_LOCATION -> C103
        """,
    "a device of two rooms whose patient moved between them": """
        09:00 study 1.1 PA at=LAB2
        10:00 study 1.1 at=LAB1
        10:30 BOTH measured
        10:31 BOTH sends L="Lab 1" at=09:30 -> C103
        10:31 BOTH sends L="Lab 2" at=09:30 -> 0000 1.1 PA
        10:31 BOTH sends L="Lab 1" at=10:30 -> 0000 1.1 PA
        10:31 BOTH sends P=PA at=09:30 -> 0000 1.1 PA
        10:31 BOTH sends P=PA L="Lab 1" at=09:30 warns=B104 -> B104 1.1 PA
        """,
    "the next patient is registered early while the first is still alive there": """
        09:00 study 1.1 PA at=LAB1 id=S1
        10:00 study 1.2 PB at=LAB1 id=S2
        10:05 HEMO1 sends says=SEVERAL_AT_LOCATION -> C103
        10:05 HEMO1 sends P=PA -> 0000 1.1 PA
        10:05 HEMO1 sends U=1.1 -> 0000 1.1 PA
        10:05 HEMO1 sends S=S1 L="Lab 1" -> C103
        10:05 HEMO1 sends S=S1 -> C103
        10:05 HEMO1 sends P=PA L="Lab 1" S=S2 -> C104
        10:06 HEMO1 measured
        10:07 HEMO1 sends S=S1 L="Lab 1" -> 0000 1.1 PA
        10:07 HEMO1 sends S=S2 L="Lab 1" -> 0000 1.2 PB
        10:07 HEMO1 sends S=S1 -> C103
        """,
    "what happened before the next patient was registered early is the first one's by a measured clock": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.2 PB at=LAB1
        10:05 HEMO1 sends at=09:30 -> C103
        10:06 HEMO1 measured
        10:07 HEMO1 sends at=09:30 -> 0000 1.1 PA
        10:07 HEMO1 sends at=09:30,10:02 -> C103
        10:07 HEMO1 sends at=10:02 -> C103
        """,
    "a request that names the newer patient ends a quiet one's stay": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.2 PB at=LAB1
        10:05 HEMO1 sends -> C103
        10:06 PUMP1 sends P=PB -> 0000 1.2 PB
        10:07 HEMO1 sends -> 0000 1.2 PB
        10:08 HEMO1 measured
        10:09 HEMO1 sends at=09:59 -> 0000 1.1 PA
        10:09 HEMO1 sends at=09:59,10:01 says=ENTRIES_IN_TWO -> C103
        10:09 HEMO1 sends P=PA -> 0000 1.1 PA
        """,
    "a patient who was alive a quarter of an hour ago is not turned out": """
        09:00 study 1.1 PA at=LAB1
        09:55 HEMO1 sends P=PA -> 0000 1.1 PA
        10:00 study 1.2 PB at=LAB1
        10:05 HEMO1 sends P=PB -> 0000 1.2 PB
        10:06 HEMO1 sends -> C103
        10:09:59 look
        10:09:59 HEMO1 sends -> C103
        10:10 look
        10:10:30 HEMO1 sends -> 0000 1.2 PB
        10:11 HEMO1 measured
        10:12 HEMO1 sends at=09:58 -> 0000 1.1 PA
        10:12 HEMO1 sends at=10:01 -> 0000 1.2 PB
        """,
    "a scheduled study is not in the room": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.2 PB status=scheduled at=LAB1
        10:05 HEMO1 sends -> 0000 1.1 PA
        10:05 HEMO1 sends P=PB -> C104
        10:05 MOBILE sends P=PB says=NO_CURRENT_STUDY -> C103
        10:05 MOBILE sends P=PB L="Lab 1" -> C104
        """,
    "a closing forgotten overnight leaves two in the room until the next one is named there": """
        09:00 study 1.1 PA at=LAB1
        +1d08:00 HEMO1 sends -> C103
        +1d08:05 study 1.2 PB at=LAB1
        +1d08:10 HEMO1 sends -> C103
        +1d08:11 HEMO2 sends P=PB -> 0000 1.2 PB
        +1d08:12 HEMO1 sends -> C103
        +1d08:13 HEMO1 sends P=PB -> 0000 1.2 PB
        +1d08:14 HEMO1 sends -> 0000 1.2 PB
        +1d08:15 HEMO1 sends P=PA -> 0000 1.1 PA
        +1d08:50 HEMO1 sends P=PA -> C104
        """,
    "the wrong room is put right before anybody is named there": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.2 PB at=LAB1
        10:10 study 1.2 at=LAB2
        10:20 HEMO1 sends -> 0000 1.1 PA
        10:20 HEMO2 sends -> 0000 1.2 PB
        10:21 HEMO1 measured
        10:22 HEMO1 sends at=10:05 -> C103
        10:22 HEMO2 sends P=PB at=10:05 -> 0000 1.2 PB
        """,
    "a study opened again in the other room": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        11:00 study 1.1 at=LAB2
        11:05 HEMO1 sends -> C103
        11:05 HEMO2 sends -> 0000 1.1 PA
        11:05 HEMO1 sends P=PA -> 0000 1.1 PA
        11:05 HEMO1 sends U=1.1 L="Lab 1" warns=B104 -> B104 1.1 PA
        11:06 HEMO1 measured
        11:07 HEMO1 sends U=1.1 L="Lab 1" at=09:30 -> 0000 1.1 PA
        """,
    "the grace ends to the second, by each name and from each room": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:29 HEMO2 sends P=PA -> C103
        10:30 HEMO1 sends P=PA finds=after-closing -> 0000 1.1 PA
        10:30 MOBILE sends P=PA -> 0000 1.1 PA
        10:30 HEMO2 sends U=1.1 -> 0000 1.1 PA
        10:30:01 HEMO1 sends P=PA -> C103
        10:30:01 HEMO1 sends U=1.1 says=CLOSED -> C101
        10:30:01 HEMO1 sends U=1.1 at=09:59 -> C101
        10:30:01 BRIEF1 sends P=PA -> C103
        """,
    "a grace of the device's own": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:05 BRIEF1 sends P=PA -> 0000 1.1 PA
        10:06 BRIEF1 sends P=PA -> C103
        10:06 BRIEF1 sends U=1.1 -> C101
        10:06 HEMO1 sends U=1.1 -> 0000 1.1 PA
        """,
    "events after leaving, named for the one who left, while the next one lies there": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:05 study 1.2 PB at=LAB1
        10:10 HEMO1 sends U=1.1 says=LEFT_ALREADY warns=B104 -> B104 1.1 PA
        10:10 HEMO1 sends U=1.1 at=09:59 -> 0000 1.1 PA
        10:10 HEMO1 sends U=1.1 at=09:59,10:08 -> B104 1.1 PA
        10:10 HEMO1 sends U=1.2 -> 0000 1.2 PB
        10:10 HEMO1 sends U=1.1 P=PB -> C104
        """,
    "the study that ends goes before the patient's next one in another room": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:05 study 1.4 PA at=LAB2
        10:10 HEMO1 sends P=PA -> 0000 1.1 PA
        10:10 HEMO2 sends P=PA -> 0000 1.4 PA
        10:31 HEMO1 sends P=PA -> 0000 1.4 PA
        """,
    "a scheduled study is named from the room of the open one, from another and from none": """
        09:00 study 1.1 PA at=LAB1
        09:00 study 1.4 PA status=scheduled at=LAB2
        10:00 HEMO1 sends U=1.4 says=COERCED warns=B102 -> B102 1.1 PA
        10:00 HEMO2 sends U=1.4 finds=study-not-started -> 0000 1.4 PA
        10:00 MOBILE sends U=1.4 -> 0000 1.4 PA
        10:00 MOBILE sends U=1.4 L="Lab 1" -> B102 1.1 PA
        10:01 HEMO2 sends -> C103
        10:02 study 1.2 PB at=LAB2
        10:03 HEMO2 sends U=1.4 says=NOT_STARTED_ELSEWHERE -> B104 1.4 PA
        10:04 study 1.5 PA at=LAB1
        10:05 HEMO1 sends U=1.4 -> 0000 1.4 PA
        """,
    "a worklist slip with a wrong patient is refused, and with no patient warned of": """
        09:00 study 1.1 PA at=LAB1
        09:00 study 1.2 PB status=scheduled at=LAB1
        10:00 HEMO1 sends U=1.2 P=PA -> C104
        10:00 HEMO1 sends U=1.2 warns=B104 -> B104 1.2 PB
        10:00 HEMO1 sends U=1.2 frame=1.2.3 warns=B104,B101 -> B104 1.2 PB
        10:00 SLIP1 sends U=1.2 says=NOT_STARTED_ELSEWHERE -> C104
        10:00 MOBILE sends U=1.2 -> 0000 1.2 PB
        10:00 MOBILE sends U=1.2 L="Lab 2" -> B104 1.2 PB
        """,
    "a cancelled order leaves the room to the other study, also for earlier times": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.2 PB at=LAB1
        10:05 HEMO1 sends -> C103
        10:10 cancel 1.1
        10:15 HEMO1 sends -> 0000 1.2 PB
        10:15 HEMO1 sends U=1.1 says=CANCELLED -> C101
        10:15 HEMO1 sends P=PA -> C104
        10:15 MOBILE sends P=PA -> C103
        10:16 HEMO1 measured
        10:17 HEMO1 sends at=09:30 -> C103
        """,
    "a cancelled study that is opened again has its old times back": """
        09:00 study 1.1 PA at=LAB1
        10:00 cancel 1.1
        10:10 HEMO1 sends -> C103
        10:20 study 1.1 at=LAB1
        10:21 HEMO1 sends -> 0000 1.1 PA
        10:21 HEMO1 sends U=1.1 -> 0000 1.1 PA
        """,
    "a schedule that expired against the patient's open study": """
        09:00 study 1.4 PA status=scheduled
        09:00 study 1.6 PA status=scheduled planned=2024-05-17T09:00
        +8d09:00 study 1.1 PA at=LAB1
        +8d09:01 MOBILE sends U=1.4 P=PA says=EXPIRED -> C101
        +8d09:01 MOBILE sends P=PA -> 0000 1.1 PA
        +8d09:01 MOBILE sends U=1.6 -> 0000 1.6 PA
        +8d09:02 study 1.4 at=LAB2
        +8d09:03 MOBILE sends U=1.4 -> 0000 1.4 PA
        """,
    "a study that moves into the room is confirmed there and not by what was sent from the room before": """
        09:00 study 1.1 PA at=LAB1
        09:00 study 1.2 PB at=LAB2
        09:50 HEMO2 sends P=PB -> 0000 1.2 PB
        10:00 study 1.2 at=LAB1
        10:02 HEMO1 sends -> C103
        10:03 HEMO2 sends P=PB -> 0000 1.2 PB
        10:04 HEMO1 sends -> C103
        10:05 HEMO1 sends P=PB -> 0000 1.2 PB
        10:06 HEMO1 sends -> 0000 1.2 PB
        10:06 HEMO2 sends -> C103
        """,
    "one patient's second study in the room turns nobody out": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.4 PA at=LAB1 id=S4
        10:05 HEMO1 sends -> C103
        10:05 HEMO1 sends P=PA -> C103
        10:05 HEMO1 sends P=PA S=S4 -> 0000 1.4 PA
        10:06 HEMO1 sends -> C103
        10:06 HEMO1 sends U=1.1 -> 0000 1.1 PA
        """,
    "three in a room and the last is named": """
        09:00 study 1.1 PA at=LAB1
        09:20 study 1.2 PB at=LAB1
        10:00 study 1.3 PC at=LAB1
        10:05 HEMO1 sends P=PC -> 0000 1.3 PC
        10:06 HEMO1 sends -> 0000 1.3 PC
        10:07 HEMO1 measured
        10:08 HEMO1 sends at=09:10 -> 0000 1.1 PA
        10:08 HEMO1 sends at=09:30 -> C103
        10:08 HEMO1 sends at=10:01 -> 0000 1.3 PC
        """,
    "an event from before the arrival confirms nobody": """
        09:00 study 1.1 PA at=LAB1
        09:30 study 1.2 PB at=LAB2
        09:40 HEMO1 measured
        10:00 study 1.2 at=LAB1
        10:05 HEMO1 sends P=PB at=09:50 -> 0000 1.2 PB
        10:06 HEMO1 sends -> C103
        """,
    "a stay does not begin before the last sign of life of the patient there": """
        09:00 study 1.1 PA at=LAB1
        09:45 HEMO1 sends P=PA -> 0000 1.1 PA
        10:00 study 1.2 PB at=LAB1 opened=09:30
        10:01 HEMO1 measured
        10:02 HEMO1 sends at=09:40 -> 0000 1.1 PA
        10:02 HEMO1 sends at=09:50 -> C103
        10:02 HEMO1 sends P=PB at=09:40 -> 0000 1.2 PB
        """,
    "an opening stated for a time when nobody was there": """
        09:00 study 1.1 PA at=LAB1 opened=08:30
        09:10 HEMO1 measured
        09:11 HEMO1 sends at=08:40 -> 0000 1.1 PA
        09:11 HEMO1 sends at=08:27 -> C103
        09:11 HEMO1 sends P=PA at=08:00 finds=before-opening -> 0000 1.1 PA
        """,
    "a closing stated for an earlier time leaves the room to the next from then": """
        09:00 study 1.1 PA at=LAB1
        09:55 study 1.2 PB at=LAB1
        10:00 study 1.1 status=closed closed=09:50
        10:01 HEMO1 sends -> 0000 1.2 PB
        10:02 HEMO1 measured
        10:03 HEMO1 sends at=09:57 -> 0000 1.2 PB
        10:03 HEMO1 sends at=09:40 -> 0000 1.1 PA
        10:03 HEMO1 sends at=09:52:30 -> C103
        10:20 HEMO1 sends P=PA -> 0000 1.1 PA
        10:20:01 HEMO1 sends U=1.1 -> C101
        """,
    "a request that names the patient alone is a sign of life only for who is there": """
        09:00 study 1.1 PA at=LAB1
        09:50 HEMO1 sends P=PB -> C104
        10:00 study 1.2 PB at=LAB1
        10:01 HEMO1 sends -> C103
        10:02 restart
        10:03 HEMO1 sends P=PB -> 0000 1.2 PB
        10:04 restart
        10:05 HEMO1 sends -> 0000 1.2 PB
        """,
}

DECIDED = {
    "where a newer study needs no confirmation, a quiet patient gives way at once": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.2 PB at=LAB1
        10:01 HEMO1 sends -> 0000 1.2 PB
        10:02 HEMO1 sends U=1.1 -> B104 1.1 PA
        10:20 study 1.3 PC at=LAB1
        10:21 HEMO1 sends -> 0000 1.3 PC
        """,
    "where a newer study needs no confirmation, a patient who is alive stays": """
        09:00 study 1.1 PA at=LAB1
        09:50 HEMO1 sends P=PA -> 0000 1.1 PA
        10:00 study 1.2 PB at=LAB1
        10:01 HEMO1 sends -> C103
        10:04 HEMO1 sends P=PA -> 0000 1.1 PA
        10:06 look
        10:06 HEMO1 sends -> C103
        10:18:59 look
        10:18:59 HEMO1 sends -> C103
        10:19 look
        10:19 HEMO1 sends -> 0000 1.2 PB
        """,
}


@told(DECIDED)
def test_rooms_where_turnover_decides(tmp_path: Path, story: str) -> None:
    play(tmp_path, story, replace(POLICY, turnover_decides=True))


@told(ROOMS)
def test_rooms(tmp_path: Path, story: str) -> None:
    play(tmp_path, story)
