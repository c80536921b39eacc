"""Reference files: what one may hold, and that nothing else does more than raise the parser's own error."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.detect.rules.update.reference.references import REFERENCES
from tests.examples import examples
from veracity.core.errors import UsageError
from veracity.detect.rules.update.reference.function import ALLOWED, MAX_TEXT, parse

HEAD = "def Own(param, grad, mean=0.0, *, lr, betas, fast=False, step):\n"
GOOD = HEAD + "    return {'param': param - lr * grad}\n"
SNIPPETS = (
    "def Own(param, grad, *, lr): return if else and or not is None True lambda import for in while class "
    "param grad lr betas [ ] [0] ( ) { } : , ; = == < ** 2 0.5 1e999 9**9**9 - + * / % @ sqrt( max( sign "
    "'param' \n \n    \n         \\ # \x00 \t \u00e9 … async await yield del global with try except "
    ":= -> 0x1p3 1j b'' f'{param}' *args **kw"
)
WORDS = st.sampled_from(SNIPPETS.split(" "))


def body(*lines: str) -> str:
    return HEAD + "".join(f"    {line}\n" for line in lines)


def test_a_function_is_read() -> None:
    own, full = parse(
        "'''Two.'''\n"
        + GOOD
        + "def any_name(param, grad, a, b=-1, *, p=None, q=(1, 2), r=True, s=3):\n"
        + "    '''What it is for.\n\n    optimizer: some.module.Other\n    '''\n    return {}\n",
        "own.py",
    )
    assert (own.name, own.full, own.path, own.line) == ("Own", False, "own.py", 2)
    assert (own.states, own.begins, own.hypers) == (("mean",), {"mean": 0.0}, ("lr", "betas", "fast"))
    assert (own.defaults, own.counted) == ({"fast": False}, True)
    assert own.fits("a.b.Own")
    assert own.fits("__main__.build.<locals>.Own")
    assert not own.fits("a.b.own")
    assert (full.states, full.begins) == (("a", "b"), {"b": -1.0})
    assert full.defaults == {"p": None, "q": [1.0, 2.0], "r": True, "s": 3.0}
    assert full.fits("some.module.Other")
    assert not full.fits("another.module.Other")
    assert [one.name for one in parse(REFERENCES)] == ["Lion", "SignMomentum", "Adamlike", "Clipped"]


@pytest.mark.parametrize(
    "lines",
    [
        ("x = 2 * lr", "return {'param': param - x * grad, 'mean': -mean}"),
        ("if fast:", "    return {'param': param}", "else:", "    return {'mean': mean}"),
        ("if fast:", "    return {'param': param}", "return {}"),
        ("if fast:", "    x = lr", "else:", "    x = param", "return {'param': x}"),
        (
            "if fast and not lr > 0 or betas is not None:",
            "    x = 1",
            "    return {}",
            "return {'param': grad}",
        ),
        ("return {'param': param if grad > 0 and fast else -param}",),
        ("return {'param': max(-1, min(1, param)) ** 2 + betas[1] ** step}",),
    ],
)
def test_what_is_allowed(lines: tuple[str, ...]) -> None:
    assert parse(body(*lines))


@pytest.mark.parametrize(
    ("lines", "words", "line"),
    [
        (("import os", "return {}"), "an import", 2),
        (("for x in betas: pass", "return {}"), "a loop", 2),
        (("x += 1", "return {}"), "+=", 2),
        (("x = param.data", "return {}"), "an attribute", 2),
        (("x = lambda: 1", "return {}"), "a function in an expression", 2),
        (("x = open('file')", "return {}"), "a call of anything else", 2),
        (("x = sqrt(param, grad)", "return {}"), "so many arguments", 2),
        (("x = max(param, *betas)", "return {}"), "Starred", 2),
        (("x = 'text'", "return {}"), "not a number", 2),
        (("x = 1e31", "return {}"), "not a number", 2),
        (("x = 9**9**9", "return {}"), "**", 2),
        (("x = param ** 65", "return {}"), "at most 64", 2),
        (("x = param % 2", "return {}"), "BinOp", 2),
        (("x = betas[0:1]", "return {}"), "an index", 2),
        (("x = betas[-1]", "return {}"), "an index", 2),
        (("x = param[0]", "return {}"), "an index", 2),
        (("x, y = betas", "return {}"), "to one name", 2),
        (("lr = 1", "return {}"), "cannot be set", 2),
        (("sqrt = 1", "return {}"), "cannot be set", 2),
        (("x = y", "return {}"), "not set", 2),
        (("if fast:", "    x = 1", "return {'param': x}"), "not set", 4),
        (("if grad > 0:", "    return {}", "return {}"), "hyper-parameters", 2),
        (("x = 0 < lr < 1", "return {}"), "Compare", 2),
        (("if 0 < lr < 1:", "    return {}", "return {}"), "two values at a time", 2),
        (("if lr in betas:", "    return {}", "return {}"), "comparison", 2),
        (("if mean is None:", "    return {}", "return {}"), "is None", 2),
        (("return param",), "a dict", 2),
        (("return",), "a dict", 2),
        (("return {'grad': grad}",), "each key", 2),
        (("return {'param': param, 'param': grad}",), "each key", 2),
        (("return {**betas}",), "each key", 2),
        (("if fast:", "    return {}"), "each way", 1),
        (("return {}", "x = 1"), "after a return", 3),
        (("x = " + "-" * 50 + "1", "return {}"), "deep", 2),
        (("def inner(): pass", "return {}"), "a function within", 2),
    ],
)
def test_what_is_not_allowed_is_named_with_its_line(lines: tuple[str, ...], words: str, line: int) -> None:
    with pytest.raises(UsageError) as raised:
        parse(body(*lines), "own.py")
    found = raised.value.diagnostics()
    assert words in found.what, found.what
    assert f"(line {line})" in found.what
    assert (found.where, found.remedy) == (f"own.py:{line}", ALLOWED)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no function"),
        ("'''Only this.'''", "no function"),
        ("x = 1", "beside the functions"),
        ("from math import sqrt", "an import"),
        (GOOD + GOOD, "two functions"),
        ("@cached\n" + GOOD, "decorators"),
        ("def Own(param, grad) -> dict:\n    return {}", "annotations"),
        ("def Own(param: float, grad):\n    return {}", "annotation"),
        ("def Own(grad, param):\n    return {}", "first two"),
        ("def Own(param, grad, *rest):\n    return {}", "plain names"),
        ("def Own(param, /, grad):\n    return {}", "plain names"),
        ("def Own(param, grad=0.0):\n    return {}", "no default"),
        ("def Own(param, grad, step):\n    return {}", "keyword-only"),
        ("def Own(param, grad, sqrt):\n    return {}", "is a function"),
        ("def Own(param, grad, *, step=1):\n    return {}", "no default"),
        ("def Own(param, grad, *, lr='x'):\n    return {}", "a number"),
        ("def Own(param, grad, mean=None):\n    return {}", "a number"),
        ("def Own(param, grad):\n    '''optimizer: Own'''\n    return {}", "module.Class"),
        ("def Own(param, grad)\n    return {}", "not Python"),
        ("x = '\x00'", "not Python"),
        ("#" * (MAX_TEXT + 1), "at most"),
        (body(*["x = " + " + ".join(["1"] * 1500)] * 2, "return {}"), "deep"),
        (body(*["x = 1 + 1"] * 600, "return {}"), "too long"),
        ("\n".join(f"def Own{n}(param, grad): return {{}}" for n in range(65)), "more than 64"),
        ("x = " + "(" * 150 + "1" + ")" * 150, "beside the functions"),
        ("x = " + "(" * 5000, "not Python"),
        ("x = " + "-" * 20000 + "1", "not Python"),
        ("x = " + "9" * 5000, "not Python"),
    ],
)
def test_what_is_no_reference_file(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse(text)


def survives(text: str) -> None:
    """It is parsed, or refused by the one error that says where and what is allowed."""
    try:
        parse(text, "own.py")
    except UsageError as error:
        assert error.diagnostics().where.startswith("own.py")  # noqa: PT017


@settings(max_examples=examples(300))
@given(st.text())
def test_no_text_does_more(text: str) -> None:
    survives(text)
    survives(GOOD + text)


@settings(max_examples=examples(300))
@given(st.lists(WORDS, max_size=30))
def test_no_python_does_more(words: list[str]) -> None:
    survives(HEAD + "    " + " ".join(words))
    survives(" ".join(words))


@settings(max_examples=examples(300))
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_no_damaged_reference_does_more(seed: int, cuts: int) -> None:
    draw = random.Random(seed)
    text = REFERENCES
    for _ in range(cuts):
        begin = draw.randrange(len(text))
        end = min(len(text), begin + draw.randrange(8))
        text = text[:begin] + draw.choice(["", "(", "**", " ", "\n", "[0]", "lr", "=", "None"]) + text[end:]
    survives(text)
