"""Code written otherwise is alike as long as it does the same, and no edit of what it does is."""

from __future__ import annotations

import ast
import asyncio
import base64
import dis
import json
import marshal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from veracity.core.codebehaviour import require_alike
from veracity.core.instructions import DiffersError, require_plain

VECTORS = Path(__file__).parents[1] / "vectors/bytecode"
SOURCE = '''
import math
RATE = 0.1
def step(x, y, *rest, flag=True, **more):
    """Doc."""
    total = 0
    for one, other in zip(x, y):
        if flag and one is not None:
            total += one - RATE * other
        elif not flag:
            continue
        else:
            total -= 1
    try:
        first = math.sqrt(total)
    except ValueError as error:
        print(error)
        raise
    with open("x") as file:
        file.write(first)
    name, value = rest, more
    return first, [v for v in value if v], name
class Model:
    limit: int = 3
    def __init__(self, size):
        super().__init__()
        self.size, self.weight = size, 1.0
    def forward(self, x):
        def inner(k):
            return k + x
        check(x)
        update(x)
        return inner(self.size)
async def feed(source):
    async for item in source:
        await item
        yield item
'''
_BEGINS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
EDITS = [
    ("one - RATE", "one + RATE"),
    ("one - RATE * other", "other - RATE * one"),
    ("RATE = 0.1", "RATE = 0.2"),
    ("flag and one", "not flag and one"),
    ("flag and one", "flag or one"),
    ("is not None", "is None"),
    ("flag=True", "flag=False"),
    ("elif not flag", "elif flag"),
    ("total -= 1", "total = 1"),
    ("total -= 1", "pass"),
    ("            continue", "            break"),
    ("except ValueError", "except TypeError"),
    ("        raise\n", "        return\n"),
    ("zip(x, y)", "zip(y, x)"),
    ("sqrt(total)", "sqrt(first)"),
    ("first = math", "total = math"),
    ("name, value = rest, more", "value, name = rest, more"),
    ("[v for v in value if v]", "[v for v in value if not v]"),
    ('"""Doc."""', '"""Dog."""'),
    ("limit: int = 3", "limit: int = 3.0"),
    ("limit: int", "limit: float"),
    ("self.size, self.weight = size, 1.0", "self.weight, self.size = size, 1.0"),
    ("k + x", "k + k"),
    ("        check(x)\n        update(x)", "        update(x)\n        check(x)"),
    ("        check(x)\n", ""),
    ("        update(x)\n", "        update(x)\n        update(x)\n"),
    ("await item", "item"),
    ("def step(x, y,", "def step(y, x,"),
    ("import math", "import cmath as math"),
]


def _code(text: str) -> CodeType:
    return compile(text, "m.py", "exec", dont_inherit=True)


