"""The language in which a policy says how a global may be used."""

from __future__ import annotations

import pytest

from veracity.core.pickleprogram import (
    ByteArray,
    Call,
    DictOf,
    Form,
    Global,
    ListOf,
    Octets,
    PersistentObject,
    Result,
    Text,
    Value,
)
from veracity.core.pickleshape import matcher_of


class Roles:
    """What is in module ``c`` is a class, in ``f`` a function; results of ``g`` are of ``group``."""

    def role(self, value: Global) -> str:
        return {"c": "class", "f": "function"}.get(value.module, "")

    def in_group(self, value: Value, group: str) -> bool:
        made = value.call.callable if isinstance(value, Result) else None
        return isinstance(made, Global) and made.module == "g" and group == "group"

    def stays_empty(self, value: Value) -> bool:
        return isinstance(value, DictOf) and not value.items


def the(module: str, name: str = "n") -> Global:
    return Global(0, module, name, (module, name))


def made(module: str) -> Result:
    return Result(Call(0, Form.REDUCE, the(module), ()))


def matches(shape: str, value: Value) -> bool:
    return matcher_of(shape, Roles())(value)


@pytest.mark.parametrize(
    ("shape", "good", "bad"),
    [
        ("none", None, 0),
        ("bool", True, 1),
        ("int", 5, 5.0),
        ("int", True, "5"),
        ("int", Octets(0, 2000, integer=True), Octets(0, 2000)),
        ("float", 1.5, 1),
        ("number", 1.5, "1"),
        ("str", "a", b"a"),
        ("str", Text(0, 2000), Octets(0, 2000)),
        ("bytes", b"a", "a"),
        ("bytes", ByteArray(0, 1), ListOf(0)),
        ("octets", b"a", made("g")),
        ("list", ListOf(0), ()),
        ("dict", DictOf(0), ListOf(0)),
        ("tuple", (), ListOf(0)),
        ("ints", (1, 2), (1, 2.0)),
        ("ints", (), (1,) * 65),
        ("ints", (1 << 22, 1 << 22), (1 << 22, None)),
        ("shape", (1 << 20, 0), (1 << 22, 1 << 22)),
        ("shape", (), (2.0,)),
        ("true", 1, 2),
        ("false", False, None),
        ("member", "RED", "_value_"),
        ("attribute", "config.hidden_size", "__globals__"),
        ("attribute", "_asdict", "a.__class__"),
        ("attribute", "score", "system"),
        ("attribute", "system_name", "os.Popen"),
        ("attribute", "evaluation", "sys.modules"),
        ("attribute", "a", Text(0, 2000)),
        ("='text'", "text", "other"),
        ("@m:n", the("m"), the("m", "other")),
        ("<group>", made("g"), made("h")),
        ("class", the("c"), the("f")),
        ("type", the("c"), the("f")),
        ("function", the("f"), the("x")),
        ("storage", PersistentObject(0, "id"), made("h")),
        ("hooks", None, DictOf(0, [1, 2])),
        ("object", made("h"), the("c")),
        ("int|none", None, "a"),
        ("(int, str?)", (1,), (1, 2)),
        ("(int, str?)", (1, "a"), ()),
        ("(int, str*)", (1, "a", "b"), (1, "a", 2)),
        ("((int*), any)", ((1, 2, 3), None), ((1, "2"), None)),
        ("()", (), (1,)),
        ("(any*)", (1,) * 256, (1,) * 257),
    ],
)
def test_shapes(shape: str, good: Value, bad: Value) -> None:
    assert matches(shape, good)
    assert not matches(shape, bad)


@pytest.mark.parametrize(
    "shape", ["", "(", "(int", "int)", "no-such", "int|", "='open", "@module", "int int", "(int,,"]
)
def test_what_is_no_shape_is_refused(shape: str) -> None:
    with pytest.raises(ValueError, match="shape"):
        matcher_of(shape, Roles())
