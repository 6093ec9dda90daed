"""The tables of PS3.16 that the Procedure Log needs, row by row, independent of the declarations in `plscp.templates`.

Columns: row | nesting | relationship | value type | concept | VM | requirement | value or units | remarks.
Remarks: `?` a reconstructed row; `?concept` and the like: that cell is inference; `IFF`, `IF`, `XOR`: conditional;
`conflict`: PS3.3 Table A.35.7-2 forbids the row as it stands; the kind of entry, where a table has several.
INCLUDE rows name the template in the concept column. `by300`: the row includes TID 300, whose row 1 the number is:
concept and units are the $Measurement and $Units that it gives. Whether the order of rows is significant was not read of
every table (`unread`): it is not taken to be.
"""

from typing import NamedTuple

TABLES = """
TID 300 extensible ordered
1  |  |  | NUM | $Measurement | 1 | M | UNITS $Units |
2  | > | HAS CONCEPT MOD | CODE | ANY | 1-n | U | |
3  | > | HAS CONCEPT MOD | CODE | EV 370129005 SCT | 1 | U | |
4  | > | HAS CONCEPT MOD | CODE | EV 121401 DCM | 1 | U | |
5  | > | HAS CONCEPT MOD | CODE | EV 363698007 SCT | 1-n | U | |
6  | >> | HAS CONCEPT MOD | CODE | EV 272741003 SCT | 1 | U | DCID 244 | ?value
7  | >> | HAS CONCEPT MOD | CODE | EV 106233006 SCT | 1 | U | |
8  | > |  | INCLUDE | 310 | 1 | U | |
9  | > | INFERRED FROM | NUM | ANY | 1-n | UC | | XOR conflict
10 | > | R-INFERRED FROM | NUM | ANY | 1-n | UC | | XOR
11 | > |  | INCLUDE | 315 | 1 | UC | | XOR
12 | > | INFERRED FROM | TEXT | DCID 228 | 1 | UC | | XOR conflict
13 | > |  | INCLUDE | 320 | 1-n | U | |
14 | > |  | INCLUDE | 321 | 1-n | U | |
15 | > |  | INCLUDE | 1000 | 1 | U | |
16 | > | HAS CONCEPT MOD | TEXT | EV 121050 DCM | 1 | U | |
17 | > |  | INCLUDE | 4108 | 1 | U | |
18 | > | INFERRED FROM | COMPOSITE | EV 126100 DCM | 1 | U | |
19 | > |  | INCLUDE | 4019 | 1 | U | |

TID 310 extensible ordered
1  |  | HAS PROPERTIES | CODE | EV 121402 DCM | 1 | U | DCID 222 |
2  |  |  | INCLUDE | 311 | 1 | U | |
3  |  |  | INCLUDE | 312 | 1 | U | |
4  |  | HAS PROPERTIES | CODE | EV 121403 DCM | 1 | U | DCID 220 |
5  |  | HAS PROPERTIES | NUM | DCID 225 | 1-n | U | |
6  |  | HAS PROPERTIES | CODE | EV 121404 DCM | 1 | U | DCID 224 |

TID 311 extensible ordered
1  |  | HAS PROPERTIES | NUM | DCID 221 | 1-n | M | |
2  |  | HAS PROPERTIES | TEXT | EV 121405 DCM | 1 | U | |
3  |  | HAS PROPERTIES | TEXT | EV 121406 DCM | 1 | UC | | XOR
4  |  | HAS PROPERTIES | CODE | EV 121406 DCM | 1 | UC | | XOR

TID 312 extensible ordered
1  |  | HAS PROPERTIES | NUM | DCID 223 | 1-n | M | |
2  |  | HAS PROPERTIES | TEXT | EV 121407 DCM | 1 | U | |
3  |  | HAS PROPERTIES | TEXT | EV 121408 DCM | 1 | UC | | XOR
4  |  | HAS PROPERTIES | CODE | EV 121408 DCM | 1 | UC | | XOR

TID 315 extensible ordered
1  |  | INFERRED FROM | CODE | DCID 228 | 1 | M | | conflict
2  | > | HAS PROPERTIES | NUM | ANY | 1-n | U | |
3  | > | R-HAS PROPERTIES | NUM | ANY | 1-n | U | |

TID 320 non-extensible ordered
1  |  | INFERRED FROM | IMAGE | ANY | 1 | MC | | XOR
2  |  | R-INFERRED FROM | IMAGE | ANY | 1 | MC | | XOR
3  |  | INFERRED FROM | SCOORD | ANY | 1 | MC | | XOR
4  | > | SELECTED FROM | IMAGE | ANY | 1 | MC | | XOR
5  | > | R-SELECTED FROM | IMAGE | ANY | 1 | MC | | XOR
6  |  | INFERRED FROM | SCOORD3D | ANY | 1 | MC | | XOR

TID 321 non-extensible ordered
1  |  | INFERRED FROM | WAVEFORM | ANY | 1 | MC | | XOR
2  |  | R-INFERRED FROM | WAVEFORM | ANY | 1 | MC | | XOR
3  |  | INFERRED FROM | TCOORD | ANY | 1 | MC | | XOR
4  | > | SELECTED FROM | WAVEFORM | ANY | 1 | MC | | XOR
5  | > | R-SELECTED FROM | WAVEFORM | ANY | 1 | MC | | XOR

TID 1000 non-extensible ordered
1  |  | HAS OBS CONTEXT | CODE | EV 121001 DCM | 1 | M | EV 121003 DCM EV 121004 DCM |
2  |  | HAS OBS CONTEXT | COMPOSITE | EV 121002 DCM | 1 | MC | | IF conflict
3  |  |  | INCLUDE | 1001 | 1 | M | |

TID 1001 non-extensible ordered
1  |  |  | INCLUDE | 1002 | 1-n | MC | | IF
2  |  |  | INCLUDE | 1005 | 1 | MC | | IF
3  |  |  | INCLUDE | 1006 | 1 | MC | | IF

TID 1002 non-extensible ordered
1  |  | HAS OBS CONTEXT | CODE | EV 121005 DCM | 1 | MC | DCID 270 | IF
2  |  |  | INCLUDE | 1003 | 1 | MC | | IFF
3  |  |  | INCLUDE | 1004 | 1 | MC | | IFF

TID 1003 non-extensible ordered
1  |  | HAS OBS CONTEXT | PNAME | EV 121008 DCM | 1 | M | |
1a |  | HAS OBS CONTEXT | TEXT | EV 128774 DCM | 1 | U | |
2  |  | HAS OBS CONTEXT | TEXT | EV 121009 DCM | 1 | U | |
3  |  | HAS OBS CONTEXT | CODE | EV 121010 DCM | 1 | U | BCID 7452 |
4  |  | HAS OBS CONTEXT | CODE | EV 121011 DCM | 1 | U | BCID 7453 |
5  | > | HAS OBS CONTEXT | TEXT | EV 128775 DCM | 1 | U | |

TID 1004 non-extensible ordered
1  |  | HAS OBS CONTEXT | UIDREF | EV 121012 DCM | 1 | M | |
2  |  | HAS OBS CONTEXT | TEXT | EV 121013 DCM | 1 | U | |
3  |  | HAS OBS CONTEXT | TEXT | EV 121014 DCM | 1 | U | |
4  |  | HAS OBS CONTEXT | TEXT | EV 121015 DCM | 1 | U | |
5  |  | HAS OBS CONTEXT | TEXT | EV 121016 DCM | 1 | U | |
6  |  | HAS OBS CONTEXT | TEXT | EV 121017 DCM | 1 | U | |
7  |  | HAS OBS CONTEXT | CODE | EV 113876 DCM | 1-n | U | BCID 7445 |
8  |  | HAS OBS CONTEXT | TEXT | EV 110119 DCM | 1 | U | |

TID 1005 non-extensible ordered
1  |  | HAS OBS CONTEXT | UIDREF | EV 121018 DCM | 1 | U | |
2  |  | HAS OBS CONTEXT | UIDREF | EV 121019 DCM | 1-n | U | |
3  |  | HAS OBS CONTEXT | TEXT | EV 121020 DCM | 1 | U | |
4  | > | HAS CONCEPT MOD | TEXT | EV 110190 DCM | 1 | U | |
5  |  | HAS OBS CONTEXT | TEXT | EV 121021 DCM | 1 | U | |
6  | > | HAS CONCEPT MOD | TEXT | EV 110190 DCM | 1 | U | |
7  |  | HAS OBS CONTEXT | TEXT | EV 121022 DCM | 1 | U | |
8  | > | HAS CONCEPT MOD | TEXT | EV 110190 DCM | 1 | U | |
9  |  | HAS OBS CONTEXT | CODE | EV 121023 DCM | 1-n | U | |

TID 1006 non-extensible ordered
1  |  | HAS OBS CONTEXT | CODE | EV 121024 DCM | 1 | MC | DCID 271 | IF
2  |  |  | INCLUDE | 1007 | 1 | UC | | IFF
3  |  |  | INCLUDE | 1008 | 1 | UC | | IFF
4  |  |  | INCLUDE | 1009 | 1 | UC | | IFF
5  |  |  | INCLUDE | 1010 | 1 | UC | | IFF

TID 1007 non-extensible ordered
1  |  | HAS OBS CONTEXT | UIDREF | EV 121028 DCM | 1 | U | |
2  |  | HAS OBS CONTEXT | PNAME | EV 121029 DCM | 1 | MC | | IF
3  |  | HAS OBS CONTEXT | CODE | EV 121030 DCM | 1 | MC | | IF
4  |  | HAS OBS CONTEXT | DATE | EV 121031 DCM | 1 | U | | conflict
5  |  | HAS OBS CONTEXT | CODE | EV 121032 DCM | 1 | U | DCID 7455 |
6  |  | HAS OBS CONTEXT | NUM | EV 121033 DCM | 1 | U | UNITS DCID 7456 |
7  |  | HAS OBS CONTEXT | CODE | EV 121034 DCM | 1 | MC | DCID 7454 | IF
8  |  | HAS OBS CONTEXT | CODE | EV 121035 DCM | 1 | U | DCID 7480 |
9  |  | HAS OBS CONTEXT | CODE | EV 415229000 SCT | 1 | U | DCID 6099 |

TID 1008 non-extensible ordered
1  |  | HAS OBS CONTEXT | PNAME | EV 121036 DCM | 1 | U | |
2  |  | HAS OBS CONTEXT | UIDREF | EV 121028 DCM | 1 | U | |
3  |  | HAS OBS CONTEXT | TEXT | EV 121030 DCM | 1 | MC | | IF
4  |  | HAS OBS CONTEXT | TEXT | EV 11951-1 LN | 1 | MC | | IF
5  |  | HAS OBS CONTEXT | NUM | EV 11878-6 LN | 1 | UC | UNITS EV 1 UCUM | XOR
6  |  | HAS OBS CONTEXT | NUM | EV 55281-0 LN | 1 | UC | UNITS EV 1 UCUM | XOR

TID 1009 non-extensible ordered
1  |  | HAS OBS CONTEXT | UIDREF | EV 121039 DCM | 1 | U | |
2  |  |  | INCLUDE | 1007 | 1 | UC | | IFF
3  |  | HAS OBS CONTEXT | TEXT | EV 121041 DCM | 1 | U | |
4  |  | HAS OBS CONTEXT | TEXT | EV 111724 DCM | 1 | U | |
5  |  | HAS OBS CONTEXT | CODE | EV 371439000 SCT | 1 | U | DCID 8103 | conflict
6  |  | HAS OBS CONTEXT | TEXT | EV 111700 DCM | 1 | U | |

TID 1010 non-extensible ordered
1  |  | HAS OBS CONTEXT | TEXT | EV 121193 DCM | 1 | M | |
2  |  | HAS OBS CONTEXT | UIDREF | EV 121198 DCM | 1 | U | |
3  |  | HAS OBS CONTEXT | TEXT | EV 121194 DCM | 1 | U | |
4  |  | HAS OBS CONTEXT | TEXT | EV 121195 DCM | 1 | U | |
5  |  | HAS OBS CONTEXT | TEXT | EV 121196 DCM | 1 | U | |
6  |  | HAS OBS CONTEXT | TEXT | EV 121197 DCM | 1 | U | |

TID 3001 extensible unordered
1  |  |  | CONTAINER | DCID 3400 | 1 | M | |
2  | > |  | INCLUDE | 1002 | 1-n | M | |
3  | > |  | INCLUDE | 3601 | 1 | M | |
4  | > | HAS ACQ CONTEXT | TEXT | EV 121121 DCM | 1 | U | |
5  | > | HAS ACQ CONTEXT | TEXT | EV 121122 DCM | 1-n | U | |
6  | > | CONTAINS | TEXT | DCID 3401 | 1-n | U | | note
7  | >> |  | INCLUDE | 3010 | 1 | U | | note
8  | > | CONTAINS | CODE | EV 121123 DCM | 1-n | U | DCID 3402 | patient_event
9  | >> |  | INCLUDE | 3010 | 1 | U | | patient_event
10 | > | CONTAINS | PNAME | DCID 3404 | 1-n | U | | staff_action
11 | >> |  | INCLUDE | 3010 | 1 | U | | staff_action
12 | > | CONTAINS | TEXT | DCID 3427 | 1-n | U | | equipment_event
13 | >> |  | INCLUDE | 3010 | 1 | U | | equipment_event
14 | > | CONTAINS | INCLUDE | 3100 | 1-n | U | |
15 | > | CONTAINS | INCLUDE | 3101 | 1-n | U | |
16 | > | CONTAINS | INCLUDE | 3102 | 1-n | U | |
17 | > | CONTAINS | INCLUDE | 3103 | 1-n | U | |
18 | > | CONTAINS | INCLUDE | 3104 | 1-n | U | |
19 | > | CONTAINS | INCLUDE | 3105 | 1-n | U | |
20 | > | CONTAINS | INCLUDE | 3106 | 1-n | U | |
21 | > | CONTAINS | INCLUDE | 3107 | 1-n | U | | ?concept
22 | > | CONTAINS | INCLUDE | 3108 | 1-n | U | | ?concept
23 | > | CONTAINS | CODE | EV 116224001 SCT | 1-n | U | DCID 3413 | complication ?value
24 | >> |  | INCLUDE | 3010 | 1 | U | | complication ?
25 | > | CONTAINS | INCLUDE | 3109 | 1-n | U | | ?concept
26 | > | CONTAINS | INCLUDE | 3110 | 1-n | U | | ?concept
27 | > | CONTAINS | INCLUDE | 3111 | 1-n | U | | ?concept
28 | > | CONTAINS | INCLUDE | 3112 | 1-n | U | | ?concept
29 | > | CONTAINS | INCLUDE | 3113 | 1-n | U | | ?concept
30 | > | CONTAINS | INCLUDE | 3114 | 1-n | U | | ?
31 | > | CONTAINS | INCLUDE | 3115 | 1-n | U | | ?

TID 3010 extensible unread
1  |  |  | INCLUDE | 1000 | 1 | U | | ?
2  |  | HAS PROPERTIES | TEXT | EV 121106 DCM | 1 | U | |
3  |  | HAS OBS CONTEXT | TEXT | EV 121124 DCM | 1-n | U | |
4  |  | HAS OBS CONTEXT | TEXT | EV 121151 DCM | 1-n | U | |
5  |  | HAS OBS CONTEXT | DATETIME | EV 121125 DCM | 1 | U | |
6  |  | INFERRED FROM | IMAGE | ANY | 1-n | U | |
7  |  | INFERRED FROM | WAVEFORM | ANY | 1-n | U | |
8  |  | INFERRED FROM | COMPOSITE | ANY | 1-n | U | |
9  |  | HAS OBS CONTEXT | CODE | EV 121135 DCM | 1 | U | DCID 3430 | ?value

TID 3100 extensible ordered procedure_action
1  |  |  | CODE | DCID 3421 | 1 | M | BCID 3405 | ?concept ?value
2  | > | HAS PROPERTIES | TEXT | EV 121124 DCM | 1 | M | |
3  | > | HAS PROPERTIES | PNAME | BCID 7453 | 1-n | U | | ?concept
4  | > | HAS PROPERTIES | NUM | EV 121128 DCM | 1 | U | |
5  | > |  | INCLUDE | 3010 | 1 | U | | ?
6  | > | HAS PROPERTIES | UIDREF | EV 121126 DCM | 1 | MC | | IFF
7  | > | HAS PROPERTIES | UIDREF | EV 121127 DCM | 1 | MC | | IFF

TID 3101 extensible ordered image_acquired
1  |  |  | IMAGE | EV 121138 DCM | 1 | M | |
2  | > | HAS ACQ CONTEXT | UIDREF | EV 112002 DCM | 1 | M | |
3  | > | HAS ACQ CONTEXT | CODE | EV 121139 DCM | 1 | M | DCID 29 |
4  | > | HAS PROPERTIES | NUM | EV 121140 DCM | 1 | U | |
5  | > | HAS PROPERTIES | TEXT | EV 121141 DCM | 1 | U | |
6  | > | HAS ACQ CONTEXT | NUM | EV 112011 DCM | 1 | U | UNITS EV deg UCUM |
7  | > | HAS ACQ CONTEXT | NUM | EV 112012 DCM | 1 | U | UNITS EV deg UCUM |
8  | > |  | INCLUDE | 3010 | 1 | U | |

TID 3102 extensible ordered waveform_acquired
1  |  |  | WAVEFORM | EV 121143 DCM | 1 | M | |
2  | > | HAS ACQ CONTEXT | CODE | EV 121139 DCM | 1 | M | DCID 29 |
3  | > | HAS ACQ CONTEXT | NUM | EV 121142 DCM | 1 | U | |
4  | > |  | INCLUDE | 3010 | 1 | U | |

TID 3103 extensible ordered object_referenced
1  |  |  | COMPOSITE | BCID 3407 | 1 | M | |
2  | > | HAS PROPERTIES | CODE | EV 121144 DCM | 1 | MC | | IFF
3  | > |  | INCLUDE | 3010 | 1 | U | |

TID 3104 extensible ordered consumable
1  |  |  | CODE | DCID 3408 | 1 | M | |
2  | > | HAS PROPERTIES | TEXT | DCID 3426 | 1-n | U | |
3  | > | HAS PROPERTIES | NUM | EV 121146 DCM | 1 | U | |
4  | > | HAS PROPERTIES | CODE | EV 121147 DCM | 1 | U | |
5  | > |  | INCLUDE | 3010 | 1 | U | |

TID 3105 extensible ordered lesion_identified
1  |  |  | TEXT | EV 121151 DCM | 1 | M | |
2  | > | HAS PROPERTIES | CODE | EV 363698007 SCT | 1 | M | DCID 3604 |
3  | >> | HAS CONCEPT MOD | CODE | EV 106233006 SCT | 1 | U | DCID 3019 |
4  | > | HAS PROPERTIES | CODE | EV 121153 DCM | 1 | U | DCID 3418 |
5  | > | HAS PROPERTIES | NUM | EV 408715008 SCT | 1 | U | UNITS EV % UCUM |
6  | >> | HAS CONCEPT MOD | CODE | EV 129085009 SCT | 1 | M | EV 128955008 SCT |
7  | >> | HAS CONCEPT MOD | CODE | EV 121401 DCM | 1 | U | DCID 3745 |
8  | > | HAS PROPERTIES | CODE | EV 122109 DCM | 1 | UC | DCID 3713 | IFF
9  | > | HAS PROPERTIES | CODE | EV 122131 DCM | 1 | U | DCID 3714 |
10 | > | HAS PROPERTIES | CODE | EV 129737002 SCT | 1 | U | DCID 3715 |
11 | > | HAS PROPERTIES | CODE | EV 122134 DCM | 1-n | U | DCID 3712 |
12 | > | HAS PROPERTIES | CODE | EV 122132 DCM | 1 | U | DCID 3716 | ?value
13 | > | HAS PROPERTIES | IMAGE | DT 121080 DCM | 1 | U | | conflict
14 | > |  | INCLUDE | 3010 | 1 | U | | ?

TID 3106 extensible ordered drug_administered
1  |  |  | CODE | DCID 3409 | 1 | M | BCID 10 BCID 12 |
2  | > | HAS PROPERTIES | TEXT | EV 121145 DCM | 1 | U | |
3  | > | HAS PROPERTIES | CODE | EV 410675002 SCT | 1 | U | BCID 11 |
4  | > | HAS PROPERTIES | NUM | DCID 3410 | 1-n | U | |
5  | > | HAS PROPERTIES | PNAME | EV 121152 DCM | 1 | U | |
6  | > |  | INCLUDE | 3010 | 1 | U | |

TID 3107 extensible ordered device_used
1  |  |  | CODE | DCID 3422 | 1 | M | BCID 3429 |
2  | > | HAS PROPERTIES | CODE | EV 121150 DCM | 1-n | U | |
3  | > | HAS PROPERTIES | TEXT | EV 121145 DCM | 1 | U | |
4  | > | HAS PROPERTIES | NUM | DCID 3423 | 1-n | U | |
5  | > | HAS PROPERTIES | CODE | EV 363704007 SCT | 1 | U | BCID 3630 |
6  | > | HAS CONCEPT MOD | CODE | EV 363703001 SCT | 1 | U | DT 121155 DCM |
7  | > |  | INCLUDE | 3010 | 1 | U | |

TID 3108 extensible ordered intervention
1  |  |  | CODE | EV 122090 DCM | 1 | M | DCID 3412 |
2  | > | HAS PROPERTIES | CODE | EV 363704007 SCT | 1 | M | DCID 3604 |
3  | >> | HAS CONCEPT MOD | CODE | EV 106233006 SCT | 1 | U | DCID 3019 |
4  | > | HAS PROPERTIES | TEXT | EV 121154 DCM | 1 | M | |
5  | > | HAS PROPERTIES | CODE | EV 116682006 SCT | 1-n | U | BCID 3411 |
6  | >> | HAS CONCEPT MOD | CODE | EV 122111 DCM | 1 | MC | DCID 230 | IF
7  | > | HAS PROPERTIES | NUM | DCID 3425 | 1-n | U | |
8  | > | HAS PROPERTIES | IMAGE | BCID 7003 | 1 | U | | conflict
9  | > |  | INCLUDE | 3010 | 1 | U | |

TID 3109 extensible unread
1  |  |  | NUM | ANY | 1 | U | | measurement
2  | > |  | INCLUDE | 3010 | 1 | U | | measurement ?
3  | > |  | INCLUDE | 310 | 1 | U | | measurement ?
4  |  |  | CODE | ANY | 1 | U | | coded_measurement
5  | > |  | INCLUDE | 3010 | 1 | U | | coded_measurement ?

TID 3110 extensible unread
1  |  |  | CODE | EV 121071 DCM | 1 | U | | coded_finding
2  | > | HAS PROPERTIES | CODE | EV 246112005 SCT | 1 | U | DCID 3716 | coded_finding ?value
3  | > | HAS PROPERTIES | CODE | EV 363698007 SCT | 1 | U | | coded_finding
4  | >> | HAS CONCEPT MOD | CODE | EV 106233006 SCT | 1 | U | DCID 3019 | coded_finding ?value
5  | > |  | INCLUDE | 3010 | 1 | U | | coded_finding ?
6  |  |  | TEXT | BCID 3419 | 1 | U | | impression ?concept
7  | > |  | INCLUDE | 3010 | 1 | U | | impression ?

TID 3111 extensible unread percutaneous_entry
1  |  |  | CODE | EV 121156 DCM | 1 | M | DCID 3403 | ?value
2  | > | HAS CONCEPT MOD | CODE | EV 272741003 SCT | 1 | U | DCID 244 | ?value
3  | > |  | INCLUDE | 3010 | 1 | U | | ?

TID 3112 extensible ordered specimen_obtained
1  |  |  | CODE | EV 121123 DCM | 1 | M | DCID 3515 |
2  | > | HAS ACQ CONTEXT | CODE | EV 371439000 SCT | 1 | UC | DCID 3520 | IFF conflict
3  | > | HAS ACQ CONTEXT | CODE | EV 363704007 SCT | 1 | U | BCID 3630 | conflict
4  | > |  | INCLUDE | 1009 | 1 | U | |

TID 3113 extensible unread
1  |  |  | CODE | DCID 3530 | 1 | U | DCID 3531 | oxygen_administration ?concept ?value
2  | > | HAS PROPERTIES | NUM | EV 121160 DCM | 1 | MC | UNITS DT l/min UCUM | oxygen_administration IFF
3  | > |  | INCLUDE | 3010 | 1 | U | | oxygen_administration ?
4  |  |  | CODE | DCID 3550 | 1 | U | DCID 3553 | circulatory_support ?concept ?value
5  | > |  | INCLUDE | 3010 | 1 | U | | circulatory_support ?
6  |  |  | CODE | DCID 3551 | 1 | U | DCID 3554 | ventilation ?concept ?value
7  | > |  | INCLUDE | 3010 | 1 | U | | ventilation ?
8  |  |  | CODE | DCID 3552 | 1 | U | DCID 3555 | pacing ?concept ?value
9  | > |  | INCLUDE | 3010 | 1 | U | | pacing ?

TID 3114 extensible ordered patient_assessment
1  |  |  | CODE | EV 121123 DCM | 1 | M | DT 121165 DCM DT 61746007 SCT |
2  | > | HAS PROPERTIES | NUM | EV 271649006 SCT | 1 | MC | UNITS DCID 3500 | by300 IF
3  | > | HAS PROPERTIES | NUM | EV 271650006 SCT | 1 | MC | UNITS DCID 3500 | by300 IF
4  | > | HAS PROPERTIES | NUM | EV 8867-4 LN | 1 | MC | UNITS EV {H.B.}/min UCUM | by300 IF
5  | > | HAS PROPERTIES | NUM | EV 8310-5 LN | 1 | MC | UNITS EV Cel UCUM | by300 IF
6  | > | HAS PROPERTIES | NUM | DCID 3526 | 1 | MC | UNITS EV % UCUM | by300 IF
7  | > | HAS PROPERTIES | NUM | EV 86290005 SCT | 1 | MC | UNITS EV /min UCUM | by300 IF
8  | > | HAS PROPERTIES | NUM | EV 122195 DCM | 1-n | MC | UNITS DT {0:4} UCUM | by300 IF ?
9  | > | HAS PROPERTIES | NUM | EV 225908003 SCT | 1 | MC | UNITS DT {1:10} UCUM | by300 IF ?
10 | > | HAS PROPERTIES | CODE | DT 8884-9 LN | 1 | U | BCID 3415 | ?value
11 | > | HAS PROPERTIES | CODE | DT 9304-7 LN | 1 | U | BCID 3416 | ?value
12 | > | HAS PROPERTIES | CODE | DT 364062005 SCT | 1 | U | BCID 3448 | ?value
13 | > | HAS PROPERTIES | CODE | DT 364528001 SCT | 1-n | U | BCID 3446 | ?value
14 | > | HAS PROPERTIES | CODE | DT 363871006 SCT | 1 | U | |
15 | > | HAS PROPERTIES | TEXT | BCID 3441 | 1-n | U | | ?concept

TID 3115 extensible unread ecg_st_assessment
1  |  |  | CODE | EV 121123 DCM | 1 | M | DT 258181008 SCT |
2  | > | HAS PROPERTIES | NUM | DT 122099 DCM | 1-n | M | UNITS EV uV UCUM |
3  | >> | HAS CONCEPT MOD | CODE | DT 122148 DCM | 1 | M | BCID 3001 | ?value

TID 3601 extensible ordered
1  |  | HAS ACQ CONTEXT | TEXT | EV 121065 DCM | 1 | U | |
2  |  | HAS ACQ CONTEXT | CODE | EV 363703001 SCT | 1 | U | BCID 3629 |
3  |  | HAS ACQ CONTEXT | CODE | EV 260870009 SCT | 1 | U | BCID 3414 |
4  |  | HAS OBS CONTEXT | CODE | EV 121023 DCM | 1-n | U | |

TID 4019 non-extensible ordered
1  |  | HAS CONCEPT MOD | TEXT | EV 111001 DCM | 1 | M | | ?
1b |  | HAS CONCEPT MOD | CODE | EV 111001 DCM | 1 | U | | ?
2  |  | HAS CONCEPT MOD | TEXT | EV 111003 DCM | 1 | M | | ?
3  |  | HAS CONCEPT MOD | TEXT | EV 111002 DCM | 1-n | U | | ?
4  |  | HAS CONCEPT MOD | CODE | EV 111000 DCM | 1 | U | | ?

TID 4108 extensible ordered
1  |  | HAS OBS CONTEXT | TEXT | EV 112039 DCM | 1 | MC | | IF ?
2  |  | HAS OBS CONTEXT | UIDREF | EV 112040 DCM | 1 | MC | | IF ?
"""

