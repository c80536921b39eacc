"""Reports that are the loss, or something like it, and reports that are not."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence

import pytest

from tests.detect.rules.metric.curves import Program, curve, full, hello, judge, logged
from veracity.core.finding import Finding
from veracity.core.observation import MetricsLogged, Observation
from veracity.core.rule import Severity

Writer = Callable[[Program, Sequence[float]], None]


def clean(observations: Sequence[Observation], at_least: int) -> None:
    """No finding of any kind, and that many values compared."""
    found, detector = judge(observations)
    assert found == [], [one.message for one in found]
    assert detector.coverage().checked >= at_least, detector.coverage()


def broken(observations: Sequence[Observation]) -> Finding:
    """The one finding, which breaks the run."""
    found, _ = judge(observations)
    assert len(found) == 1, [one.message for one in found]
    assert found[0].breaks, found[0]
    return found[0]


def only(observations: Sequence[Observation], severity: Severity) -> Finding:
    """The one finding, of this severity."""
    found, _ = judge(observations)
    assert [one.severity for one in found] == [severity], [one.message for one in found]
    return found[0]


# --- what programs log of their loss --------------------------------------------------------------------


def every_step(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        program.log(step, full(loss))


def counted_from_one_with_four_digits(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        program.log(step, f"{loss:.4f}", step=step + 1)


def every_tenth(program: Program, losses: Sequence[float]) -> None:
    for step in range(9, len(losses), 10):
        program.log(step, f"{losses[step]:.4f}", step=step + 1)


def resumed_from_step_200(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        program.log(step, full(loss), step=step + 200)


def without_steps(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        program.log(step, full(loss), step=None)


def every_fifth_without_steps(program: Program, losses: Sequence[float]) -> None:
    for step in range(0, len(losses), 5):
        program.log(step, full(losses[step]), step=None)


def mean_of_ten(program: Program, losses: Sequence[float]) -> None:
    for step in range(9, len(losses), 10):
        program.log(step, f"{math.fsum(losses[step - 9 : step + 1]) / 10:.4f}", step=step + 1)


def mean_of_ten_then_of_twenty(program: Program, losses: Sequence[float]) -> None:
    last = 0
    for step in (*range(9, 200, 10), *range(219, len(losses), 20)):
        program.log(step, f"{math.fsum(losses[last : step + 1]) / (step + 1 - last):.4f}", step=step + 1)
        last = step + 1


def running_mean_of_each_epoch(program: Program, losses: Sequence[float]) -> None:
    total, count = 0.0, 0
    for step, loss in enumerate(losses):
        if step % 60 == 0:
            total, count = 0.0, 0
        total, count = total + loss, count + 1
        program.log(step, full(total / count))


def last_twenty(program: Program, losses: Sequence[float]) -> None:
    window: deque[float] = deque(maxlen=20)
    for step, loss in enumerate(losses):
        window.append(loss)
        program.log(step, f"{math.fsum(window) / len(window):.6f}")


def last_thirty_seven(program: Program, losses: Sequence[float]) -> None:
    """A length that nobody would guess: known from when the window was filled."""
    window: deque[float] = deque(maxlen=37)
    for step, loss in enumerate(losses):
        window.append(loss)
        program.log(step, full(math.fsum(window) / len(window)))


def smoothed(program: Program, losses: Sequence[float]) -> None:
    average = losses[0]
    for step, loss in enumerate(losses):
        average = 0.98 * average + 0.02 * loss if step else loss
        if step % 5 == 0:
            program.log(step, f"{average:.6g}")


def smoothed_and_corrected(program: Program, losses: Sequence[float]) -> None:
    average = 0.0
    for step, loss in enumerate(losses):
        average = 0.98 * average + 0.02 * loss
        program.log(step, full(average / (1 - 0.98 ** (step + 1))))


def smoothing_begins_later(program: Program, losses: Sequence[float]) -> None:
    average = 0.0
    for step, loss in enumerate(losses):
        average = 0.9 * average + 0.1 * loss if step else loss
        program.log(step, full(average if step > 100 else loss))


def interval_changes(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        if step < 60 or step % 10 == 0:
            program.log(step, full(loss), step=None)


def bits(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        program.log(step, full(loss / math.log(2)))


def bits_by_hand(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        program.log(step, full(loss / 0.693))


def times_batch_size(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        program.log(step, full(loss * 48))


def held_out_under_the_same_name(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        program.log(step, full(loss))
        if step % 20 == 19:
            program.log(step, full(1.03 * loss + 0.01 * math.sin(step)))


def some_values_twice_and_some_odd(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        program.log(step, full(loss))
        if step % 13 == 0:
            program.log(step, full(loss))
        if step in (50, 51, 90):
            program.log(step, "7.25")


def not_finite_at_times(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        program.log(step, "NaN" if step % 40 == 39 else full(loss))


def with_other_series(program: Program, losses: Sequence[float]) -> None:
    chance = random.Random(3)
    for step, loss in enumerate(losses):
        program.log(step, full(loss), key="loss")
        program.log(step, full(1e-3 * (1 - step / 400)), key="lr")
        program.log(step, f"{loss * (1 + chance.gauss(0, 0.03)):.2f}", key="val_loss")
        program.log(step, f"{chance.gauss(50, 4):.3f}", key="ms")
        program.log(step, full(abs(chance.gauss(1, 0.2))), key="grad_norm")


def the_line_in_the_middle_of_a_pass_is_missing(program: Program, losses: Sequence[float]) -> None:
    for step, loss in enumerate(losses):
        if step % 50 != 25:
            program.log(step, full(loss))


LIKE_THE_LOSS: tuple[tuple[Writer, int], ...] = (
    (every_step, 300),
    (counted_from_one_with_four_digits, 300),
    (every_tenth, 30),
    (resumed_from_step_200, 300),
    (without_steps, 300),
    (every_fifth_without_steps, 60),
    (mean_of_ten, 30),
    (mean_of_ten_then_of_twenty, 20),
    (running_mean_of_each_epoch, 290),
    (last_twenty, 280),
    (last_thirty_seven, 280),
    (smoothed, 55),
    (smoothed_and_corrected, 290),
    (smoothing_begins_later, 290),
    (interval_changes, 60),
    (bits, 290),
    (bits_by_hand, 290),
    (times_batch_size, 290),
    (held_out_under_the_same_name, 300),
    (some_values_twice_and_some_odd, 300),
    (not_finite_at_times, 290),
    (with_other_series, 300),
    (the_line_in_the_middle_of_a_pass_is_missing, 290),
)


@pytest.mark.parametrize(("write", "at_least"), LIKE_THE_LOSS)
@pytest.mark.parametrize("lag", [7, 1000])
def test_what_programs_log_of_their_loss(write: Writer, at_least: int, lag: int) -> None:
    losses = curve(300, seed=len(write.__name__))
    program = Program(losses)
    write(program, losses)
    clean(program.observations(lag=lag), at_least)


# --- several backward passes, several ranks -------------------------------------------------------------


def accumulated(steps: int, parts: int) -> tuple[list[list[float]], list[float]]:
    flat = curve(steps * parts, seed=4)
    micro = [flat[at : at + parts] for at in range(0, len(flat), parts)]
    return micro, [one[-1] for one in micro]


@pytest.mark.parametrize("what", ["last", "sum", "mean", "last times four", "mean of ten"])
def test_accumulated_gradients(what: str) -> None:
    micro, last = accumulated(200, 4)
    program = Program(last, micro=micro)
    means = [math.fsum(one) / 4 for one in micro]
    for step, parts in enumerate(micro):
        value = {"last": parts[-1], "sum": math.fsum(parts), "last times four": 4 * parts[-1]}
        if what == "mean of ten" and step % 10 == 9:
            program.log(step, f"{math.fsum(means[step - 9 : step + 1]) / 10:.4f}", step=step + 1)
        elif what != "mean of ten":
            program.log(step, full(value.get(what, means[step])))
    clean(program.observations(), 20 if what == "mean of ten" else 190)


def test_steps_counted_in_micro_batches() -> None:
    micro, last = accumulated(200, 4)
    program = Program(last, micro=micro)
    for step, parts in enumerate(micro):
        program.log(step, full(parts[-1]), step=4 * step + 3)
    clean(program.observations(), 190)


def test_more_micro_batches_from_step_100_on() -> None:
    flat = curve(100 * 2 + 100 * 4, seed=5)
    micro = [flat[at : at + 2] for at in range(0, 200, 2)] + [flat[at : at + 4] for at in range(200, 600, 4)]
    program = Program([one[-1] for one in micro], micro=micro)
    for step, parts in enumerate(micro):
        program.log(step, full(math.fsum(parts) / len(parts)))
    clean(program.observations(), 190)


def test_shorter_last_accumulation_of_each_epoch() -> None:
    """Divided by the usual number of micro-batches all the same: the values there are 3/4 of the mean."""
    flat = curve(800, seed=6)
    micro: list[list[float]] = []
    while flat:
        parts = 3 if len(micro) % 10 == 9 else 4
        micro.append(flat[:parts])
        flat = flat[parts:]
    program = Program([one[-1] for one in micro], micro=micro)
    for step, losses in enumerate(micro):
        program.log(step, full(math.fsum(losses) / 4))
    clean(program.observations(), 190)


def two_ranks(write: Callable[[Program, list[float], list[float]], None]) -> list[Observation]:
    mine, other = curve(200, seed=7), curve(200, seed=8)
    programs = Program(mine, pid=100, rank=0), Program(other, pid=101, rank=1)
    write(programs[0], mine, other)
    made: list[Observation] = [hello(100, 0, 2), hello(101, 1, 2)]
    first, second = programs[0].observations(), programs[1].observations()
    steps = iter(second)
    for one in first:
        made.append(one)
        if not isinstance(one, MetricsLogged):
            made.append(next(steps))
    return made


def test_first_rank_logs_its_own_loss() -> None:
    def write(program: Program, mine: list[float], other: list[float]) -> None:
        every_step(program, mine)

    clean(two_ranks(write), 200)


def test_first_rank_logs_the_mean_over_ranks() -> None:
    def write(program: Program, mine: list[float], other: list[float]) -> None:
        every_step(program, [(one + two) / 2 for one, two in zip(mine, other, strict=True)])

    clean(two_ranks(write), 200)


def test_mean_over_ranks_misreported() -> None:
    def write(program: Program, mine: list[float], other: list[float]) -> None:
        means = [(one + two) / 2 for one, two in zip(mine, other, strict=True)]
        every_step(program, [mean * (0.97 if step >= 50 else 1) for step, mean in enumerate(means)])

    finding = broken(two_ranks(write))
    assert finding.first_step == 50


# --- losses that a program changes on their way to backward ---------------------------------------------


def test_loss_scale_that_grows_and_shrinks() -> None:
    """GradScaler: ``backward`` is called on the scaled loss, the plain one is logged."""
    losses = curve(300, seed=9)
    scale = [2.0**16 if step < 120 else 2.0**17 if step < 200 else 2.0**15 for step in range(300)]
    program = Program([one * by for one, by in zip(losses, scale, strict=True)])
    every_step(program, losses)
    clean(program.observations(), 290)


def test_scaled_steps_that_are_skipped() -> None:
    """The program counts iterations, the guard optimizer steps: from each skipped one on they differ."""
    losses = curve(300, seed=10)
    skipped = {80, 81, 150, 230}
    program = Program([loss for at, loss in enumerate(losses) if at not in skipped])
    done = 0
    for at, loss in enumerate(losses):
        program.log(min(done, 295), full(loss), step=at)
        done += at not in skipped
    clean(program.observations(), 280)


def test_weight_of_the_objective_halved_is_only_noted() -> None:
    losses = curve(300, seed=11)
    program = Program([one * (0.3 if step >= 150 else 1.0) for step, one in enumerate(losses)])
    every_step(program, losses)
    finding = only(program.observations(), Severity.NOTE)
    assert finding.first_step == 150


def test_report_halved_now_and_then_is_a_warning_at_least() -> None:
    """Noisy losses: which of the two moved cannot be said, but no loss scale is so short."""
    losses = [one * (1 + 0.6 * random.Random(at).random()) for at, one in enumerate(curve(300, seed=11))]
    chosen = {at for at in range(60, 300) if random.Random(at * 7).random() < 0.5}
    program = Program(losses)
    every_step(program, [one * (0.5 if at in chosen else 1) for at, one in enumerate(losses)])
    found, _ = judge(program.observations())
    assert [one.severity.weight >= Severity.WARNING.weight for one in found] == [True]


def test_term_added_to_the_objective_is_only_a_warning() -> None:
    losses = curve(300, seed=12)
    extra = curve(300, seed=13)
    program = Program(
        [a + (0.1 * b if at >= 150 else 0) for at, (a, b) in enumerate(zip(losses, extra, strict=True))]
    )
    every_step(program, losses)
    finding = only(program.observations(), Severity.WARNING)
    assert finding.first_step == 150


def test_term_added_and_both_logged() -> None:
    losses, extra = curve(300, seed=12), curve(300, seed=13)
    whole = [a + (0.1 * b if at >= 150 else 0) for at, (a, b) in enumerate(zip(losses, extra, strict=True))]
    program = Program(whole)
    for step, (part, total) in enumerate(zip(losses, whole, strict=True)):
        program.log(step, full(part), key="ce")
        program.log(step, full(total), key="loss")
    clean(program.observations(), 300)


def test_batches_of_two_kinds_with_weights_of_their_own() -> None:
    chance = random.Random(14)
    losses = curve(400, seed=14)
    program = Program([one * (0.3 if chance.random() < 0.3 else 1.0) for one in losses])
    every_step(program, losses)
    found, _ = judge(program.observations())
    assert all(one.severity is Severity.NOTE for one in found), [one.message for one in found]


def test_clipped_losses() -> None:
    losses = curve(300, seed=15, noise=0.2)
    program = Program([min(one, 2.5) for one in losses])
    every_step(program, losses)
    found, _ = judge(program.observations())
    assert all(not one.breaks for one in found)


# --- series that are not the loss -----------------------------------------------------------------------


@pytest.mark.parametrize("digits", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_held_out_loss_is_never_taken_for_the_loss(digits: int, seed: int) -> None:
    losses, chance = curve(600, seed=seed), random.Random(seed)
    program = Program(losses)
    for step in range(600):
        mean = math.fsum(losses[max(step - 20, 0) : step + 1]) / (step + 1 - max(step - 20, 0))
        program.log(step, f"{mean * (1 + chance.gauss(0, 0.004)):.{digits}f}", key="val_loss")
    found, detector = judge(program.observations())
    assert found == []
    assert detector.coverage().checked == 0
    assert "none of 1 logged series is explained by the computed loss" in detector.coverage().reasons


@pytest.mark.parametrize("losses", [[0.0] * 200, [2.3025850929940455] * 200, [math.nan] * 200])
@pytest.mark.parametrize("text", ["0.0", "2.3026", "2.3025850929940455", "NaN", "1.0"])
def test_losses_that_do_not_move_prove_nothing(losses: list[float], text: str) -> None:
    program = Program(losses)
    for step in range(200):
        program.log(step, text)
    found, _ = judge(program.observations())
    assert found == []


def test_converged_to_zero_in_the_printed_digits() -> None:
    chance = random.Random(16)
    losses = [max(0.5 * 0.9**step, 1e-7) * (1 + chance.gauss(0, 0.05)) for step in range(300)]
    program = Program(losses)
    for step, loss in enumerate(losses):
        program.log(step, f"{loss:.4f}")
    found, _ = judge(program.observations())
    assert found == []


def test_smooth_full_batch_descent() -> None:
    losses = [1 + 3 * math.exp(-step / 100) for step in range(300)]
    program = Program(losses)
    for step, loss in enumerate(losses):
        program.log(step, f"{loss:.4f}", step=step + 1)
        program.log(step, f"{loss * 1.02:.4f}", step=step + 1, key="val_loss")
    found, _ = judge(program.observations())
    assert all(one.subject != "loss" and not one.breaks for one in found), [one.message for one in found]


def test_old_values_in_a_file_that_is_appended_to() -> None:
    losses = curve(200, seed=17)
    program = Program(losses)
    for step, loss in enumerate(curve(150, seed=18)):
        program.log(0, full(loss), step=step)
    for step, loss in enumerate(losses):
        program.log(step, full(loss), step=step + 100)
    clean(program.observations(), 190)


def test_second_process_goes_on_in_the_same_file() -> None:
    """Restarted after step 120 from a checkpoint of step 100."""
    first, second = Program(curve(120, seed=19), pid=100), Program(curve(150, seed=20), pid=200)
    every_step(first, first.losses)
    for step, loss in enumerate(second.losses):
        second.log(step, full(loss), step=step + 100)
    clean([*first.observations(), *second.observations()], 240)


def test_twin_of_the_job_in_the_same_folder() -> None:
    """A run of the same command with another rate: the same losses at first, then others; not this job's."""
    losses = curve(300, seed=21)
    program = Program(losses, held=False)
    every_step(
        program, [one if step < 60 else one * (1 + 0.001 * (step - 59)) for step, one in enumerate(losses)]
    )
    found, _ = judge(program.observations())
    assert found == []


