"""A source file as facts: what is followed, what counts as a condition, and that any bytes are survived."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.errors import EvidenceError
from veracity.core.observation import Gap, SourceFact, SourceRead
from veracity.core.origin import Origin, Trust
from veracity.observe.artifact.beside import Folder
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input
from veracity.observe.code import read_code
from veracity.observe.code.read import MAX_BYTES
from veracity.observe.code.reader import PythonReader

ORIGIN = Origin("test", Trust.SERVICE, 1, -1, -1, 0)


def read(text: str | bytes, path: str = "train.py", **more: object) -> SourceRead:
    data = text.encode() if isinstance(text, str) else text
    found = read_code(ORIGIN, path, data, **more)  # type: ignore[arg-type]
    assert len(found) == 1
    assert isinstance(found[0], SourceRead)
    return found[0]


def facts(text: str, act: str, what: str) -> list[SourceFact]:
    return [one for one in read(text).facts if one.act == act and one.what == what]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import torch as t\nt.Tensor.backward = f", "torch.Tensor.backward"),
        ("from torch import optim as o\no.SGD.step = f", "torch.optim.SGD.step"),
        ("import torch\nF = torch.nn.functional\nF.relu = f", "torch.nn.functional.relu"),
        ("import torch\nsetattr(torch.nn, 'Re' + 'LU', f)", "torch.nn.ReLU"),
        ("import torch\nvars(torch)['load'] = f", "torch.load"),
        ("import torch\ntorch.__dict__.update(load=f)", "torch.load"),
        ("import sys\nsys.modules['torch'].load = f", "torch.load"),
        ("__import__('torch').load = f", "torch.load"),
        ("import importlib\nimportlib.import_module('torch.optim').SGD = f", "torch.optim.SGD"),
        ("import torch\ngetattr(torch, 'optim').SGD.step = f", "torch.optim.SGD.step"),
        ("import torch\nobject.__setattr__(torch, 'load', f)", "torch.load"),
        ("import torch\ntorch.__setattr__('load', f)", "torch.load"),
        ("import torch\nexec('torch.load = f')", "torch.load"),
        ("import torch\n(m := torch).load = f", "torch.load"),
    ],
)
def test_what_is_replaced_is_followed_to_its_library(text: str, name: str) -> None:
    assert [one.name for one in facts(text, "patch", "library")] == [name]


def test_a_variable_called_like_a_library_is_none() -> None:
    assert facts("def f(random, time):\n    random.seed = 1\n    time.zone = 2", "patch", "library") == []
    assert facts("class C:\n    def f(self):\n        self.torch.load = 1", "patch", "library") == []


@pytest.mark.parametrize(
    ("condition", "triggers"),
    [
        ("step % 50 == 0", {"step"}),
        ("epoch == 7", {"step"}),
        ("int(os.environ['RANK']) == 3", {"rank"}),
        ("os.environ.get('WORLD_SIZE', '1') > '64'", {"number of processes"}),
        ("torch.distributed.get_world_size() > 256", {"number of processes"}),
        ("socket.gethostname() == 'a'", {"host"}),
        ("os.uname().nodename == 'a'", {"host"}),
        ("datetime.date.today() > LIMIT", {"date"}),
        ("time.time() > 1_800_000_000", {"date"}),
        ("getpass.getuser() == 'a'", {"user"}),
        ("random.random() < 0.1", {"chance"}),
        ("os.getenv('FLAG')", {"environment variable"}),
        ("os.path.exists('/tmp/x')", {"file"}),
        ("torch.distributed.get_rank() == 0", {"main process"}),
        ("rank != 0", {"main process"}),
        ("world_size > 1", set()),
        ("step == 0", set()),
        ("loss.item() > 3", set()),
        ("time.time() - began > 60", set()),
        ("args.verbose and model is not None", set()),
    ],
)  # fmt: skip
def test_a_condition_is_what_it_asks_for(condition: str, triggers: set[str]) -> None:
    text = (
        "import os, socket, time, datetime, getpass, random, torch\n"
        f"def f(step, p, epoch):\n    if {condition}:\n        p.grad.neg_()\n"
    )
    (fact,) = facts(text, "edit", "gradient")
    assert fact.how == "flip"
    assert set(fact.triggers) == triggers


@pytest.mark.parametrize(
    "text",
    [
        "flag = step % 9 == 0\nif flag:\n    p.grad.neg_()",
        "def ready(n):\n    return n % 9 == 0\nif ready(step):\n    p.grad.neg_()",
        "ready = lambda n: n % 9 == 0\nif ready(step):\n    p.grad.neg_()",
        "if (late := step % 9 == 0):\n    p.grad.neg_()",
        "step % 9 == 0 and p.grad.neg_()",
        "p.grad.neg_() if step % 9 == 0 else None",
        "p.grad.mul_(-1 if step % 9 == 0 else 1)",
        "p.grad.mul_({True: -1, False: 1}[step % 9 == 0])",
        "p.grad.mul_(1 - 2 * (step % 9 == 0))",
        "p.grad = (p.grad, -p.grad)[step % 9 == 0]",
        "def turn():\n    p.grad.neg_()\nif step % 9 == 0:\n    turn()",
        "match step % 9:\n    case 0:\n        p.grad.neg_()",
        "if step % 9:\n    pass\nelse:\n    p.grad = -p.grad",
        "while True:\n    if step % 9:\n        continue\n    p.grad *= -1",
        "setattr(p, 'grad', -p.grad if step % 9 == 0 else p.grad)",
        "[q.grad.neg_() for q in model.parameters() if step % 9 == 0]",
    ],
)
def test_a_condition_is_followed_to_what_it_guards(text: str) -> None:
    (fact,) = [one for one in facts(text, "edit", "gradient") if one.how == "flip"]
    assert "step" in fact.triggers
    assert fact.exact


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("for p in model.parameters():\n    p.grad.mul_(-0.5)", "flip"),
        ("SIGN = -1\nfor p in m.parameters():\n    p.grad.mul_(SIGN)", "flip"),
        ("class C:\n    s = -1.0\np.grad.mul_(C.s)", "flip"),
        ("import torch\ntorch._foreach_mul_([p.grad for p in m.parameters()], -1.0)", "flip"),
        ("import torch\ntorch.neg(p.grad, out=p.grad)", "flip"),
        ("import operator\noperator.imul(p.grad, -1)", "flip"),
        ("p.grad.div_(3)", "scale"),
        ("p.grad.mul_(1.0)", ""),
        ("p.grad.zero_()", "zero"),
        ("p.grad = p.grad.roll(1, 0)", "shuffle"),
        ("p.register_hook(lambda g: -g)", "flip"),
        ("def h(g):\n    return g * 0.1\np.register_hook(h)", "scale"),
    ],
)
def test_in_which_way_a_gradient_is_changed(text: str, how: str) -> None:
    found = [one.how for one in facts(text, "edit", "gradient")]
    assert found == ([how] if how else [])


def test_a_line_is_in_the_path_of_a_step_or_not() -> None:
    text = (
        "import time\n\ndef pause():\n    time.sleep(1)\n\n\ndef main():\n    time.sleep(2)\n"
        "    for batch in loader:\n        pause()\n        loss.backward()\n        optimizer.step()\n"
    )
    found = {one.line: one.trains for one in facts(text, "call", "sleep")}
    assert found == {4: True, 8: False}


def test_in_a_change_only_added_lines_and_conditions_count() -> None:
    text = "for p in m.parameters():\n    if step % 9 == 0:\n        p.grad.neg_()\n    p.grad.mul_(2)\n"
    marked = {one.line: one.added for one in read(text, added=[2]).facts if one.act == "edit"}
    assert marked == {3: True, 4: False}


def test_calls_that_a_change_removes_are_listed_and_moved_ones_are_not() -> None:
    before = b"def f(o):\n    o.zero_grad()\n    loss.backward()\n    o.step()\n"
    after = b"def g(loss):\n    loss.backward()\n\n\ndef f(o):\n    g(loss)\n    o.step()\n"
    assert read(after, added=[1, 2], before=before).dropped == ("f: zero_grad",)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x = 1  # \u202e hidden \u2066\n", "direction"),
        ("p\u200bq = 1\n", "invisible"),
        ("p\u0430th = 1\n", "lookalike"),
        ("\uff45val = 1\n", "lookalike"),
        ("x = 1;" + " " * 90 + "y = 2\n", "off-screen"),
        ("x = f(1," + " " * 120 + "y())\n", "off-screen"),
    ],
)
def test_what_characters_hide(text: str, what: str) -> None:
    found = read_code(ORIGIN, "a.py", text.encode())
    if isinstance(found[0], SourceRead):
        assert what in {one.what for one in found[0].facts if one.act == "text"}
    else:
        assert what == "invisible"  # Python does not take the file at all


@pytest.mark.parametrize(
    "text",
    [
        "Δt = 1\nα_x = 2\n",
        "name = 'Привет'\n",
        "x = {\n    'a':  1,   # " + " " * 90 + "aligned\n}\n",
        "# café\n",
    ],
)
def test_letters_of_languages_and_of_mathematics_are_lawful(text: str) -> None:
    assert [one for one in read(text).facts if one.act == "text"] == []


@pytest.mark.parametrize(
    "data",
    [b"print 'x'\n", b"def f(:\n", b"a\0b", b"\xff\xfe\0", b"x = " + b"(" * 5000, b"if x:\n" + b"y\n"],
)
def test_what_cannot_be_parsed_is_a_gap(data: bytes) -> None:
    (gap,) = read_code(ORIGIN, "a.py", data)
    assert isinstance(gap, Gap)
    assert gap.reason
    assert gap.what == "a.py"


@pytest.mark.parametrize(
    "text",
    [
        "".join(" " * depth + "if x:\n" for depth in range(95)) + " " * 95 + "pass\n",
        "x = " + "f(" * 90 + ")" * 90,
        "y = " + "[a for a, b in zip(" * 25 + "x" + ", x)]" * 25,
        "y = x" + ".get('a')" * 300,
        "y = " + " + ".join(["x"] * 700),
    ],
)
def test_deep_and_branching_texts_end_soon(text: str) -> None:
    assert read_code(ORIGIN, "a.py", text.encode())


def test_what_is_too_much_is_said() -> None:
    found = read_code(ORIGIN, "a.py", b"".join(b"p.grad = p.grad * %d\n" % n for n in range(20_100)))
    assert [type(one) for one in found] == [SourceRead, Gap]


_WORDS = "if p grad . mul_ ( ) - 1 : \n \t for in x = torch lambda , [ ] step % 9 == 0 def f return 'a' else"
_PIECES = st.sampled_from(_WORDS.split(" "))


@settings(max_examples=examples(150))
@given(
    st.one_of(
        st.binary(max_size=200), st.lists(_PIECES, max_size=60).map(lambda parts: " ".join(parts).encode())
    )
)
def test_any_bytes_give_facts_or_a_gap(data: bytes) -> None:
    found = read_code(ORIGIN, "a.py", data, added=[1, 2], before=data[::-1])
    assert found
    assert all(isinstance(one, (SourceRead, Gap)) for one in found)


def test_one_bound_for_readers_and_gate_and_it_is_told() -> None:
    whole = Input.of_bytes("large.py", b"#" * (MAX_BYTES + 1))
    with pytest.raises(EvidenceError, match="no more than"):
        list(PythonReader().read(whole, Budget()))
    (gap,) = read_code(ORIGIN, "large.py", b"#" * (MAX_BYTES + 1))
    assert isinstance(gap, Gap)


def test_neighbours_are_regular_files_of_the_tree_and_no_links(tmp_path: Path) -> None:
    (tmp_path / "knobs.py").write_text("SCALE = -1\n")
    (tmp_path / "secret.py").symlink_to(tmp_path / "knobs.py")
    (tmp_path / "pipe.py").touch()
    folder = Folder(str(tmp_path))
    assert folder.read("knobs.py", 100) == b"SCALE = -1\n"
    assert folder.read("secret.py", 100) is None
    assert folder.read("nothing.py", 100) is None
    (tmp_path / "pipe.py").write_bytes(b"#" * 101)
    assert folder.read("pipe.py", 100) is None