BY_REFERENCE = "relationships by reference do not stand in a Procedure Log (PS3.3 A.35.7.3.1.4)"
COORDINATES = "coordinates do not stand in a Procedure Log (PS3.3 A.35.7.3.1.3)"
SELECTED = "below coordinates, which do not stand in a Procedure Log (PS3.3 A.35.7.3.1.3)"

LEFT_OUT = {
    ("300", "10"): BY_REFERENCE,
    ("315", "3"): BY_REFERENCE,
    ("320", "2"): BY_REFERENCE,
    ("320", "3"): COORDINATES,
    ("320", "4"): SELECTED,
    ("320", "5"): BY_REFERENCE,
    ("320", "6"): COORDINATES,
    ("321", "2"): BY_REFERENCE,
    ("321", "3"): COORDINATES,
    ("321", "4"): SELECTED,
    ("321", "5"): BY_REFERENCE,
}
"""Rows that no class declares: PS3.3 forbids them in a log. TID 3602, a CONTAINER, is included by no template of a log."""

BESIDE = {
    ("1007", "3", "TEXT"): "TEXT in TID 1008, CODE in TID 1007: both are accepted",
    (
        "3010",
        "1",
        "INCLUDE",
    ): "which template row 1 includes was not read: it takes the rows of TID 1000 and of TID 1002",
    ("3010", "9", "CODE"): "HAS OBS CONTEXT in the table, a concept modifier in Annex D: both are accepted",
}
"""Second declarations of a row, by value type, and why."""

