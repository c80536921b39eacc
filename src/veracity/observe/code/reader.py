"""Python sources for the gate: what Python would take a file for by its name, or by its first line."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import ClassVar

from ...core.errors import EvidenceError
from ...core.observation import Gap
from ...core.origin import monitor_origin
from ..archive.zip.ends import may_be_zip
from ..artifact.budget import Budget
from ..artifact.input import Input
from ..artifact.reading import Found
from .read import MAX_BYTES, read_code

ENDINGS = (".py", ".pyw", ".pyi")
_SHEBANG = re.compile(rb"#![^\n]{0,200}\bpython[0-9.]*\b")


class PythonReader:
    """A source is known by its name alone: any text could be one, and Python asks for nothing more."""

    name: ClassVar[str] = "python"
    has_signature: ClassVar[bool] = False

    def claims(self, head: bytes, whole: Input) -> bool:
        """By the ending of the name, or by ``#!`` with a Python, which runs a zip behind that line."""
        if whole.name.endswith(ENDINGS):
            return True
        return _SHEBANG.match(head) is not None and not may_be_zip(b"", whole)

    def read(self, whole: Input, budget: Budget) -> Iterator[Found]:
        """The facts of the source; raises EvidenceError where something of it was not read."""
        budget.check_time(whole.name)
        missed: list[Gap] = []
        data = whole.whole(MAX_BYTES)
        for one in read_code(monitor_origin(time.time_ns()), whole.name, data, beside=whole.beside):
            if isinstance(one, Gap):
                missed.append(one)
            else:
                yield one
        if missed:
            said = missed[0]
            raise EvidenceError(f"{said.what}: {said.reason}", where=whole.name, remedy=said.remedy)
