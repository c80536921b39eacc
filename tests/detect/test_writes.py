"""A tensor written anew, and what a program has always done."""

from __future__ import annotations

from veracity.core.contract import TensorDeclaration
from veracity.detect.writes import EARLY, Anew, Writes

SHAPES = ([4, 4], [4], [4, 4], [4])
DECLARED = [TensorDeclaration(str(at), list(shape), "float32", 4, 0) for at, shape in enumerate(SHAPES)]
ALL = range(len(SHAPES))


def told(*written: tuple[int, ...]) -> list[tuple[int, Anew]]:
    """Step and what was new at it; nothing is written at steps that are not given."""
    writes, found = Writes(), []
    for step, tensors in enumerate(written):
        anew = writes.take(ALL, tensors, DECLARED)
        if anew.tensors:
            found.append((step, anew))
    return found


QUIET = ((),) * EARLY


def test_a_tensor_written_after_it_was_left_alone_is_told_once() -> None:
    assert told(*QUIET, (2,), (), (2,), (2,)) == [(EARLY, Anew([2]))]
    assert told(*QUIET, (2, 1), (3,)) == [(EARLY, Anew([1, 2])), (EARLY + 1, Anew([3]))]


def test_what_is_written_from_the_first_step_on_is_a_habit() -> None:
    assert told(*((1,),) * 30) == []
    assert told(*((1,),) * 20, (1, 2)) == [(20, Anew([2]))]


def test_a_program_that_decides_by_what_it_finds_is_left_alone() -> None:
    assert told((), (), (1,), (), *QUIET, (2,), (0,)) == []


def test_all_tensors_or_all_matrices_alike_are_told_as_such_once() -> None:
    assert told(*QUIET, (0, 1, 2, 3), (), (0, 1, 2, 3)) == [(EARLY, Anew([0, 1, 2, 3], alike=True))]
    assert told(*QUIET, (0, 2)) == [(EARLY, Anew([0, 2], alike=True))]
    assert told((0, 2), *QUIET, (0, 2)) == []


def test_writes_into_all_do_not_hide_those_into_one() -> None:
    every = (0, 1, 2, 3)
    assert told(every, *QUIET, (2,)) == [(EARLY + 1, Anew([2]))]


def test_a_tensor_that_was_never_looked_at_has_no_habit() -> None:
    writes = Writes()
    for _ in range(20):
        writes.take([0, 1], [], DECLARED)
    assert not writes.take(ALL, [2], DECLARED).tensors
    assert not writes.take([0, 1], [3], DECLARED).tensors
