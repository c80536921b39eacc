"""What start-up code does, read from its text."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.observe.effects import LEVELS, read_effects

BLOB = base64.b64encode(b"pass").decode()


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("", ""),
        ("import sys; sys.path.append('/opt')", ""),
        ("import coverage; coverage.process_startup()", ""),
        ("import matplotlib; matplotlib.use('Agg')", ""),
        ("import torch; torch.set_float32_matmul_precision('high')", "imports"),
        ("import torch\ntorch.backends.cudnn.benchmark = True", "imports"),
        ("import numpy as np\nnp.float = float\nnp.bool = bool", "imports"),
        (
            "import torch, functools\ntorch.load = functools.partial(torch.load, weights_only=False)",
            "imports",
        ),
        ("import sys\nsys.meta_path.insert(0, Finder())", "hooks"),
        ("import builtins\nbuiltins.__import__ = mine", "hooks"),
        ("import sys\nsys.meta_path.insert(0, Finder('torch.optim.adam'))", "targets"),
        ("import random\nrandom.random = lambda: 0.5", "replaces"),
        ("import random as r\nr.Random.random = mine", "replaces"),
        ("from random import Random\nRandom.random = mine", "replaces"),
        ("import random\nsetattr(random, 'random', mine)", "replaces"),
        ("import random\nsetattr(random, name, mine)", "replaces"),
        ("import random\nrandom.__setattr__('random', mine)", "replaces"),
        ("import random\nobject.__setattr__(random, 'random', mine)", "replaces"),
        ("import random\nrandom.__setattr__('flag', True)", "imports"),
        ("import random\nvars(random)['random'] = mine", "replaces"),
        ("import random\nrandom.__dict__['random'] = mine", "replaces"),
        ("__import__('random').random = mine", "replaces"),
        ("import importlib\nm = importlib.import_module('torch.optim.adam')\nm.adam = mine", "replaces"),
        ("import sys\nsys.modules['torch.optim'].AdamW = mine", "replaces"),
        ("import sys\nsys.modules['random'] = mine", "replaces"),
        ("def later():\n    import torch\n    torch.Tensor.backward, x = mine, 1", "replaces"),
        ("import os; exec('import random; random.random = None.__class__')", "replaces"),
        (f"import base64; exec(base64.b64decode('{BLOB}'))", "hides"),
        ("from zlib import decompress as d; exec(d(b''))", "hides"),
        ("import os; exec(open('x.py').read())", ""),
    ],
)
def test_levels(text: str, level: str) -> None:
    assert read_effects(text).level == level


def test_lines_and_modules() -> None:
    found = read_effects("import random, os.path\n\nrandom.seed = print\n__import__('late')\n")
    assert found.lines == ["3: random.seed = print"]
    assert found.modules == ["random", "os.path", "late"]
    assert not found.unread


@pytest.mark.parametrize("text", ["import (", "a = '\0'", "(" * 5000, "x" * (2 << 20)])
def test_what_cannot_be_parsed_says_so(text: str) -> None:
    assert read_effects(text).unread


@settings(max_examples=examples(50))
@given(st.text())
def test_any_text(text: str) -> None:
    assert read_effects(text).level in LEVELS
