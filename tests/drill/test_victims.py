"""The victims train the same way every time: this is what all clean runs and golden numbers rest on.

Most runs happen in this process, which pays for importing torch once; at least one run of each victim is
a process of its own, and the data-parallel ones go through torchrun.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from veracity.drill.victim import victim_path

GOLDEN = Path(__file__).parent.parent / "golden" / "chargpt.json"

# 9 batches per epoch for chargpt, 11 for digits, so that the runs below cross the end of an epoch
CHARGPT_FLAGS = """
    --n-layer=2 --n-head=2 --n-embd=16 --block-size=16 --batch-size=4 --max-chars=700
    --warmup=4 --eval-every=7 --eval-batches=1 --threads=1
"""
DIGITS_FLAGS = "--channels=4 --batch-size=128 --lr-epochs=1 --nesterov --eval-every=7 --threads=1"
TINY = {"chargpt": CHARGPT_FLAGS.split(), "digits": DIGITS_FLAGS.split()}
STEPS = 14

Row = dict[str, float]


@dataclass(frozen=True)
class Outcome:
    """What a run left behind: metrics without the times, and the folder of its checkpoints."""

    rows: list[Row]
    folder: Path

    @property
    def losses(self) -> list[float]:
        return [row["loss"] for row in self.rows if "loss" in row]

    def checkpoint(self, step: int = STEPS) -> dict[str, object]:
        path = self.folder / f"checkpoint-{step:06d}.pt"
        loaded: dict[str, object] = torch.load(path, weights_only=True)
        return loaded


def outcome(folder: Path) -> Outcome:
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        assert row.pop("ms", 1) > 0
    return Outcome(rows, folder)


def plain_text() -> str:
    """Text that is the same on every machine, unlike the standard library's."""
    return "".join(f"def f{n}(x):\n    return {n * n % 97} * x + {n}\n\n" for n in range(60))


def arguments(name: str, folder: Path, *flags: str) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    common = [*TINY[name], f"--steps={STEPS}", f"--out-dir={folder}"]
    if name == "chargpt":
        text = folder / "text.txt"
        text.write_text(plain_text())
        common.append(f"--text={text}")
    return [*common, *flags]


def load(name: str) -> ModuleType:
    spec = spec_from_file_location(f"victim_{name}", victim_path(name))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run_here(name: str, folder: Path, *flags: str) -> Outcome:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train.py", *arguments(name, folder, *flags)])
        patch.delenv("RANK", raising=False)
        load(name).main()
    return outcome(folder)


