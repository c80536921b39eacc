"""The opcodes of pickle protocols 0 to 5 (PEP 307, 3154, 574), by the names that CPython gives them.

For the machine that follows pickles (``observe/pickle/``) and for the walk that the guard makes
(:mod:`pickled_calls`).
"""

from __future__ import annotations

MARK, STOP, POP, POP_MARK, DUP = b"(.012"
FLOAT, INT, BININT, BININT1, LONG, BININT2 = b"FIJKLM"
NONE, PERSID, BINPERSID, REDUCE = b"NPQR"
STRING, BINSTRING, SHORT_BINSTRING, UNICODE, BINUNICODE = b"STUVX"
APPEND, BUILD, GLOBAL, DICT, EMPTY_DICT, APPENDS = b"abcd}e"
GET, BINGET, INST, LONG_BINGET, LIST, EMPTY_LIST = b"ghijl]"
OBJ, PUT, BINPUT, LONG_BINPUT, SETITEM, TUPLE, EMPTY_TUPLE, SETITEMS, BINFLOAT = b"opqrst)uG"
PROTO, NEWOBJ, EXT1, EXT2, EXT4, TUPLE1, TUPLE2, TUPLE3 = range(0x80, 0x88)
NEWTRUE, NEWFALSE, LONG1, LONG4 = range(0x88, 0x8C)
SHORT_BINUNICODE, BINUNICODE8, BINBYTES8, EMPTY_SET, ADDITEMS, FROZENSET, NEWOBJ_EX = range(0x8C, 0x93)
STACK_GLOBAL, MEMOIZE, FRAME, BYTEARRAY8, NEXT_BUFFER, READONLY_BUFFER = range(0x93, 0x99)
BINBYTES, SHORT_BINBYTES = b"BC"
HIGHEST_PROTOCOL = 5

FIXED = {
    **dict.fromkeys((BININT1, BINGET, BINPUT, PROTO, EXT1), 1),
    **dict.fromkeys((BININT2, EXT2), 2),
    **dict.fromkeys((BININT, LONG_BINGET, LONG_BINPUT, EXT4), 4),
    **dict.fromkeys((BINFLOAT, FRAME), 8),
}
"""Length of the argument of those opcodes that have one of a fixed length."""

COUNTED = {
    **dict.fromkeys((SHORT_BINSTRING, SHORT_BINUNICODE, SHORT_BINBYTES, LONG1), 1),
    **dict.fromkeys((BINSTRING, BINUNICODE, BINBYTES, LONG4), 4),
    **dict.fromkeys((BINUNICODE8, BINBYTES8, BYTEARRAY8), 8),
}
"""Length of the count, where an argument begins with its own length."""

LINES = {
    **dict.fromkeys((FLOAT, INT, LONG, PERSID, STRING, UNICODE, GET, PUT), 1),
    **dict.fromkeys((GLOBAL, INST), 2),
}
"""Number of lines, where the argument is text."""