def _within(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _within(constant)


def _moved(text: str) -> CodeType:
    """The same program with all its columns, and lines within functions, at other places."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.stmt, ast.expr)):
            node.col_offset, node.end_col_offset = node.col_offset + 1, (node.end_col_offset or 0) + 2
        if isinstance(node, ast.stmt) and not isinstance(node, _BEGINS):
            node.lineno, node.end_lineno = node.lineno * 3, (node.end_lineno or node.lineno) * 3
    return compile(tree, "elsewhere.py", "exec", dont_inherit=True)


def test_positions_are_no_difference() -> None:
    require_alike(_code(SOURCE), _moved(SOURCE))
    require_alike(_moved(SOURCE), _code(SOURCE))


def test_the_line_where_a_function_begins_is_told() -> None:
    """By it its source is found: what compiles that again, as TorchScript does, would take another one."""
    code = _code(SOURCE)
    other = code.replace(
        co_consts=tuple(
            one.replace(co_firstlineno=3) if isinstance(one, CodeType) and one.co_name == "step" else one
            for one in code.co_consts
        )
    )
    with pytest.raises(DiffersError, match="step: another co_firstlineno"):
        require_alike(code, other)


@pytest.mark.parametrize(("old", "new"), EDITS)
def test_each_edit_of_what_a_program_does_is_told(old: str, new: str) -> None:
    assert SOURCE.count(old) >= 1
    with pytest.raises(DiffersError):
        require_alike(_code(SOURCE), _code(SOURCE.replace(old, new, 1)))


def test_a_wider_try_is_told() -> None:
    text = "def f(x):\n    one(x)\n    try:\n        other(x)\n    except Exception:\n        pass\n"
    wider = "def f(x):\n    try:\n        one(x)\n        other(x)\n    except Exception:\n        pass\n"
    with pytest.raises(DiffersError):
        require_alike(_code(text), _code(wider))


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="a test is two instructions since 3.13")
def test_a_test_made_twice_of_one_value_is_one() -> None:
    text = "def f(x, y):\n    if x:\n        if x:\n            one(y)\n    other(y)\n"
    once = "def f(x, y):\n    if x:\n        one(y)\n    other(y)\n"
    require_alike(_code(once), _code(text))
    require_alike(_code(text), _code(once))
    for edited in (
        once.replace("if x", "if y"),
        once.replace("if x", "if not x"),
        text.replace("x:", "y:", 1),
    ):
        with pytest.raises(DiffersError):
            require_alike(_code(edited), _code(text))


@pytest.mark.parametrize("module", [asyncio, json, dis])
def test_the_standard_library_is_like_itself(module: object) -> None:
    place = Path(str(getattr(module, "__file__", "")))
    for source in sorted(place.parent.glob("*.py")) if place.name == "__init__.py" else [place]:
        code = compile(source.read_bytes(), str(source), "exec", dont_inherit=True)
        require_alike(code, marshal.loads(marshal.dumps(code)))


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="bytecode of 3.11 is for 3.11")
def test_bytecode_of_another_release_is_alike() -> None:
    """Compiled by 3.11.2: other jumps, other moves, copies of the end of a loop."""
    for name, one in json.loads((VECTORS / "cpython-3.11.2.json").read_bytes()).items():
        fresh = compile(one["source"], f"{name}.py", "exec", dont_inherit=True)
        written = marshal.loads(base64.b64decode(one["body"]))
        if sys.version_info[2] > 4:
            assert written != fresh
        require_plain(written)
        require_alike(fresh, written)
        edited = one["source"].replace('== "wrap"', '!= "wrap"').replace("found == 0", "found != 0")
        with pytest.raises(DiffersError):
            require_alike(compile(edited, f"{name}.py", "exec", dont_inherit=True), written)


def _function(text: str, **changes: object) -> CodeType:
    code = next(one for one in _within(_code(text)) if one.co_name == "f")
    return code.replace(**changes)  # type: ignore[arg-type]


def test_what_no_compiler_writes_is_told() -> None:
    text = "def f(x, y):\n    try:\n        return x + y\n    except KeyError:\n        return 0\n"
    honest = _function(text)
    require_alike(honest, _function(text))
    for changes in (
        {"co_stacksize": 0},
        {"co_stacksize": 100_000},
        {"co_flags": honest.co_flags | 0x100},
        {"co_code": honest.co_code[:-2]},
        {"co_consts": (*honest.co_consts[:1], 1, *honest.co_consts[2:])},
    ):
        with pytest.raises(DiffersError):
            require_alike(honest, _function(text, **changes))
    if sys.version_info >= (3, 11):
        for table in (b"", honest.co_exceptiontable[:-1], honest.co_exceptiontable * 2):
            with pytest.raises(DiffersError):
                require_alike(honest, _function(text, co_exceptiontable=table))


def test_two_variables_of_one_name_are_told() -> None:
    """By their names they would look like one."""
    text = "def f(x, y):\n    a = x\n    b = y\n    return a\n"
    same = "def f(x, y):\n    a = x\n    a = y\n    return a\n"
    honest = _function(same)
    forged = _function(text, co_varnames=("x", "y", "a", "a"))
    with pytest.raises(DiffersError):
        require_alike(honest, forged)


def test_more_stack_than_is_asked_for_is_told() -> None:
    honest = _function("def f(x):\n    return g(x, x, x, x, x)\n")
    with pytest.raises(DiffersError, match="stack"):
        require_alike(honest, honest.replace(co_stacksize=honest.co_stacksize - 2))
