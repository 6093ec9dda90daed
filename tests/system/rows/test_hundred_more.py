"""More stories, worked out from the contract before they were run: rooms over restarts, names of places, known entries, one against two."""

from pathlib import Path

from tests.system.rows.stories import play, told

MORE = {
    "a turnover that falls due while the server is down": """
        09:00 study 1.1 PA at=LAB1
        09:55 HEMO1 sends P=PA -> 0000 1.1 PA
        10:00 study 1.2 PB at=LAB1
        10:05 HEMO1 sends P=PB -> 0000 1.2 PB
        10:06 restart
        10:07 HEMO1 sends -> C103
        10:08 restart
        10:12 look
        10:13 HEMO1 sends -> 0000 1.2 PB
        10:14 restart
        10:15 HEMO1 sends at=09:59 -> 0000 1.1 PA
        """,
    "a patient who is moved away and back while another was there": """
        09:00 study 1.1 PA at=LAB1
        09:30 study 1.1 at=LAB2
        09:35 study 1.2 PB at=LAB1
        09:50 close 1.2
        09:55 study 1.1 at=LAB1
        10:00 HEMO1 measured
        10:01 HEMO1 sends at=09:20 -> 0000 1.1 PA
        10:01 HEMO1 sends at=09:33:30 -> 0000 1.2 PB
        10:01 HEMO1 sends at=09:40 -> 0000 1.2 PB
        10:01 HEMO1 sends at=09:58 -> 0000 1.1 PA
        10:01 HEMO1 sends at=09:20,09:58 -> 0000 1.1 PA
        10:01 HEMO1 sends at=09:40,09:58 -> C103
        10:01 HEMO2 sends P=PA at=09:40 -> 0000 1.1 PA
        10:01 HEMO1 sends P=PB at=09:40 -> 0000 1.2 PB
        """,
    "a patient comes back into a room where the next one is confirmed": """
        09:00 study 1.1 PA at=LAB1
        09:30 study 1.1 at=LAB2
        09:35 study 1.2 PB at=LAB1
        09:40 HEMO1 sends P=PB -> 0000 1.2 PB
        09:50 study 1.1 at=LAB1
        09:51 HEMO1 sends -> C103
        10:00 look
        10:01 HEMO1 sends -> C103
        10:02 HEMO1 sends P=PA -> 0000 1.1 PA
        10:03 HEMO1 sends -> 0000 1.1 PA
        """,
    "an opening backdated into the time of the patient before": """
        09:00 study 1.1 PA at=LAB1
        09:50 HEMO1 sends P=PA -> 0000 1.1 PA
        10:00 close 1.1
        10:10 study 1.2 PB at=LAB1 opened=09:30
        10:11 HEMO1 measured
        10:12 HEMO1 sends at=09:40 -> 0000 1.1 PA
        10:12 HEMO1 sends at=09:55 -> C103
        10:12 HEMO1 sends at=10:01 -> 0000 1.2 PB
        10:12 HEMO1 sends P=PA at=09:55 -> 0000 1.1 PA
        10:12 HEMO1 sends P=PB at=09:35 -> 0000 1.2 PB
        """,
    "an open study whose opening is said to have been earlier takes nothing from the one before": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:10 study 1.2 PB at=LAB1
        10:12 study 1.2 opened=08:30
        10:13 HEMO1 measured
        10:14 HEMO1 sends at=08:40 -> C103
        10:14 HEMO1 sends at=09:30 -> C103
        10:14 HEMO1 sends P=PA at=09:30 -> 0000 1.1 PA
        10:14 HEMO1 sends at=10:05 -> 0000 1.2 PB
        """,
    "a study of which the server hears when it is over": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        11:00 study 1.2 PB status=closed at=LAB1 opened=10:10 closed=10:40
        11:05 HEMO1 measured
        11:06 HEMO1 sends at=10:20 -> 0000 1.2 PB
        11:06 HEMO1 sends at=09:50 -> 0000 1.1 PA
        11:06 HEMO1 sends P=PB at=10:20 -> 0000 1.2 PB
        11:10:01 HEMO1 sends U=1.2 at=10:20 -> C101
        11:10:01 PUMP1 sends at=10:20 -> C103
        """,
    "a closing that is told too late for its grace": """
        09:00 study 1.1 PA at=LAB1
        10:25 study 1.1 status=closed closed=09:50
        10:26 HEMO1 sends U=1.1 at=09:40 -> C101
        10:26 HEMO1 sends P=PA at=09:40 -> C103
        10:27 HEMO1 measured
        10:28 HEMO1 sends P=PA at=09:40 -> 0000 1.1 PA
        10:28 HEMO1 sends P=PA at=10:20 -> C103
        """,
    "a room by each of its names, and a room that nobody configured": """
        09:00 study 1.1 PA at=CATH^LAB1
        09:00 study 1.2 PB at=OR7
        10:00 HEMO1 sends -> 0000 1.1 PA
        10:00 HEMO1 sends L=LAB1 -> 0000 1.1 PA
        10:00 MOBILE sends L=" Lab 1 " -> 0000 1.1 PA
        10:00 MOBILE sends L="lab 1" says=UNKNOWN_LOCATION -> C103
        10:00 MOBILE sends L=OR7 says=UNKNOWN_LOCATION -> C103
        10:00 MOBILE sends P=PB L=OR7 finds=location-unknown -> 0000 1.2 PB
        10:00 HEMO1 sends U=1.2 finds=device-location-differs -> 0000 1.2 PB
        10:00 HEMO1 sends U=1.2 L=LAB1 warns=B104 -> B104 1.2 PB
        """,
    "a coerced study is sent again with its entries known": """
        09:00 study 1.1 PA at=LAB1 id=S1
        09:00 study 1.4 PA status=scheduled
        10:00 HEMO1 sends U=1.4 obs=2.1 at=09:59 -> B102 1.1 PA
        10:01 HEMO1 sends U=1.4 obs=2.1 at=09:59 -> 0000 1.1 PA adds=0
        10:02 HEMO1 sends U=1.4 obs=2.1,2.2 at=09:59,10:01 -> B102 1.1 PA adds=1
        10:03 HEMO1 sends U=9.9 obs=2.1 at=09:59 -> 0000 1.1 PA adds=0
        10:04 HEMO1 sends S=S9 obs=2.1 at=09:59 -> C104
        10:04 HEMO1 sends S=S1 obs=2.1 at=09:59 -> 0000 1.1 PA adds=0
        """,
    "a device that logs mismatches does not move known entries": """
        09:00 study 1.1 PA at=LAB1
        09:00 study 1.2 PB at=LAB2
        10:00 LOG1 sends P=PA obs=2.1 at=09:59 -> 0000 1.1 PA
        10:01 LOG1 sends P=PB obs=2.1 at=09:59 -> C104
        10:02 LOG1 sends P=PB obs=2.1,2.2 at=09:59,10:00 -> C104
        10:03 LOG1 sends U=1.1 P=PB obs=2.3 at=10:00 -> B104 1.1 PA
        """,
    "known entries under one hospital's ID, sent as the other's": """
        09:00 study 1.1 7 issuer=HOSP at=LAB1
        09:00 study 1.2 7 issuer=EAST at=LAB2
        10:00 HEMO1 sends P=7 obs=2.1 at=09:59 -> 0000 1.1 7
        10:01 HEMO1 sends P=7 issuer=EAST obs=2.1 at=09:59 -> C104
        10:01 HEMO1 sends P=7 issuer=NOWHERE obs=2.1 at=09:59 -> C104
        10:01 HEMO1 sends P=7 issuer=Hospital obs=2.1 at=09:59 -> 0000 1.1 7 adds=0
        """,
    "known entries after a scheduled study was opened, closed and forgotten": """
        09:00 study 1.1 PA status=scheduled at=LAB1
        09:10 HEMO1 sends U=1.1 obs=2.1 at=09:09 -> 0000 1.1 PA
        09:20 cancel 1.1
        09:21 HEMO1 sends U=1.1 obs=2.1 at=09:09 as=again -> 0000 1.1 PA adds=0
        09:22 HEMO1 sends U=1.1 obs=2.1,2.2 at=09:09,09:20 -> C101
        09:23 restart
        +1d09:00 HEMO1 resends again -> 0000 1.1 PA adds=0
        """,
    "a refused log is no known one": """
        09:00 study 1.1 PA at=LAB1
        10:00 HEMO1 sends P=PB obs=2.1,2.2 at=09:58,09:59 -> C104
        10:01 HEMO1 sends P=PA obs=2.1 at=09:58 -> 0000 1.1 PA
        10:02 HEMO1 sends P=PA obs=2.2,2.1 at=09:59,09:58 -> 0000 1.1 PA adds=1
        """,
    "two entries with one Observation UID in one request": """
        09:00 study 1.1 PA at=LAB1
        10:00 HEMO1 sends P=PA obs=2.1,2.1 words=same,same at=09:59,09:59 -> 0000 1.1 PA adds=1
        10:01 HEMO1 sends P=PA obs=2.2,2.2 words=one,other at=09:59,09:59 -> 0000 1.1 PA
        """,
    "an answer lost before a merge, and the log of the day after it": """
        09:00 study 1.1 PA at=LAB1
        10:00 HEMO1 sends P=PA obs=2.1 at=09:59 as=log unheard -> 0000 1.1 PA
        10:01 merge PX PA
        10:02 patient PA
        10:03 study 1.2 PA at=LAB2
        10:04 HEMO1 resends log unheard -> 0000 1.1 PX retry
        10:05 HEMO1 sends P=PA obs=2.1,2.2 at=09:59,10:04 -> C104
        10:06 HEMO1 resends log -> 0000 1.1 PX retry
        10:07 HEMO1 resends log -> C104
        """,
    "a strict device of times to the minute and out of order": """
        09:00 study 1.1 PA at=LAB1
        10:00 STRICT1 sends P=PA dt=202405140959+0000 -> C102
        10:00 HEMO1 sends P=PA dt=202405140959+0000 -> 0000 1.1 PA
        10:00 STRICT1 sends P=PA at=09:59,09:58 -> C102
        10:00 HEMO1 sends at=09:59,09:58 -> 0000 1.1 PA
        10:00 HEMO1 sends P=PA dt=2024051409+0000 -> C102
        """,
    "a cancelled order is scheduled again for another patient": """
        09:00 study 1.2 PA status=scheduled
        09:10 cancel 1.2
        09:11 MOBILE sends U=1.2 -> C101
        09:20 study 1.2 PB status=scheduled
        09:21 MOBILE sends U=1.2 P=PA -> C104
        09:22 MOBILE sends U=1.2 P=PB -> 0000 1.2 PB
        09:23 cancel 1.2
        09:24 refuses study 1.2 PA status=scheduled
        """,
    "the first patient is named from his new room after the turnover": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.2 PB at=LAB1
        10:05 HEMO1 sends P=PB -> 0000 1.2 PB
        10:06 HEMO2 sends P=PA -> C103
        10:07 study 1.1 at=LAB2
        10:08 HEMO2 sends P=PA -> 0000 1.1 PA
        10:09 HEMO2 sends -> 0000 1.1 PA
        10:10 HEMO1 sends -> 0000 1.2 PB
        """,
    "two rooms turn over at once, each by its own patient": """
        09:00 study 1.1 PA at=LAB1
        09:00 study 1.2 PB at=LAB2
        10:00 study 1.3 PC at=LAB1
        10:00 study 1.4 PD at=LAB2
        10:05 HEMO1 sends P=PD -> 0000 1.4 PD
        10:06 HEMO1 sends -> C103
        10:06 HEMO2 sends -> C103
        10:07 HEMO2 sends P=PD -> 0000 1.4 PD
        10:08 HEMO2 sends -> 0000 1.4 PD
        10:08 HEMO1 sends -> C103
        10:09 BOTH sends P=PC -> 0000 1.3 PC
        10:10 HEMO1 sends -> C103
        10:11 BOTH sends P=PC L="Lab 1" -> 0000 1.3 PC
        10:12 HEMO1 sends -> 0000 1.3 PC
        """,
    "a patient with a study in each room is named there, and only that room turns over": """
        09:00 study 1.1 PA at=LAB1
        09:00 study 1.2 PB at=LAB2
        10:00 study 1.3 PC at=LAB1
        10:00 study 1.5 PC at=LAB2
        10:05 HEMO1 sends P=PC -> 0000 1.3 PC
        10:06 HEMO1 sends -> 0000 1.3 PC
        10:06 HEMO2 sends -> C103
        """,
    "a sign of life that comes late by an unmeasured clock, after the turnover": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.2 PB at=LAB1
        10:05 HEMO1 sends P=PB -> 0000 1.2 PB
        10:06 HEMO1 sends -> 0000 1.2 PB
        10:07 PUMP1 sends P=PA at=10:04 -> 0000 1.1 PA
        10:08 HEMO1 measured
        10:09 HEMO1 sends at=10:03 -> C103
        10:09 HEMO1 sends at=10:04:30 -> 0000 1.2 PB
        10:09 HEMO1 sends -> 0000 1.2 PB
        """,
    "a sign of life that comes late by a measured clock, after the turnover": """
        09:00 study 1.1 PA at=LAB1
        09:10 PUMP1 measured
        10:00 study 1.2 PB at=LAB1
        10:05 HEMO1 sends P=PB -> 0000 1.2 PB
        10:07 PUMP1 sends P=PA at=10:04 -> 0000 1.1 PA
        10:08 HEMO1 measured
        10:09 HEMO1 sends at=10:03 -> C103
        10:09 HEMO1 sends -> 0000 1.2 PB
        """,
    "a patient who was turned out goes on being named there": """
        09:00 study 1.1 PA at=LAB1
        10:00 study 1.2 PB at=LAB1
        10:05 PUMP1 sends P=PB -> 0000 1.2 PB
        10:06 HEMO1 sends P=PA -> 0000 1.1 PA
        10:07 HEMO1 sends P=PA -> 0000 1.1 PA
        10:08 HEMO1 sends -> 0000 1.2 PB
        """,
    "a study that is opened again by mistake in the next patient's room": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:05 study 1.2 PB at=LAB1
        10:10 HEMO1 sends P=PB -> 0000 1.2 PB
        10:20 study 1.1 at=LAB1
        10:21 HEMO1 sends -> C103
        10:22 HEMO1 sends P=PB -> 0000 1.2 PB
        10:40 look
        10:41 HEMO1 sends -> C103
        10:45 close 1.1
        10:46 HEMO1 sends -> 0000 1.2 PB
        10:47 HEMO1 measured
        10:48 HEMO1 sends at=10:12 -> 0000 1.2 PB
        10:48 HEMO1 sends at=10:30 -> C103
        """,
    "an order that is cancelled in its grace": """
        09:00 study 1.1 PA at=LAB1
        10:00 close 1.1
        10:05 HEMO1 sends U=1.1 as=a unheard -> 0000 1.1 PA
        10:06 cancel 1.1
        10:07 HEMO1 sends P=PA -> C103
        10:07 HEMO1 sends at=09:30 -> C103
        10:08 HEMO1 resends a -> 0000 1.1 PA retry
        10:09 HEMO1 resends a -> C101
        """,
    "a study that took an event before it was opened there": """
        09:00 study 1.1 PA status=scheduled at=LAB1
        09:01 HEMO1 sends U=1.1 -> 0000 1.1 PA
        09:02 HEMO1 sends -> C103
        09:03 study 1.1 at=LAB1 opened=08:55
        09:04 HEMO1 sends -> 0000 1.1 PA
        09:04 HEMO1 sends at=08:56 -> 0000 1.1 PA
        """,
    "a room and a Study ID of another patient, with and without a Patient ID": """
        09:00 study 1.1 PA at=LAB1 id=S1
        09:00 study 1.2 PB at=LAB2 id=S2
        10:00 BOTH sends P=PB L="Lab 1" -> B104 1.2 PB
        10:00 BOTH sends S=S2 L="Lab 1" -> C104
        10:00 MOBILE sends U=1.2 S=S1 L="Lab 1" warns=B104 -> B104 1.2 PB
        10:00 MOBILE sends U=1.2 P=PB S=S1 L="Lab 1" -> C104
        """,
}


@told(MORE)
def test_more(tmp_path: Path, story: str) -> None:
    play(tmp_path, story)
