from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veracity.core.observation import StackFrame
from veracity.detect.rules.time.lines import is_own_wait, spins


def frame(source: str, path: str = "/home/u/train.py") -> StackFrame:
    return StackFrame(path, 7, "train", source)


@pytest.mark.parametrize(
    "source",
    [
        "while time.perf_counter() < end:",
        "while time.time() - started < 0.05: pass",
        "while perf_counter_ns() < deadline:",
        "while True:",
        "while not done:",
        "while (time.monotonic() < until):",
        "while x < y and time.time() < end:",
        "    while count > 0:  # x.abs() here would compute",
        "pass",
        "pass  # nothing (yet)",
        "continue",
        "for _ in range(10_000_000):",
        "for i in range(len(items)):",
        "for _ in range(n): pass",
        "now = time.perf_counter()",
        "left = end - time.monotonic_ns()",
        "elapsed += time.process_time() - last",
        "self.now = time.time()",
    ],
)
def test_lines_that_only_pass_time(source: str) -> None:
    assert spins(frame(source))


@pytest.mark.parametrize(
    "source",
    [
        "",
        "   ",
        "loss.backward()",
        "loss = model(x)",
        "y = x @ w",
        "while not converged(x):",
        "while loss.item() > 0.1:",
        "while queue.empty():",
        "for batch in loader:",
        "for x, y in zip(a, b):",
        "out = torch.max(x)",
        "scale = x.abs().max()",
        "hidden = hidden.float()",
        "mask = mask.int()",
        "x = x.round()",
        "value = float(loss)",
        "y = abs(x)",
        "y = pow(x, 2)",
        "m = max(values)",
        "n = len(rows)",
        "total = total + x",
        "total += x",
        "passed = hidden + residual",
        "passthrough = x * y",
        "while_ready = logits[index]",
        "continued = a + b",
        "form = q - k",
        "y = layers[0](x)",
        "y = (make())(x)",
        "y = get(x)(time.time())",
        "if time.time() > end:",
        "return time.time()",
        "time.sleep(0.1)",
        "other.time()",
        "now = other.time()",
        "now = step.range(3)",
        "@torch.no_grad()",
        "x == time.time()",
        "# while True:",
    ],
)
def test_lines_that_may_compute(source: str) -> None:
    assert not spins(frame(source))


@given(st.text(max_size=120))
def test_any_text_has_an_answer(source: str) -> None:
    for line in (source, f"while {source}", f"x = {source}("):
        assert spins(frame(line)) in (True, False)


@given(st.text("abcxyz_.", min_size=1, max_size=8).filter(lambda name: name.strip("._")))
def test_a_call_of_a_method_is_never_passing_time(name: str) -> None:
    assert not spins(frame(f"while x.{name.strip('.')}() < 1:"))


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("/usr/lib/python3.11/subprocess.py", True),
        ("/usr/lib/python3.11/threading.py", True),
        ("/usr/lib/python3.11/multiprocessing/connection.py", True),
        ("/usr/lib/python3.11/selectors.py", True),
        ("/usr/lib/python3.11/queue.py", True),
        ("/home/u/train.py", False),
        ("/home/u/my_queue.py", False),
    ],
)
def test_where_the_standard_library_itself_polls(path: str, own: bool) -> None:
    assert is_own_wait(frame("self._cond.wait()", path)) == own