PARAMETERS = {("3114", "2", "3"): "BCID 3560", ("3114", "8", "3"): "BCID 3442", ("3114", "8", "5"): "BCID 3440"}
"""What an inclusion of TID 300 gives besides $Measurement and $Units: including row, row of TID 300, value cell."""

UNJUDGED = {
    ("320", "1"): "the other alternatives do not stand in a log, and without the row there is no inclusion",
    ("321", "1"): "the other alternatives do not stand in a log, and without the row there is no inclusion",
    ("1001", "1"): "what is inherited from elsewhere is not told in a request",
    ("1001", "2"): "what is inherited from elsewhere is not told in a request",
    ("1001", "3"): "what is inherited from elsewhere is not told in a request",
    ("300", "9"): "the other alternative does not stand in a log",
    ("1000", "2"): "what is quoted is told by the row itself, and by nothing else",
    ("1002", "1"): "without the row the observer is a person: that it is a device is told by the row itself",
    ("1006", "1"): "without the row the subject is the patient: that it is another is told by the row itself",
    ("1007", "2"): "what is inherited from elsewhere is not told in a request",
    ("1007", "3"): "what is inherited from elsewhere is not told in a request",
    ("1007", "7"): "what is inherited from elsewhere is not told in a request",
    ("1009", "2"): "where a specimen comes from is not told in a request",
    ("3108", "6"): "which device is primary for the lesion is what the row itself tells, and nothing else does",
}
"""Conditions that cannot be told from a request, and why: they refuse nothing, the rows may be there or not."""