# --- misreported ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [7, 1000])
@pytest.mark.parametrize("first", [5, 20, 150])
@pytest.mark.parametrize("factor", [0.5, 0.95, 0.995, 1.3])
def test_multiple_from_a_step_on(factor: float, first: int, lag: int) -> None:
    losses = curve(300, seed=22)
    program = Program(losses)
    for step, loss in enumerate(losses):
        program.log(step, full(loss * (factor if step >= first else 1)))
    finding = broken(program.observations(lag=lag))
    assert finding.first_step == first
    assert f"{factor:g} times" in finding.message
    assert finding.locations[0].path == program.path
    assert finding.evidence


@pytest.mark.parametrize("digits", [3, 4, 6])
def test_multiple_in_few_digits(digits: int) -> None:
    losses = curve(300, seed=23)
    program = Program(losses)
    for step, loss in enumerate(losses):
        program.log(step, f"{loss * (0.95 if step >= 100 else 1):.{digits}f}", step=step + 1)
    assert broken(program.observations()).first_step == 100


def test_difference_from_a_step_on() -> None:
    losses = curve(300, seed=24)
    program = Program(losses)
    for step, loss in enumerate(losses):
        program.log(step, full(loss - 0.1 if step >= 77 else loss))
    finding = broken(program.observations())
    assert finding.first_step == 77
    assert "0.1 less than" in finding.message


