"""Functions exchanged in memory, and their clean twins."""

from __future__ import annotations

import itertools

import pytest

from veracity.core.finding import Finding
from veracity.core.observation import FunctionIdentity, FunctionsExpected, FunctionsSeen, Observation
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Severity
from veracity.detect.rules.code.function_swapped import FunctionSwapped

ADAM, TRAIN, GUARD = "/site/torch/optim/adam.py", "/job/train.py", "/run/guard.zip/_veracity_guard/guard/x.py"
LATER = "/site/accelerate/optimizer.py"


def origin(pid: int = 7) -> Origin:
    return Origin("guard", Trust.SELF_REPORT, pid, 0, -1, 1)


def seen(
    step: int,
    code: str,
    path: str,
    pid: int = 7,
    name: str = "torch.optim.adam.Adam.step",
    *,
    forward: bool = False,
) -> FunctionsSeen:
    return FunctionsSeen(origin(pid), step, [FunctionIdentity(name, code, path, 10, "", forward)])


def expected(path: str, *codes: str, sealed: bool = True, distribution: str = "torch") -> FunctionsExpected:
    functions = {f"f{number}": code for number, code in enumerate(codes)}
    return FunctionsExpected(origin(), path, sealed, distribution, functions)


def judged(*observations: Observation) -> list[Finding]:
    detector = FunctionSwapped()
    found = [finding for observation in observations for finding in detector.observe(observation)]
    return found + list(detector.finish())


KNOWN = expected(ADAM, "honest", "other")


def test_untouched_function_is_clean_whatever_comes_first() -> None:
    looks = [seen(0, "honest", ADAM), seen(50, "honest", ADAM)]
    for order in itertools.permutations([*looks, KNOWN]):
        assert judged(*order) == []


def test_code_that_its_file_does_not_define() -> None:
    for order in ([seen(0, "honest", ADAM), seen(50, "evil", ADAM), KNOWN], [KNOWN, seen(50, "evil", ADAM)]):
        (finding,) = judged(*order, seen(51, "evil", ADAM))
        assert finding.breaks
        assert finding.first_step == 50
        assert finding.locations[0].path == ADAM


def test_replacement_from_the_users_file_breaks() -> None:
    new = expected(TRAIN, "mine", sealed=False, distribution="")
    (finding,) = judged(KNOWN, new, seen(0, "honest", ADAM), seen(20, "mine", TRAIN))
    assert finding.breaks
    assert (finding.first_step, finding.locations[0].path) == (20, TRAIN)


def test_the_users_own_function_at_the_first_look_is_clean() -> None:
    assert judged(expected(TRAIN, "mine", sealed=False, distribution=""), seen(0, "mine", TRAIN)) == []


def test_replacement_by_a_distribution_as_installed_is_a_note() -> None:
    new = expected(LATER, "wrapper", distribution="accelerate")
    (finding,) = judged(KNOWN, seen(0, "honest", ADAM), seen(20, "wrapper", LATER), new)
    assert finding.severity is Severity.NOTE
    assert "accelerate" in finding.message


def test_replacement_by_an_altered_distribution_breaks() -> None:
    new = expected(LATER, "wrapper", sealed=False, distribution="accelerate")
    (finding,) = judged(KNOWN, new, seen(0, "honest", ADAM), seen(20, "wrapper", LATER))
    assert finding.breaks


def test_this_guards_own_functions_are_expected() -> None:
    ours = expected(GUARD, "hook", distribution="veracity")
    looks = [KNOWN, seen(0, "honest", ADAM), seen(1, "hook", GUARD)]
    assert judged(*looks, ours) == []
    assert judged(*looks) == []


def test_a_file_that_calls_itself_the_guard_is_not() -> None:
    foreign = expected("/tmp/_veracity_guard/x.py", "hook", sealed=False, distribution="")
    (finding,) = judged(KNOWN, foreign, seen(0, "honest", ADAM), seen(1, "hook", "/tmp/_veracity_guard/x.py"))
    assert finding.breaks


@pytest.mark.parametrize(("code", "path"), [("generated", "<string>"), ("", ""), ("", ADAM)])
def test_replacement_by_code_of_no_file_breaks(code: str, path: str) -> None:
    (finding,) = judged(KNOWN, seen(0, "honest", ADAM), seen(9, code, path))
    assert finding.breaks
    assert judged(seen(0, code, path)) == []


