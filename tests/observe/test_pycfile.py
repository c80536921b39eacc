"""Compiled Python is walked through as it was written, and any bytes end in names or an error of ours."""

from __future__ import annotations

import importlib.util
import marshal
import struct
import sys
from pathlib import Path
from types import CodeType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.scan.gating import gated, is_clean, rules
from veracity.core.errors import EvidenceError
from veracity.core.observation import CompiledFunction
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input
from veracity.observe.pycfile import PycReader
from veracity.scan.gate.file import Settings, scan_file

READER = PycReader()
CACHED = "lib/__pycache__/x.pyc"
SOURCE = '''
"""A module with one of each kind of constant."""
import os.path as p
X = (1, -2, 2**80, -(2**40), 1.5, 2j, b"bytes", "text" * 3, None, True, ..., frozenset({1, 2}), "\\u20ac")


class A:
    def f(self, a, /, b, *, c=1):
        return [lambda: self.g(a, p.join("x", b)) for _ in range(3) if a in {1, 2, 3}]
'''


def compiled(source: str) -> bytes:
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(compile(source, "x.py", "exec"))


def all_names(code: CodeType) -> list[tuple[str, ...]]:
    inner = [names for one in code.co_consts if isinstance(one, CodeType) for names in all_names(one)]
    return [*inner, code.co_names]


@pytest.mark.parametrize("source", [SOURCE, Path(__file__).read_text("utf-8"), ""])
def test_names_are_those_of_each_code_object(source: str) -> None:
    data = compiled(source)
    whole = Input.of_bytes(CACHED, data)
    read = [one.names for one in READER.read(whole, Budget()) if isinstance(one, CompiledFunction)]

    assert READER.claims(data, whole)
    assert read == all_names(compile(source, "x.py", "exec"))


def beside(folder: Path, source: str, code: str, header: bytes | None = None) -> list[str]:
    """What the gate says of bytecode of ``code`` in the place of that of ``source``."""
    path = folder / "x.py"
    path.write_text(source, encoding="utf-8")
    status = path.stat()
    cached = folder / "__pycache__" / f"x.{sys.implementation.cache_tag}.pyc"
    cached.parent.mkdir(exist_ok=True)
    made = struct.pack("<III", 0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size)
    body = marshal.dumps(compile(code, "x.py", "exec"))
    cached.write_bytes(importlib.util.MAGIC_NUMBER + (made if header is None else header) + body)
    result = scan_file(str(cached), Settings())
    assert not result.missed
    return [one.rule for one in result.findings]


def test_names_that_the_source_does_not_have_are_told(tmp_path: Path) -> None:
    planted = f"{SOURCE}\nimport os\nos.system('true')\n"
    forged = struct.pack("<I", 3) + importlib.util.source_hash(SOURCE.encode())

    assert beside(tmp_path, SOURCE, planted) == ["environment-bytecode-foreign"]
    assert beside(tmp_path, SOURCE, planted, struct.pack("<III", 1, 0, 0)) == ["environment-bytecode-foreign"]
    assert beside(tmp_path, SOURCE, planted, forged) == ["environment-bytecode-foreign"]


def test_bytecode_of_its_source_and_what_python_does_not_load_is_clean(tmp_path: Path) -> None:
    private = "class A:\n    def f(self):\n        return self.__x, __name__\n\n\ndef ﬁrst(): return ﬁrst\n"
    long = "x = 1\ny = f'" + "{x} " * 40 + "'\nदेवनागरी = עִברִית = 2\nदेवनागरी, עִברִית\n"
    for source in (
        SOURCE,
        private,
        long,
        Path(__file__).read_text("utf-8"),
        "import a.b.c as d\nfrom . import e\n",
    ):
        assert beside(tmp_path, source, source) == []
    assert beside(tmp_path, SOURCE, "import os\nos.system('true')\n", struct.pack("<III", 0, 1, 1)) == []
    assert beside(tmp_path, SOURCE, "import os\nos.system('true')\n", struct.pack("<III", 3, 1, 1)) == []
    (tmp_path / "x.py").unlink()
    (cached,) = (tmp_path / "__pycache__").iterdir()
    assert not scan_file(str(cached), Settings()).findings


def test_a_function_that_decodes_and_executes_is_found() -> None:
    hidden = "import base64\ndef f(x):\n    exec(base64.b64decode(x))\n"

    assert rules(compiled(hidden), CACHED) == ["environment-bytecode-hides error"]
    assert is_clean(compiled("import base64\ndef f(x):\n    return base64.b64decode(x)\nexec('1')\n"), CACHED)


def test_compiled_code_without_its_source_is_incomplete() -> None:
    assert gated(compiled(SOURCE), "lib/x.pyc").status == "incomplete"
    assert is_clean(compiled(SOURCE), CACHED)


@given(st.binary(max_size=40), st.integers(16, 400))
@settings(max_examples=examples(200), deadline=None)
def test_any_bytes_end_in_names_or_an_error_of_ours(data: bytes, at: int) -> None:
    whole = compiled(SOURCE)
    for made in (whole[:16] + b"c" + data, whole[:at] + data + whole[at + len(data) :], whole[:at]):
        try:
            list(READER.read(Input.of_bytes(CACHED, made), Budget()))
        except EvidenceError:
            continue


def test_depth_and_numbers_are_bounded() -> None:
    for data in (b"(\1\0\0\0" * 5_000, b"(\xff\xff\xff\x7f" + b"N" * 10, b"{" * 5_000, b"r\xff\xff\xff\x7f"):
        assert gated(compiled("")[:16] + b"c" + bytes(24) + data, CACHED).status != "clean"
