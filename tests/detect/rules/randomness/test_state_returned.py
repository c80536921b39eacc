"""Generators that move on are left alone, whatever programs do with them; one that is set back is found."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.contract import LoaderDeclaration, OptimizerDeclaration
from veracity.core.coverage import Coverage
from veracity.core.finding import Finding
from veracity.core.observation import LoaderStarted, Observation, OptimizerDeclared, StateRestored, StepRecord
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Severity
from veracity.detect.rules.randomness.state_returned import CONFIRMED, NOT_DRAWN, StateReturned

ORIGIN = Origin("guard", Trust.USERLAND, 7, 1, 0, 0)


class Program:
    """A training with a real generator, whose state each step reports as the guard does."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = random.Random(seed)
        self.number = 0
        self.seen: list[Observation] = []

    def state(self) -> str:
        return hashlib.sha256(repr(self.generator.getstate()).encode()).hexdigest()[:32]

    def declare(self, index: int = 0) -> None:
        declared = OptimizerDeclaration(index, "torch.optim.sgd.SGD", "", 0, [{}], [])
        self.seen.append(OptimizerDeclared(ORIGIN, declared))

    def begin_pass(self) -> None:
        loader = LoaderDeclaration(0, "d", 1, 1, False, "s", "b", 0, False, False)
        self.seen.append(LoaderStarted(ORIGIN, loader, 0, 0))

    def step(self, draws: int = 3, name: str = "torch", optimizer: int = 0) -> None:
        for _ in range(draws):
            self.generator.random()
        rng = {name: self.state()}
        self.seen.append(
            StepRecord(
                ORIGIN, optimizer, self.number, [{}], {}, 1.0, 1, rng, [], [], None, None, False, False
            )
        )
        self.number += 1

    def judged(self) -> tuple[list[Finding], Coverage]:
        detector = StateReturned()
        found = [finding for one in self.seen for finding in detector.observe(one)]
        return [*found, *detector.finish()], detector.coverage()


def steps(program: Program, draws: Iterable[int]) -> None:
    for number in draws:
        program.step(number)


@given(st.integers(), st.lists(st.integers(0, 5), max_size=60))
def test_a_generator_that_moves_on_is_left_alone(seed: int, draws: list[int]) -> None:
    program = Program(seed)
    program.declare()
    steps(program, draws)
    found, coverage = program.judged()
    assert found == []
    assert coverage.possible == len(draws)
    assert coverage.checked == sum(count > 0 for count in draws) + (draws[:1] == [0])
    assert coverage.reasons.get(NOT_DRAWN, 0) == coverage.possible - coverage.checked


@given(st.integers(0, 20), st.integers(2, 12), st.sampled_from(["torch", "python", "numpy"]))
def test_a_seed_set_again_and_again_is_found_at_its_second_time(before: int, every: int, name: str) -> None:
    program = Program()
    program.declare()
    for number in range(before + 2 * every + 8):
        if number >= before and (number - before) % every == 0:
            program.generator.seed(1234)
        program.step(name=name)
    found, _ = program.judged()
    (finding,) = found
    assert finding.breaks
    assert (finding.first_step, finding.rank) == (before + every, 1)
    assert name in finding.subject


@given(st.integers(1, 30))
def test_a_state_put_back_once_is_found_there(back_to: int) -> None:
    program = Program()
    program.declare()
    kept = None
    for number in range(back_to + 12):
        if number == back_to - 1:
            kept = program.generator.getstate()
        if number == back_to + 4 and kept is not None:
            program.generator.setstate(kept)
        program.step()
    (finding,) = program.judged()[0]
    assert finding.first_step == back_to + 4


def test_evaluation_that_puts_the_state_back_is_left_alone() -> None:
    program = Program()
    program.declare()
    for _ in range(30):
        kept = program.generator.getstate()
        program.generator.seed(1)
        program.generator.random()
        program.generator.setstate(kept)
        program.step()
    assert program.judged()[0] == []


def test_the_same_seed_for_each_epoch_is_a_warning() -> None:
    program = Program()
    program.declare()
    for _ in range(4):
        program.generator.seed(5)
        program.begin_pass()
        steps(program, [3] * 10)
    (finding,) = program.judged()[0]
    assert finding.severity is Severity.WARNING
    assert not finding.breaks
    assert finding.first_step == 10


def test_a_seed_set_after_another_optimizers_first_step_of_the_pass_is_a_warning() -> None:
    program = Program()
    for index in (0, 1):
        program.declare(index)
    for _ in range(3):
        program.begin_pass()
        program.step()
        program.generator.seed(5)
        for _ in range(10):
            program.step(optimizer=1)
    found, _ = program.judged()
    assert [one.severity for one in found] == [Severity.WARNING]


def test_another_seed_for_each_epoch_is_left_alone() -> None:
    program = Program()
    program.declare()
    for epoch in range(4):
        program.generator.seed(5 + epoch)
        program.begin_pass()
        steps(program, [3] * 10)
    assert program.judged()[0] == []


def test_a_second_training_in_one_process_may_begin_with_the_same_seed() -> None:
    program = Program()
    for index in range(3):
        program.generator.seed(5)
        program.declare(index)
        steps(program, [3] * 10)
    assert program.judged()[0] == []


def test_a_declaration_again_of_the_same_optimizer_forgets_nothing() -> None:
    program = Program()
    for _ in range(2):
        program.generator.seed(5)
        program.declare()
        steps(program, [3] * 10)
    assert [finding.first_step for finding in program.judged()[0]] == [10]


def test_a_roll_back_may_put_the_state_back() -> None:
    program = Program()
    program.declare()
    kept = program.generator.getstate()
    steps(program, [3] * 10)
    program.generator.setstate(kept)
    program.seen.append(StateRestored(ORIGIN, 0, 10, True, True, [], []))
    steps(program, [3] * 10)
    assert program.judged()[0] == []


@settings(max_examples=examples(15))
@given(st.integers(0, 1000))
def test_items_that_set_their_own_seed_are_left_alone(seed: int) -> None:
    """Each epoch's states are those of the epoch before, in another order."""
    program, order = Program(), random.Random(seed)
    program.declare()
    for _ in range(3):
        items = list(range(200))
        order.shuffle(items)
        for item in items:
            program.generator.seed(item)
            program.step()
    assert program.judged()[0] == []


def test_a_few_steps_alike_are_not_yet_a_finding() -> None:
    program = Program()
    program.declare()
    kept = program.generator.getstate()
    steps(program, [3] * (CONFIRMED - 1))
    program.generator.setstate(kept)
    steps(program, [3] * (CONFIRMED - 1))
    program.generator.seed(99)
    steps(program, [3] * 5)
    assert program.judged()[0] == []