def test_mean_of_the_interval_misreported() -> None:
    losses = curve(400, seed=25)
    program = Program(losses)
    for step in range(9, 400, 10):
        mean = math.fsum(losses[step - 9 : step + 1]) / 10
        program.log(step, f"{mean * (0.95 if step >= 200 else 1):.4f}", step=step + 1)
    assert broken(program.observations()).first_step == 209


def test_smoothed_loss_misreported() -> None:
    losses = curve(300, seed=26)
    program = Program(losses)
    average = losses[0]
    for step, loss in enumerate(losses):
        average = 0.9 * average + 0.1 * loss if step else loss
        program.log(step, full(average * (0.9 if step >= 200 else 1)))
    assert broken(program.observations()).first_step == 200


def test_here_and_there_by_a_factor_that_stands_out() -> None:
    losses, chance = curve(300, seed=27, begin=1.5), random.Random(27)
    program = Program(losses)
    touched = [step for step in range(300) if chance.random() < 0.1]
    for step, loss in enumerate(losses):
        program.log(step, full(loss * (0.6 if step in touched else 1)))
    assert broken(program.observations()).first_step == touched[0]


def test_every_tenth_value_is_only_a_warning() -> None:
    losses = curve(300, seed=28)
    program = Program(losses)
    for step, loss in enumerate(losses):
        program.log(step, full(loss * (0.9 if step % 10 == 9 else 1)))
    assert only(program.observations(), Severity.WARNING).first_step == 9


