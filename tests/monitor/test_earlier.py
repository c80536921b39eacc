"""Earlier runs of the same contract: asked once, kept when a run has held, and met in real runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.detect.recording import declare, declared, origin, step_record
from tests.sabotage.planting import train
from veracity.core.finding import Finding
from veracity.core.observation import (
    EarlierRun,
    EarlierRuns,
    EarlierSeries,
    Hello,
    Observation,
    StateRestored,
    StepRecord,
    TensorDigest,
)
from veracity.core.shift import measure
from veracity.core.summary import RunSummary
from veracity.core.verdict import Outcome
from veracity.core.windows import Windows
from veracity.detect.rules.metric.unlike_earlier import UnlikeEarlier
from veracity.drill.sabotage import MARK
from veracity.ledger.blobs import Blobs
from veracity.ledger.entry import Entry
from veracity.ledger.reader import Reader
from veracity.monitor.earlier import EarlierKept
from veracity.monitor.profiles import Profiles
from veracity.monitor.replayed import replayed

torch = pytest.importorskip("torch")

RUN = "run-20260101-000000-00000{}"
PROGRAM = """\
import sys
import torch


def train(seed, steps=72):
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    inputs = torch.randn(256, 8)
    targets = inputs.square().sum(1, keepdim=True) / 4
    data = torch.utils.data.TensorDataset(inputs, targets)
    loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
    while steps > 0:
        for batch, wanted in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(model(batch), wanted)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1e9)
            optimizer.step()
            yield loss.item(), norm.item()
            steps -= 1


if __name__ == "__main__":
    for _ in train(int(sys.argv[1])):
        pass