class Line(NamedTuple):
    """One row of a table; `parent` is the row above it in the tree, or empty."""

    tid: str
    row: str
    nesting: str
    relationship: str
    value_type: str
    concept: str
    vm: str
    req: str
    value: str
    remarks: frozenset[str]
    kind: str
    parent: str

    def __str__(self) -> str:
        return f"TID{self.tid} r{self.row}{f' {self.kind}' if self.tid == '3001' else ''}"

    @property
    def firm(self) -> bool:
        """Every cell was read in the standard."""
        return not any(remark.startswith("?") for remark in self.remarks)

    def doubtful(self, *cells: str) -> bool:
        """The row, or one of these cells, is inference."""
        return "?" in self.remarks or any(f"?{cell}" in self.remarks for cell in cells)


class Head(NamedTuple):
    """The head of a table."""

    tid: str
    extensible: bool
    ordered: bool


def _remarks(text: str) -> frozenset[str]:
    return frozenset(text.replace("?value type", "?value_type").split())


def _read() -> tuple[list[Head], list[Line]]:
    heads, lines = [], []
    kind, above = "", dict[int, str]()
    for text in TABLES.strip().splitlines():
        if text.startswith("TID"):
            _, tid, extensible, ordered, *of = text.split()
            heads.append(Head(tid, extensible == "extensible", ordered == "ordered"))
            kind, above = of[0] if of else "", {}
        elif text:
            row, nesting, relationship, value_type, concept, vm, req, value, remarks = (
                cell.strip() for cell in text.split("|")
            )
            said = _remarks(remarks)
            own = kind
            if heads[-1].tid in SEVERAL:
                own = next((word for word in said if word[0] != "?" and word.islower()), "")
            level = len(nesting)
            lines.append(
                Line(
                    heads[-1].tid, row, nesting, relationship, value_type, concept, vm, req, value, said, own,
                    above.get(level - 1, ""),
                )
            )  # fmt: skip
            if value_type != "CONTAINER":
                above[level] = row
    return heads, lines


SEVERAL = {"3001", "3109", "3110", "3113"}
"""Templates with several alternative entries."""

HEADS, ROWS = _read()
LEVEL = [
    line
    for line in ROWS
    if (line.tid, line.row) not in LEFT_OUT
    and line.tid == "3001"
    and (line.value_type == "CONTAINER" or (line.nesting == ">" and line.concept.startswith("31")))
]
"""The root, and the inclusions of the templates whose entries stand at the first level."""
OF_INCLUDER = [line for line in ROWS if line.concept == "$Measurement"]
"""The number of TID 300: each row that includes it declares it, with the concept and unit that it gives (`by300`)."""
LINES = [line for line in ROWS if (line.tid, line.row) not in LEFT_OUT and line not in LEVEL + OF_INCLUDER]