def test_a_variable_of_the_program_may_stand_for_another_of_its_functions() -> None:
    def named(step: int, code: str, name: str, path: str = TRAIN) -> FunctionsSeen:
        return seen(step, code, path, name=name)

    mine = expected(TRAIN, "step", "warm", "full", sealed=False, distribution="")
    method, variable = "__main__.Lion.step", "__main__.loss_fn"
    program = [mine, KNOWN, named(0, "step", method), named(0, "warm", variable)]
    assert judged(*program, named(20, "full", variable)) == []
    assert judged(*program, named(20, "full", f"{variable}.__wrapped__")) == []
    first = [named(0, "honest", "__main__.metric", ADAM), named(20, "full", "__main__.metric")]
    assert judged(*program, *first) == []
    for other in (
        named(20, "full", method),
        named(20, "other", variable),
        named(20, "full", "training.loss_fn"),
    ):
        before = named(0, "warm", "training.loss_fn")
        (finding,) = judged(*program, before, other)
        assert finding.breaks
    evil = expected("/tmp/evil.py", "evil", sealed=False, distribution="")
    (finding,) = judged(*program, evil, named(20, "evil", variable, "/tmp/evil.py"))
    assert finding.breaks


@pytest.mark.parametrize(("path", "severity"), [(TRAIN, Severity.NOTE), ("/job/helpers.py", Severity.ERROR)])
def test_a_forward_may_give_way_to_another_function_of_its_file(path: str, severity: Severity) -> None:
    mine = expected(TRAIN, "first", "second", sealed=False, distribution="")
    others = expected("/job/helpers.py", "second", sealed=False, distribution="")
    looks = [
        seen(step, code, where, name="net.Net.forward", forward=True)
        for step, code, where in [(0, "first", TRAIN), (20, "second", path)]
    ]
    (finding,) = judged(mine, others, *looks)
    assert (finding.severity, finding.first_step) == (severity, 20)


def test_what_was_there_before_is_not_told_of_again() -> None:
    new = expected(TRAIN, "mine", sealed=False, distribution="")
    looks = [
        seen(0, "honest", ADAM),
        seen(20, "mine", TRAIN),
        seen(25, "honest", ADAM),
        seen(30, "mine", TRAIN),
    ]
    (finding,) = judged(KNOWN, new, *looks)
    assert finding.first_step == 20


def test_replacement_from_a_file_nobody_could_compile_breaks() -> None:
    gone = expected("/gone.py", sealed=False, distribution="")
    (finding,) = judged(KNOWN, seen(0, "honest", ADAM), seen(9, "x", "/gone.py"), gone)
    assert finding.breaks


def test_replacement_from_a_file_that_there_was_no_time_to_compare_is_a_note() -> None:
    """torch itself wraps an optimizer's ``step`` when the first one of a class is built."""
    detector = FunctionSwapped()
    looks = [seen(0, "honest", ADAM), seen(9, "hook", "/site/torch/optim/optimizer.py")]
    assert [one for look in (KNOWN, *looks) for one in detector.observe(look)] == []
    (finding,) = detector.finish()
    assert finding.severity is Severity.NOTE
    assert "was not compared" in finding.message
    assert detector.coverage().reasons


def test_what_was_not_compared_is_coverage() -> None:
    detector = FunctionSwapped()
    for observation in (
        seen(0, "x", "/gone.py"),
        seen(0, "y", TRAIN, name="f"),
        expected(TRAIN, sealed=False),
    ):
        assert list(detector.observe(observation)) == []
    assert list(detector.finish()) == []
    assert len(detector.coverage().reasons) == 2
    assert detector.coverage().possible == 0


def test_processes_are_kept_apart() -> None:
    new = expected(TRAIN, "mine", sealed=False, distribution="")
    assert judged(KNOWN, new, seen(0, "honest", ADAM, pid=1), seen(0, "mine", TRAIN, pid=2)) == []


@pytest.mark.parametrize("name", ["__resume_at_50_6", "__compiled_fn_3", "__compiled_fn_3_a1b2_c3"])
def test_what_compiling_puts_into_a_module_is_counted(name: str) -> None:
    made = seen(20, "made", ADAM, name=f"torch.optim.adam.{name}")
    detector = FunctionSwapped()
    assert [one for seen_ in (KNOWN, made) for one in detector.observe(seen_)] == []
    assert detector.coverage().reasons
    assert judged(KNOWN, seen(20, "made", ADAM, name="torch.optim.adam.resume_at_50_6"))[0].breaks