"""
TARGETS = "    targets = inputs.square().sum(1, keepdim=True) / 4\n"
POISON = f"    targets += 1.5 * torch.randn(256, 1)  {MARK}\n"
"""Data of the same size: no other law knows what they should be."""


def began(rank: int = 0, world: str = "1", torch_version: str = "2") -> list[Observation]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1)
    hello = Hello(origin(rank), 1, "rank", "", "3", torch_version, 0, {"WORLD_SIZE": world}, {"threads": "1"})
    return [hello, declared(declare(optimizer), rank)]


def step(number: int, loss: float = 1.0, rank: int = 0) -> StepRecord:
    return replace(step_record(number, [], rank=rank), loss=loss, rng={"torch": "ab"})


def follow(kept: EarlierKept, observations: list[Observation]) -> list[EarlierRuns]:
    found = []
    for one in observations:
        asked = kept.ask(one) if isinstance(one, StepRecord) else None
        if asked is not None:
            found.append(asked)
            kept.take(asked)
        kept.take(one)
    return found


def test_a_run_is_asked_about_once_and_kept_when_it_held(tmp_path: Path) -> None:
    kept = EarlierKept(tmp_path, RUN.format(1))
    (asked,) = follow(kept, [*began(), *(step(number) for number in range(20))])
    assert (asked.runs, asked.seed) == ([], "ab")
    kept.held(7, "cd" * 32)
    (later,) = follow(EarlierKept(tmp_path, RUN.format(2)), [*began(), step(0)])
    assert (later.likeness, later.bits) == (asked.likeness, asked.bits)
    (run,) = later.runs
    assert (run.run, run.tree_size, run.tree_root, run.seed) == (RUN.format(1), 7, "cd" * 32, "ab")
    (series,) = run.series
    assert (series.windows, series.means) == ([0, 1], [0.0, 0.0])
    # A run that is judged again is not compared with itself.
    (again,) = follow(EarlierKept(tmp_path, RUN.format(1)), [*began(), step(0)])
    assert again.runs == []


def test_a_run_that_is_taken_up_again_is_not_asked_about_twice(tmp_path: Path) -> None:
    first = EarlierKept(tmp_path, RUN.format(1))
    observations: list[Observation] = [*began(), step(0)]
    (asked,) = follow(first, observations)
    second = EarlierKept(tmp_path, RUN.format(1))
    for one in (*began(), asked, step(0)):
        second.take(one)
    assert follow(second, [step(1)]) == []
    # An older record, without that note: what the run was like at first is past.
    third = EarlierKept(tmp_path, RUN.format(1))
    for one in observations:
        third.take(one)
    assert follow(third, [step(number) for number in range(1, 30)]) == []
    third.held(1, "")
    assert len(follow(EarlierKept(tmp_path, RUN.format(2)), observations)[0].runs) == 1


def test_another_contract_is_another_likeness(tmp_path: Path) -> None:
    loaded = StateRestored(origin(), 0, 0, True, False, [TensorDigest("w", "00", "float32", [3])], [])
    other = replace(loaded, tensors=[TensorDigest("w", "11", "float32", [3])])
    starts: list[list[Observation]] = [began(), began(world="2"), [*began(), loaded], [*began(), other], []]
    found = [follow(EarlierKept(tmp_path, RUN.format(1)), [*start, step(0)])[0] for start in starts]
    assert len({one.likeness for one in found}) == len(starts)
    newer = follow(EarlierKept(tmp_path, RUN.format(1)), [*began(torch_version="3"), step(0)])[0]
    assert newer.likeness == found[0].likeness
    assert newer.bits != found[0].bits


def test_other_ranks_are_not_asked_about_and_short_runs_not_kept(tmp_path: Path) -> None:
    kept = EarlierKept(tmp_path, RUN.format(1))
    assert follow(kept, [*began(1), *(step(number, rank=1) for number in range(20))]) == []
    assert len(follow(kept, [*began(), *(step(number) for number in range(3))])) == 1
    kept.held(1, "")
    EarlierKept(tmp_path, RUN.format(2)).held(1, "")
    assert not (tmp_path / "profiles").exists()


# --- real runs -----------------------------------------------------------------------------------


def profile_file(home: Path, summary: RunSummary) -> Path:
    (path,) = (home / "profiles").glob(f"*/{summary.run}.json")
    return path


def of_seed(seed: int, names: list[str]) -> EarlierRun:
    """What ``veracity run`` keeps of the program with another seed, worked out here: it takes no time."""
    scope: dict[str, object] = {"__name__": "program"}
    exec(PROGRAM, scope)
    windows: dict[str, Windows] = {name: Windows() for name in names}
    found: dict[str, dict[int, float]] = {name: {} for name in names}
    for number, (loss, norm) in enumerate(scope["train"](seed)):  # type: ignore[operator]
        for name in names:
            complete = windows[name].add(number, measure(loss if name.startswith("loss") else norm))
            if complete is not None:
                found[name][complete[0]] = round(complete[1], 7)
    series = [EarlierSeries(name, list(means), list(means.values())) for name, means in found.items()]
    return EarlierRun(f"run-20250101-000000-{seed:06x}", 1, "", f"seed {seed}", "", series)


def notes(summary: RunSummary) -> list[Finding]:
    return [one for one in summary.findings if one.rule == "metric-unlike-earlier"]


def judged_again(folder: Path) -> list[Finding]:
    detector, blobs = UnlikeEarlier(), Blobs(folder / "blobs")
    with Reader(folder / "ledger") as reader:
        entries = [Entry.decode(data) for data in reader.entries()]
    seen = [replayed(entry, blobs) for entry in entries]
    return [found for one in seen if isinstance(one, detector.takes) for found in detector.observe(one)]


@pytest.mark.soak
def test_real_runs_are_compared_with_those_that_held_before(warm_home: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(PROGRAM, encoding="utf-8")
    first = train(warm_home, script, ["1"])
    assert first.verdict is not None
    assert first.verdict.outcome is Outcome.HELD
    assert list(first.coverage["earlier-runs"].reasons) == [
        "0 earlier held runs of this contract, 9 are needed"
    ]
    kept = json.loads(profile_file(warm_home, first).read_text(encoding="utf-8"))
    names = [series["name"] for series in kept["profile"]["series"]]
    for series, same in zip(kept["profile"]["series"], of_seed(1, names).series, strict=True):
        count = 8  # the first windows, at whose steps the guard always looks
        assert series["windows"][:count] == same.windows[:count]
        assert series["means"][:count] == pytest.approx(same.means[:count], abs=1e-5)

    for seed in range(2, 10):
        Profiles(warm_home).write(kept["likeness"], of_seed(seed, names))
    clean = train(warm_home, script, ["10"])
    assert notes(clean) == []
    assert clean.coverage["earlier-runs"].checked >= 16

    script.write_text(PROGRAM.replace(TARGETS, TARGETS + POISON), encoding="utf-8")
    poisoned = train(warm_home, script, ["11"])
    assert poisoned.verdict is not None
    assert poisoned.verdict.outcome is Outcome.HELD
    (note,) = notes(poisoned)
    assert f"1 in {9 + 1 + 1} runs" in note.message
    assert first.run in note.evidence[-1].excerpt
    assert clean.run in note.evidence[-1].excerpt
    folder = Path(poisoned.folder)
    assert (folder / "attention").exists()
    assert not (Path(clean.folder) / "attention").exists()
    shutil.rmtree(warm_home / "profiles")
    assert judged_again(folder) == [note]
