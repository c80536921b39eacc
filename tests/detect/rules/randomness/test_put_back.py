"""A generator that is put back before each step is found; one that is set and goes on is not."""

from __future__ import annotations

import hashlib
import random

import pytest

from veracity.core.contract import LoaderDeclaration
from veracity.core.finding import Finding
from veracity.core.observation import LoaderStarted, Observation, StateRestored, StepRecord
from veracity.core.origin import Origin, Trust
from veracity.core.rule import Severity
from veracity.detect.rules.randomness.put_back import CONFIRMED, DRAWN
from veracity.detect.rules.randomness.state_returned import NOT_DRAWN, StateReturned

ORIGIN = Origin("guard", Trust.USERLAND, 7, 1, 0, 0)


class Program:
    """A training with a real generator, which it may set between its steps."""

    def __init__(self) -> None:
        self.generator = random.Random(0)
        self.number = 0
        self.set_to = ""
        self.detector = StateReturned()
        self.findings: list[Finding] = []

    def state(self) -> str:
        return hashlib.sha256(repr(self.generator.getstate()).encode()).hexdigest()[:32]

    def see(self, observation: Observation) -> None:
        self.findings += self.detector.observe(observation)

    def seed(self, seed: int = 7) -> None:
        self.generator.seed(seed)
        self.set_to = self.state()

    def evaluate(self) -> None:
        """Under a fixed seed, with the state put back afterwards, as ``fork_rng`` does."""
        kept = self.generator.getstate()
        self.generator.seed(7)
        self.generator.random()
        self.generator.setstate(kept)
        self.set_to = self.state()

    def begin_pass(self) -> None:
        loader = LoaderDeclaration(0, "d", 1, 1, False, "s", "b", 0, False, False)
        self.see(LoaderStarted(ORIGIN, loader, 0, 0))

    def step(self, draws: int = 3, index: int = 0) -> None:
        for _ in range(draws):
            self.generator.random()
        rng, set_to = {"torch": self.state()}, self.set_to
        record = StepRecord(
            ORIGIN, index, self.number, [{}], {}, 1.0, 1, rng, [], [], None, None, False, False, set_to=set_to
        )  # fmt: skip
        self.see(record)
        self.set_to = ""
        self.number += 1


@pytest.mark.parametrize("before", [DRAWN, 40])
def test_a_generator_put_back_before_each_step_is_found(before: int) -> None:
    program = Program()
    for number in range(before + 12):
        if number >= before:
            program.seed()
        program.step()
    (finding,) = program.findings
    assert finding.severity is Severity.WARNING
    assert finding.first_step == before + 1  # the first that has what another step had
    assert program.detector.coverage().checked == before + 12


def test_it_is_found_though_another_optimizer_steps_in_between() -> None:
    program = Program()
    for number in range(40):
        if number >= 20:
            program.seed()
        program.step(index=0)
        program.step(2, index=1)
    assert any(one.message.startswith("torch's random generator is put back") for one in program.findings)


def test_seeding_each_step_from_the_beginning_is_meant() -> None:
    program = Program()
    for _ in range(40):
        program.seed()
        program.step()
    assert program.findings == []


def test_fewer_than_three_in_a_row_are_not_enough() -> None:
    program = Program()
    for number in range(40):
        if number in range(20, 20 + CONFIRMED):
            program.seed()
        program.step()
    assert program.findings == []


def test_what_draws_nothing_is_not_put_back() -> None:
    program = Program()
    for number in range(40):
        program.evaluate()
        program.step(3 if number < 20 else 0)
    assert program.findings == []
    assert program.detector.coverage().reasons[NOT_DRAWN] == 20


def test_a_state_set_and_left_is_no_breach() -> None:
    program = Program()
    for _ in range(40):
        program.evaluate()
        program.step()
    assert program.findings == []


def test_another_seed_for_each_step_is_no_breach() -> None:
    program = Program()
    for number in range(40):
        if number >= 15:
            program.seed(number)
        program.step()
    assert program.findings == []


def test_after_a_restored_state_it_is_another_training() -> None:
    program = Program()
    for number in range(40):
        if number == 20:
            program.see(StateRestored(ORIGIN, 0, 20, True, True, [], []))
        if number >= 20:
            program.seed()
        program.step()
    assert program.findings == []


def test_a_seed_at_each_pass_of_one_step_is_a_note() -> None:
    program = Program()
    for number in range(40):
        program.begin_pass()
        if number >= 20:
            program.seed()
        program.step()
    assert [finding.severity for finding in program.findings] == [Severity.NOTE]