def run_apart(name: str, folder: Path, *flags: str, ranks: int = 1) -> Outcome:
    command = [sys.executable]
    if ranks > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    environment["OMP_NUM_THREADS"] = "1"
    process = subprocess.Popen(
        [*command, str(victim_path(name)), *arguments(name, folder, *flags)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _, errors = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.terminate()  # not kill: torchrun must be able to end its ranks
        _, errors = process.communicate(timeout=60)
        pytest.fail(f"still running after five minutes: {errors}")
    assert process.returncode == 0, errors
    return outcome(folder)


def identical(one: object, other: object) -> bool:
    """Equal bit for bit, down to the tensors."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(identical(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(identical, one, other))
    return type(one) is type(other) and one == other


@pytest.fixture(scope="module", params=["chargpt", "digits"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Outcome]:
    """An uninterrupted run in this process, without workers, saved after every step."""
    folder = tmp_path_factory.mktemp("whole")
    return request.param, run_here(request.param, folder, "--workers=0", "--save-every=1")


def test_fresh_process_with_workers_gives_the_same_bits(whole: tuple[str, Outcome], tmp_path: Path) -> None:
    name, expected = whole
    again = run_apart(name, tmp_path, "--workers=2")
    assert again.rows == expected.rows
    assert identical(again.checkpoint(), expected.checkpoint())


def test_another_seed_gives_other_numbers(whole: tuple[str, Outcome], tmp_path: Path) -> None:
    name, expected = whole
    other = run_here(name, tmp_path, "--workers=0", "--seed=1338")
    assert not set(other.losses) & set(expected.losses)
    assert not identical(other.checkpoint()["model"], expected.checkpoint()["model"])


# within the first epoch; on the border of two epochs (of either victim); within the second epoch
@pytest.mark.parametrize(
    ("step", "workers"),
    [(5, 2), (9, 0), *(pytest.param(*one, marks=pytest.mark.soak) for one in ((11, 0), (12, 2)))],
)
def test_resumed_run_equals_the_uninterrupted_one(
    whole: tuple[str, Outcome], tmp_path: Path, step: int, workers: int
) -> None:
    name, expected = whole
    checkpoint = expected.folder / f"checkpoint-{step:06d}.pt"
    resumed = run_here(name, tmp_path, f"--workers={workers}", f"--resume={checkpoint}")
    assert resumed.rows == [row for row in expected.rows if row["step"] > step]
    assert identical(resumed.checkpoint(), expected.checkpoint())


def test_evaluation_does_not_disturb_training(whole: tuple[str, Outcome], tmp_path: Path) -> None:
    name, expected = whole
    assert [row["step"] for row in expected.rows if "eval_loss" in row] == [7, 14]
    unseen = run_here(name, tmp_path, "--workers=0", "--eval-every=0")
    assert unseen.rows == [row for row in expected.rows if "loss" in row]
    assert identical(unseen.checkpoint(), expected.checkpoint())


@pytest.mark.parametrize("name", ["chargpt", pytest.param("digits", marks=pytest.mark.soak)])
def test_two_ranks_are_deterministic_and_resume(name: str, tmp_path: Path) -> None:
    first = run_apart(name, tmp_path / "first", "--workers=0", "--save-every=2", ranks=2)
    assert [row["step"] for row in first.rows if "loss" in row] == list(range(1, STEPS + 1))
    # fresh processes repeat all but the first two steps, so this shows determinism as well
    start = first.folder / "checkpoint-000002.pt"
    resumed = run_apart(name, tmp_path / "resumed", "--workers=1", f"--resume={start}", ranks=2)
    assert resumed.rows == [row for row in first.rows if row["step"] > 2]
    assert identical(resumed.checkpoint(), first.checkpoint())


def test_first_losses_are_the_golden_ones(tmp_path: Path) -> None:
    golden = json.loads(GOLDEN.read_text())
    measured = run_here("chargpt", tmp_path, *golden["flags"]).losses
    # kernels differ between CPUs in the last bits, so this is not a test of bits
    assert measured == pytest.approx(golden["losses"], rel=1e-4)


def test_learning_rate_warms_up_and_follows_half_a_cosine(tmp_path: Path) -> None:
    run = run_here("chargpt", tmp_path, "--workers=0", "--lr=0.01", "--min-lr=0.002", "--decay-steps=20")
    rates = [row["lr"] for row in run.rows if "lr" in row]
    warm = [0.01 * (step + 1) / 5 for step in range(4)]
    cosine = [0.002 + 0.004 * (1 + math.cos(math.pi * step / 16)) for step in range(STEPS - 4)]
    assert rates == pytest.approx(warm + cosine, rel=1e-9)


def test_step_schedule_falls_at_the_end_of_each_epoch(tmp_path: Path) -> None:
    run = run_here("digits", tmp_path, "--workers=0", "--lr=0.1", "--lr-gamma=0.25")
    assert [row["lr"] for row in run.rows if "lr" in row] == [0.1] * 11 + [0.025] * 3


def test_digits_are_learnt(tmp_path: Path) -> None:
    run = run_here("digits", tmp_path, "--workers=0", "--steps=40", "--lr-epochs=9")
    assert run.rows[-1]["eval_accuracy"] > 0.8


@pytest.mark.parametrize(
    ("name", "flag", "message"),
    [
        ("chargpt", "--batch-size=40", "too few for one batch"),
        ("chargpt", "--text=absent.txt", "no text"),
        ("chargpt", "--eval-batches=0", "nothing to evaluate on"),
        ("digits", "--batch-size=2000", "too few for one batch"),
    ],
)
def test_a_run_without_data_is_refused_in_words(tmp_path: Path, name: str, flag: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        run_here(name, tmp_path, "--workers=0", flag)


@pytest.mark.parametrize("flag", ["--batch-size=3", "--seed=1"])
def test_resume_with_other_options_is_refused(whole: tuple[str, Outcome], tmp_path: Path, flag: str) -> None:
    name, expected = whole
    checkpoint = expected.folder / "checkpoint-000005.pt"
    with pytest.raises(SystemExit, match=f"was made with {flag.partition('=')[0]} "):
        run_here(name, tmp_path, "--workers=0", flag, f"--resume={checkpoint}")


@given(length=st.integers(0, 400), block=st.integers(1, 50))
def test_windows_cover_the_text_once(length: int, block: int) -> None:
    tokens = torch.arange(length, dtype=torch.int16)
    windows = CHARGPT.Windows(tokens, block)
    pairs = [windows[index] for index in range(len(windows))]
    inputs = [int(token) for pair in pairs for token in pair[0]]
    assert inputs == list(range(len(windows) * block))
    assert 0 <= length - 1 - len(inputs) < block or length == 0
    assert all(torch.equal(pair[1], pair[0] + 1) for pair in pairs)


@given(raw=st.binary(min_size=1, max_size=200))
def test_tokens_keep_printable_ascii_apart_and_nothing_else(raw: bytes) -> None:
    tokens = list(raw.translate(CHARGPT.TOKEN_OF_BYTE))
    kept = [value == 0x0A or 0x20 <= value <= 0x7E for value in raw]
    assert [token != 0 for token in tokens] == kept
    assert len(set(tokens)) == len({value if keep else None for value, keep in zip(raw, kept, strict=True)})
    assert max(tokens) < CHARGPT.VOCABULARY == 97


def test_standard_library_text_is_there() -> None:
    tokens = CHARGPT.read_tokens(None, 0)
    assert len(tokens) > 500_000
    assert torch.equal(CHARGPT.read_tokens(None, 1000), tokens[:1000])


@pytest.mark.parametrize(("size", "low", "high"), [("small", 0.7e6, 0.9e6), ("medium", 9.5e6, 11e6)])
def test_sizes(size: str, low: float, high: float) -> None:
    options = CHARGPT.parse_options([f"--size={size}"])
    with torch.device("meta"):
        model = CHARGPT.GPT(options.n_layer, options.n_head, options.n_embd, options.block_size, 0.0)
    assert low < sum(parameter.numel() for parameter in model.parameters()) < high


def test_flags_go_before_the_size() -> None:
    options = CHARGPT.parse_options(["--size=medium", "--n-layer=2"])
    assert (options.n_layer, options.n_embd) == (2, 384)


CHARGPT = load("chargpt")
