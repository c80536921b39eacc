"""The canonical digest: equal for equal behaviour, different for any other."""

from __future__ import annotations

import marshal
from types import CodeType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core import codeobject
from veracity.core.errors import EvidenceError

SOURCE = """
import os
RATE = 0.1
class Model:
    def forward(self, x, *, scale=2.0):
        def inner(y):
            return y * scale
        return inner(x) if x in {1, 2, 3} else None
def twice(x): return x + x
async def wait(): return [i for i in range(3)]
def twice(x): return 2 * x
"""


def _code(text: str, path: str = "<one>") -> CodeType:
    code = compile(text, path, "exec", dont_inherit=True)
    assert isinstance(code, CodeType)
    return code


def test_digest_ignores_the_file_name_and_survives_marshalling() -> None:
    code = _code(SOURCE)
    again = marshal.loads(marshal.dumps(_code(SOURCE, "/elsewhere/two.py")))
    assert codeobject.digest(code) == codeobject.digest(again)
    assert codeobject.digest(code, columns=True) == codeobject.digest(again, columns=True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0.1", "0.10000000000000002"),
        ("0.1", "-0.0"),
        ("2.0", "2"),
        ("y * scale", "y + scale"),
        ("{1, 2, 3}", "{1, 2, 4}"),
        ("import os", "import os\n"),
        ("def inner(y)", "def inner(z)"),
        ("async def wait", "def wait"),
        ("*, scale", "scale"),
        ("range(3)", "range(True)"),
        ("inner(x) if", "inner(x) if not"),
    ],
)
def test_digest_sees(old: str, new: str) -> None:
    assert old in SOURCE
    assert codeobject.digest(_code(SOURCE)) != codeobject.digest(_code(SOURCE.replace(old, new)))


def test_zero_and_minus_zero_and_nan_bits_differ() -> None:
    def with_constant(value: object) -> str:
        code = _code("x = 1").replace(co_consts=(value, None))
        return codeobject.digest(code)

    values: list[object] = [0, 0.0, -0.0, False, 0j, -0j, "", b"", (), frozenset(), None]
    assert len({with_constant(value) for value in values}) == len(values)
    nan = float("nan")
    assert with_constant(nan) == with_constant(float("nan"))


@given(st.frozensets(st.one_of(st.text(), st.integers(), st.binary(), st.floats(allow_nan=False))))
def test_sets_have_no_order(values: frozenset[object]) -> None:
    code = _code("x = 1")
    rebuilt = frozenset(sorted(values, key=repr, reverse=True))
    left = codeobject.digest(code.replace(co_consts=(values, None)))
    right = codeobject.digest(code.replace(co_consts=(rebuilt, None)))
    assert left == right


CONSTANTS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()),
    lambda inner: st.lists(inner, max_size=4).map(tuple),
    max_leaves=12,
)


def _typed(value: object) -> object:
    """Structure in which ``1``, ``1.0``, ``True`` and ``-0.0`` differ."""
    if isinstance(value, tuple):
        return ("tuple", *[_typed(item) for item in value])
    return (type(value).__name__, repr(value))


@given(CONSTANTS, CONSTANTS)
def test_constants_agree_exactly_when_type_and_value_do(left: object, right: object) -> None:
    code = _code("x = 1")
    digests = [codeobject.digest(code.replace(co_consts=(value, None))) for value in (left, right)]
    assert (digests[0] == digests[1]) == (_typed(left) == _typed(right))


def test_functions_by_qualified_name_with_repeats() -> None:
    found = codeobject.functions(_code(SOURCE))
    assert {"Model", "Model.forward", "Model.forward.<locals>.inner", "twice", "twice#2", "wait"} <= set(
        found
    )
    assert found["twice"] != found["twice#2"]


def test_live_function_has_the_digest_of_its_fresh_compile() -> None:
    names: dict[str, object] = {}
    exec(_code(SOURCE), names)
    function = names["Model"].forward  # type: ignore[attr-defined]
    for _ in range(3000):  # enough for the interpreter to specialise the instructions
        function(None, 5)
    assert codeobject.digest(function.__code__) == codeobject.functions(_code(SOURCE))["Model.forward"]


def test_foreign_constant_is_refused() -> None:
    with pytest.raises(EvidenceError, match="list"):
        codeobject.digest(_code("x = 1").replace(co_consts=([1], None)))


def test_depth_is_bounded() -> None:
    value: tuple[object, ...] = ()
    for _ in range(300):
        value = (value,)
    with pytest.raises(EvidenceError, match="deep"):
        codeobject.digest(_code("x = 1").replace(co_consts=(value, None)))
    code = _code("x = 1")
    for _ in range(300):
        code = _code("x = 1").replace(co_consts=(code, None))
    with pytest.raises(EvidenceError, match="deep"):
        codeobject.functions(code)


def test_columns_are_seen_when_asked_for() -> None:
    narrow, wide = _code("x = f(1)"), _code("x = f( 1)")
    assert codeobject.digest(narrow) == codeobject.digest(wide)
    if hasattr(narrow, "co_positions"):
        assert codeobject.digest(narrow, columns=True) != codeobject.digest(wide, columns=True)
        assert codeobject.has_columns(narrow)
