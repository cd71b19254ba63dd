"""What an error of a database means for the rows that were given to it. Pure: codes in, a meaning out."""

from __future__ import annotations

from enum import Enum


class Meaning(Enum):
    """What can be done about an error."""

    AWAY = "the database cannot for now"
    AGAIN = "transactions got in each other's way: the same again may succeed"
    ROW = "it refuses a row, and will again"
    DEFINITION = "rights, names or types are wrong: no row can go through before somebody mends it"
    OTHER = "not known"


POSTGRESQL = {
    "08": Meaning.AWAY,  # connection
    "0A": Meaning.DEFINITION,
    "21": Meaning.ROW,  # one statement met a row twice: alone each goes through
    "22": Meaning.ROW,
    "23": Meaning.ROW,
    "25006": Meaning.AWAY,  # read-only: a server that is no primary any more
    "28": Meaning.DEFINITION,
    "3D": Meaning.DEFINITION,
    "3F": Meaning.DEFINITION,
    "40": Meaning.AGAIN,
    "42": Meaning.DEFINITION,
    "44": Meaning.ROW,
    "53": Meaning.AWAY,  # disk, memory, connections
    "54": Meaning.ROW,  # larger than an index or a page can have
    "55": Meaning.AWAY,  # locked
    "57": Meaning.AWAY,  # shut down, starting, cancelled by a time-out
    "58": Meaning.AWAY,  # its disk fails
    "P0": Meaning.ROW,  # a trigger says no
}
"""By SQLSTATE, or its class."""

_MARIADB_AWAY = (
    *(1021, 1037, 1038, 1041, 1114, 1135, 3675),  # disk, memory, threads
    *(1040, 1203, 1226),  # too many connections
    *(1053, 1152, 1158, 1159, 1160, 1161, 1927, 2002, 2003, 2005, 2006, 2013, 2014, 2055),  # connection
    *(1205, 1317, 1969, 3024),  # locks, time-outs
    *(1290, 1792, 1836),  # read-only
    *(1015, 1026, 1030),  # its disk fails
)
_MARIADB_ROW = (
    *(1048, 1062, 1169, 1216, 1217, 1364, 1451, 1452, 1557, 1761, 1762, 4025),
    *(1264, 1265, 1292, 1365, 1366, 1367, 1406, 1411, 1416, 1441, 1690, 3140, 4038, 4161),
    *(1118, 1153, 1301, 1644),
)
_MARIADB_DEFINITION = (
    *(1044, 1045, 1049, 1054, 1064, 1103, 1109, 1136, 1142, 1143, 1146, 1227, 1288, 1347, 1370, 1394, 1471, 1698),
    *(1906, 4108),
)
MARIADB = {
    **dict.fromkeys(_MARIADB_AWAY, Meaning.AWAY),
    **dict.fromkeys((1020, 1213, 1637), Meaning.AGAIN),
    **dict.fromkeys(_MARIADB_ROW, Meaning.ROW),
    **dict.fromkeys(_MARIADB_DEFINITION, Meaning.DEFINITION),
}
"""By the server's and the client's numbers."""

SQLITE = {
    3: Meaning.DEFINITION,  # permission
    5: Meaning.AWAY,  # locked by another connection
    6: Meaning.AWAY,
    7: Meaning.AWAY,
    8: Meaning.AWAY,  # read-only
    10: Meaning.AWAY,
    11: Meaning.DEFINITION,  # damaged
    13: Meaning.AWAY,  # full
    14: Meaning.DEFINITION,  # cannot be opened
    18: Meaning.ROW,
    19: Meaning.ROW,
    20: Meaning.ROW,
    26: Meaning.DEFINITION,  # no database
    1: Meaning.DEFINITION,
}
"""By the primary result code."""

NOT_YET = ("starting up", "shutting down", "recovery", "too many", "connection slots", "not accepting", "not yet")


def postgresql(sqlstate: str | None) -> Meaning:
    """The meaning of a SQLSTATE; without one the connection is lost."""
    if sqlstate is None:
        return Meaning.AWAY
    return POSTGRESQL.get(sqlstate) or POSTGRESQL.get(sqlstate[:2], Meaning.OTHER)


def postgresql_refusal(text: str) -> Meaning:
    """The meaning of a connection that was not made: libpq gives its text alone."""
    answered = "FATAL" in text or "no pg_hba.conf" in text
    return Meaning.DEFINITION if answered and not any(words in text for words in NOT_YET) else Meaning.AWAY


def mariadb(number: object) -> Meaning:
    """The meaning of an error's number."""
    return MARIADB.get(number, Meaning.OTHER) if isinstance(number, int) else Meaning.OTHER


def sqlite(code: int | None) -> Meaning:
    """The meaning of a result code, extended or not."""
    return SQLITE.get(code & 0xFF, Meaning.OTHER) if code is not None else Meaning.OTHER
