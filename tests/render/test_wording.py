from __future__ import annotations

import dataclasses

import pytest

from tests.render import samples
from veracity.core.coverage import Coverage
from veracity.core.finding import Location
from veracity.core.verdict import Outcome, Verdict
from veracity.render import wording


@pytest.mark.parametrize(
    ("ns", "said"),
    [
        (0, "0 s"),
        (1_500, "1.5 us"),
        (43_200_000, "43.2 ms"),
        (1_800_000_000, "1.8 s"),
        (252_000_000_000, "4 min 12 s"),
        (11_100_000_000_000, "3 h 05 min"),
        (-43_200_000, "-43.2 ms"),
    ],
)
def test_durations(ns: int, said: str) -> None:
    assert wording.duration(ns) == said


def test_moments_that_no_calendar_has() -> None:
    assert wording.moment(samples.START) == "2025-03-02 14:02:11 UTC"
    assert wording.moment(2**80) == "unknown"
    assert wording.moment(None) == "not yet"


def test_severities_of_nothing() -> None:
    assert wording.severities(()) == "none"


def test_worst_first() -> None:
    ordered = wording.worst_first((samples.STALL, samples.FORGED, samples.UPDATE))
    assert ordered == [samples.UPDATE, samples.FORGED, samples.STALL]


def test_coverage_says_when_nothing_was_checked() -> None:
    assert wording.checked(Coverage("x", "steps", 300, 300)) == "checked 300 of 300 steps"
    assert wording.checked(Coverage("x", "steps", 0, 300)) == "checked nothing (0 of 300 steps)"
    assert wording.checked(Coverage("x", "steps")) == "checked nothing"
    part = Coverage("x", "steps", 1, 9, {"rare": 1, "common": 7}, "went away")
    assert wording.reasons(part) == ["stopped: went away", "common (7 times)", "rare"]


def test_sentences_of_what_happened() -> None:
    assert wording.happened(samples.broken()) == (
        "From step 120 on, the weights were not changed as the declared optimizer would have changed them "
        "(rank 0). The first place to look is torch/optim/adamw.py:412. 2 further findings below."
    )
    assert wording.happened(samples.held()).startswith(
        "300 steps on 2 ranks obeyed every law that was checked (3 of 3)"
    )
    assert "no process of the job was heard" in wording.happened(samples.incomplete())
    assert wording.happened(samples.unfinished()).startswith("No verdict yet")


def test_an_unknown_law_and_a_short_path_still_make_a_sentence() -> None:
    odd = dataclasses.replace(
        samples.UPDATE, law="new-law", first_step=None, rank=-1, locations=(Location("train.py"),)
    )
    summary = dataclasses.replace(samples.broken(), findings=(odd,))
    assert (
        wording.happened(summary) == "The law of new-law did not hold. The first place to look is train.py."
    )


def test_a_broken_verdict_without_its_finding_says_so() -> None:
    summary = dataclasses.replace(samples.broken(), findings=())
    assert "no finding that would break a run is in the record" in wording.happened(summary)


def test_other_reasons_do_not_repeat_findings_or_the_sentence() -> None:
    assert wording.other_reasons(samples.broken()) == []
    assert wording.other_reasons(samples.held()) == []
    verdict = Verdict(Outcome.INCOMPLETE, ("first", "second"))
    assert wording.other_reasons(dataclasses.replace(samples.incomplete(), verdict=verdict)) == ["second"]


def test_the_odds_of_a_law_that_draws() -> None:
    part = Coverage("gradient-truth", "steps", 20, 400, drawn_from=10)
    assert wording.odds(part) == (
        "drawn by chance: what acts on a tenth of the steps was missed with a probability of 0.12 if it acts "
        "on all 10, of 0.82 if on one of them"
    )
    assert wording.odds(Coverage("update", "steps", 20, 400)) == ""


def test_the_odds_of_steps_that_were_passed_over() -> None:
    assert wording.odds(Coverage("update", "steps", 100, 400, passed=300)) == (
        "drawn by chance: what acts on a hundredth of the steps was missed with a probability of 0.37, on a "
        "tenth of 2.7e-05"
    )


def test_a_run_that_was_looked_at_in_part_is_not_called_looked_at() -> None:
    held = samples.held()
    made = sum(process.steps for process in held.processes)
    part = dataclasses.replace(held.coverage["update"], passed=made - 1)
    said = wording.happened(dataclasses.replace(held, coverage={**held.coverage, "update": part}))
    assert "% were looked at, obeyed every law that was checked" in said
    assert "looked at" not in wording.happened(held)


def test_a_rank_that_was_started_again_has_made_the_steps_of_all_its_processes() -> None:
    summary = samples.held()
    again = dataclasses.replace(summary.processes[1], pid=4790, steps=120)
    restarted = dataclasses.replace(summary, processes=(*summary.processes, again), points=())
    assert wording.ranks_and_steps(restarted) == (2, 420)
