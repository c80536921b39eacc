"""A pickle names something that runs, connects, writes, or alters the process.

## The law

Load: nothing that can execute is loaded. A file of data names classes and the functions that rebuild them.

## What breaks it

A pickle that names `os.system`, `builtins.exec`, `socket.socket`, `torch.manual_seed`, `pickle.loads` … It
is imported and called while the file is loaded, before the program sees anything of it. A name that the
file computes while it is loaded can be any of them.

## How it is checked

The file is followed opcode by opcode as CPython's C unpickler would do it, without running anything, so
that what stands before a break in the stream is seen, and so is what lies in further pickles within its
bytes. A global that no policy permits is looked up in a vocabulary of what does harm, under the name it has
after the mapping of Python 2's names, and through dots (`torch` / `os.system`). What runs, connects,
writes, alters or carries code is an error; so are ways to anything else (`getattr` on what is no
enumeration, names with two underscores). A call of a function that rebuilds no data (`print`) is a warning.

## What fools it

Nothing gets past the policy by not being in this vocabulary: it is told as
`checkpoint-pickle-unknown-global` then.

## What to do

Do not load the file. Keep it, ask who wrote it, and see which runs have loaded it.
"""

from __future__ import annotations

from typing import ClassVar

from ....core.rule import Confidence, Rule, Severity
from ...pickles import EXECUTES
from .pickled import OfPickles


class PickleExecutes(OfPickles):
    """Tells what is of this kind."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-pickle-executes",
        "load",
        "A pickle names what executes",
        Severity.ERROR,
        Confidence.HIGH,
    )
    kind: ClassVar[str] = EXECUTES