def test_odd_multiple_from_the_start_is_a_warning() -> None:
    losses = curve(300, seed=29)
    program = Program(losses)
    every_step(program, [0.9 * one for one in losses])
    finding = only(program.observations(), Severity.WARNING)
    assert "0.9 times" in finding.message


def test_made_up_values_from_a_step_on_are_a_warning() -> None:
    losses, other = curve(300, seed=30), curve(300, seed=31)
    program = Program(losses)
    every_step(
        program, [a if step < 100 else 0.9 * b for step, (a, b) in enumerate(zip(losses, other, strict=True))]
    )
    assert only(program.observations(), Severity.WARNING).first_step == 100


def test_a_step_number_far_ahead_does_not_hide_it() -> None:
    losses = curve(300, seed=32)
    program = Program(losses)
    for step, loss in enumerate(losses):
        late = step >= 60
        program.log(step, full(loss * (0.9 if late else 1)), step=step + (10**6 if late else 0))
    found, _ = judge(program.observations())
    assert found


# --- bounds ---------------------------------------------------------------------------------------------


def test_many_series_and_wild_values_are_bounded() -> None:
    program = Program(curve(60, seed=33))
    for step in range(60):
        for key in range(100):
            program.rows.append(
                (step, logged(f"key{key}", 10**14 * (step % 7), ("1e300", "-1e-300", "inf")[step % 3]))
            )
    found, detector = judge(program.observations())
    assert found == []
    assert "more series are logged than are followed" in detector.coverage().reasons


def test_without_files_the_coverage_says_so() -> None:
    found, detector = judge(Program(curve(20)).observations())
    assert found == []
    assert detector.coverage().checked == 0
    assert "the job wrote no file of metrics of a known kind" in detector.coverage().reasons
