"""Each law is broken on purpose, on a throw-away copy, in a real training run; none is in the clean twins.

Steps count from 0. What is planted bears the drill's mark; nothing outside the test's folder is changed.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.sabotage.planting import (
    TINY,
    TINY_DIGITS,
    at_start_of_step,
    before_step,
    breaking,
    caught,
    held,
    planted_script,
    shadowed,
    train,
    warned,
)
from veracity.core.finding import Finding
from veracity.core.rule import Severity
from veracity.core.summary import RunSummary
from veracity.detect.rules.metric.loss_misreported import LossMisreported
from veracity.drill.interpreter import find_torch, training_python
from veracity.drill.sabotage import BIAS_CORRECTION, EDIT_WEIGHTS, MARK, Edit
from veracity.drill.shadow import build_shadow, edited_text, shadow_environment
from veracity.drill.victim import victim_path
from veracity.ledger.blobs import Blobs
from veracity.ledger.entry import Entry
from veracity.ledger.reader import Reader
from veracity.monitor.replayed import replayed

BESIDE = str(Path(sys.executable).parent)
PY_SPY = shutil.which("py-spy", path=os.pathsep.join([BESIDE, os.environ.get("PATH", "")]))
SWAP = (
    "import torch.optim.adam as adam",
    "def watched(*arguments, kept=adam._single_tensor_adam, **names): return kept(*arguments, **names)",
    "adam._single_tensor_adam = watched",
)
LOWERED = f'"loss": loss.item() * (0.95 if training.step > 20 else 1),  {MARK}\n            '
TWO_RANKS = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def options(folder: Path, steps: int, *more: str) -> list[str]:
    return [*TINY, "--steps", str(steps), "--out-dir", str(folder / "out"), *more]


# --- clean twins ------------------------------------------------------------------------------------


@pytest.mark.serial  # looks at stacks, and at how long steps take
def test_clean_single_process(home: Path, tmp_path: Path) -> None:
    clean = ["--steps", "40", "--save-every", "20", "--eval-every", "20", "--workers", "2"]
    summary = train(home, victim_path("chargpt"), [*options(tmp_path, 40), *clean], stacks=True)
    held(summary)
    laws = ("update", "schedule", "data-order", "weight-continuity", "code-identity", "life", "randomness")
    for law in (*laws, "gradient-truth"):
        assert summary.coverage[law].checked > 0, (law, summary.coverage[law].reasons)
    assert summary.coverage["reported-computed"].checked == 40, summary.coverage["reported-computed"].reasons
    every_step = ("update", "schedule", "randomness", "gradient-continuity", "clipping")
    for law, checked in (*((law, 40) for law in every_step), ("weight-continuity", 39), ("data-content", 30)):
        assert summary.coverage[law].checked == checked, (law, summary.coverage[law].reasons)


def test_clean_two_ranks(home: Path, tmp_path: Path) -> None:
    summary = train(home, victim_path("chargpt"), options(tmp_path, 20), launcher=TWO_RANKS)
    held(summary)
    assert {point.rank for point in summary.points} == {0, 1}
    assert summary.coverage["replica-agreement"].checked == 20
    assert summary.coverage["gradient-truth"].checked > 0, summary.coverage["gradient-truth"].reasons


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param([], marks=pytest.mark.soak),
        ["--nesterov"],
        pytest.param(["--momentum", "0", "--weight-decay", "0"], marks=pytest.mark.soak),
    ],
)
def test_clean_sgd(home: Path, tmp_path: Path, flags: list[str]) -> None:
    settings = [*TINY_DIGITS, "--steps", "40", "--out-dir", str(tmp_path)]
    summary = train(home, victim_path("digits"), [*settings, *flags])
    assert warned(summary) == []
    for law in ("update", "schedule", "data-order", "weight-continuity"):
        assert summary.coverage[law].checked > 0, (law, summary.coverage[law].reasons)


def test_resuming_is_clean_until_the_checkpoint_is_edited(home: Path, tmp_path: Path) -> None:
    held(train(home, victim_path("chargpt"), options(tmp_path, 10, "--decay-steps", "25")))
    checkpoint = str(tmp_path / "out" / "checkpoint-000010.pt")
    resumed = options(tmp_path, 25, "--resume", checkpoint)
    held(train(home, victim_path("chargpt"), resumed))
    training_python().run(EDIT_WEIGHTS, checkpoint, "0.9")
    summary = train(home, victim_path("chargpt"), resumed)
    finding = caught(summary, "continuity-checkpoint-edited")
    assert finding.first_step == 0
    assert finding.locations[0].path == checkpoint


# --- several laws in one run -------------------------------------------------------------------------


def test_seven_laws_broken_in_one_run_are_each_found_at_their_step(home: Path, tmp_path: Path) -> None:
    """What ``make soak`` plants one by one below."""
    zero = "    training.optimizer.zero_grad(set_to_none=True)\n"
    script = planted_script(
        tmp_path,
        at_start_of_step("n == 24", "training.model.blocks[0].feed[0].weight.data.mul_(0.9)"),
        at_start_of_step("n >= 10 and n % 5 == 0", "torch.manual_seed(7)"),
        before_step("n == 20", "for group in training.optimizer.param_groups: group['lr'] *= 0.7"),
        before_step("n == 9", "training.model.blocks[0].feed[0].weight.grad.neg_()"),
        before_step("n == 17", *SWAP),
        (zero, f"    if training.step != 12:  {MARK}\n    {zero}"),
        ('"loss": loss.item(), ', LOWERED),
    )
    summary = train(home, script, options(tmp_path, 40))
    found = breaking(summary)
    assert {rule: finding.first_step for rule, finding in found.items()} == {
        "gradient-changed": 9,
        "gradient-accumulation": 12,
        "randomness-state-returned": 15,
        "code-function-swapped": 17,
        "schedule-drift": 20,
        "metric-loss-misreported": 20,
        "continuity-weights-changed": 24,
    }
    caught(summary, "gradient-changed")
    for rule in ("gradient-changed", "continuity-weights-changed"):
        assert "blocks.0.feed.0.weight" in found[rule].subject + found[rule].message
    assert "their sign was turned" in found["gradient-changed"].message
    assert found["code-function-swapped"].subject == "torch.optim.adam._single_tensor_adam"
    assert found["code-function-swapped"].locations[0].path == str(script)
    reported = found["metric-loss-misreported"]
    assert "0.95 times" in reported.message
    assert reported.locations[0].path == str(tmp_path / "out" / "metrics.jsonl")
    assert [one.message for one in judged_again(summary)] == [reported.message]


# --- update -----------------------------------------------------------------------------------------


def test_bias_correction_left_out(home: Path, tmp_path: Path) -> None:
    python = training_python()
    file, text = edited_text(python.torch, BIAS_CORRECTION)
    shadow = build_shadow(python.torch, tmp_path / "shadow", {file: text})
    environment = shadow_environment(os.environ, shadow)
    summary = train(home, victim_path("chargpt"), options(tmp_path, 15), environment=environment)
    finding = caught(summary, BIAS_CORRECTION.rule)
    assert finding.first_step == 0
    assert "bias correction" in finding.message
    code = caught(summary, "code-loaded-elsewhere")
    place = code.locations[0]
    assert place.path == str(tmp_path / "shadow" / "torch" / file)
    edited_line = text[: text.index(MARK)].count("\n") + 1
    assert place.line == edited_line
    assert any(MARK in line for one in code.evidence for line in one.excerpt)


@pytest.mark.soak
def test_sign_of_the_update_flipped_from_step_12(home: Path, tmp_path: Path) -> None:
    edit = Edit(
        "optim/adam.py",
        "param.addcdiv_(exp_avg, denom, value=-step_size)",
        f"param.addcdiv_(exp_avg, denom, value=step_size if step > 12 else -step_size)  {MARK}",
    )
    environment = shadowed(tmp_path, edit)
    summary = train(home, victim_path("chargpt"), options(tmp_path, 20), environment=environment)
    assert caught(summary, "update-not-declared").first_step == 12
    caught(summary, "code-loaded-elsewhere")


# --- schedule ---------------------------------------------------------------------------------------


@pytest.mark.soak
def test_rate_lowered_from_step_20(home: Path, tmp_path: Path) -> None:
    lower = "for group in training.optimizer.param_groups: group['lr'] *= 0.7"
    script = planted_script(tmp_path, before_step("n == 20", lower))
    summary = train(home, script, options(tmp_path, 30))
    assert caught(summary, "schedule-drift").first_step == 20


# --- gradients --------------------------------------------------------------------------------------


@pytest.mark.soak
def test_sign_of_one_layers_gradient_turned_every_50_steps_from_step_9(home: Path, tmp_path: Path) -> None:
    turn = "training.model.blocks[0].feed[0].weight.grad.neg_()"
    script = planted_script(tmp_path, before_step("n > 3 and n % 50 == 9", turn))
    summary = train(home, script, options(tmp_path, 15))
    finding = caught(summary, "gradient-changed")
    assert finding.first_step == 9
    assert "blocks.0.feed.0.weight" in finding.subject
    assert "their sign was turned" in finding.message
    assert set(breaking(summary)) == {"gradient-changed"}


def test_clipping_that_amplifies_from_step_12(home: Path, tmp_path: Path) -> None:
    edit = Edit(
        "nn/utils/clip_grad.py",
        "    clip_coef_clamped = torch.clamp(clip_coef, max=1.0)\n",
        f"    globals()['drilled'] = globals().get('drilled', 0) + 1  {MARK}\n"
        "    clip_coef_clamped = torch.clamp(clip_coef, max=1.0)\n"
        "    if globals()['drilled'] > 12:\n"
        "        clip_coef_clamped = 1.0 + clip_coef\n",
    )
    environment = shadowed(tmp_path, edit)
    summary = train(home, victim_path("chargpt"), options(tmp_path, 16), environment=environment)
    finding = caught(summary, "gradient-clipping")
    assert finding.first_step == 12
    assert "clipping amplifies" in finding.message
    assert "gradient-changed" not in breaking(summary)


@pytest.mark.soak
def test_zero_grad_skipped_at_step_10(home: Path, tmp_path: Path) -> None:
    old = "    training.optimizer.zero_grad(set_to_none=True)\n"
    skip = f"    if training.step != 10:  {MARK}\n    {old}"
    script = planted_script(tmp_path, (old, skip))
    summary = train(home, script, options(tmp_path, 15))
    assert caught(summary, "gradient-accumulation").first_step == 10
    assert set(breaking(summary)) == {"gradient-accumulation"}


@pytest.mark.soak
def test_loss_scaled_at_step_12(home: Path, tmp_path: Path) -> None:
    old = "    loss.backward()\n"
    scale = f"    loss = loss * 0.95 if training.step == 12 else loss  {MARK}\n{old}"
    script = planted_script(tmp_path, (old, scale))
    summary = train(home, script, options(tmp_path, 16))
    (found,) = (one for one in summary.findings if one.rule == "gradient-loss-scaled")
    assert (found.severity, found.first_step) == (Severity.WARNING, 12)
    line = script.read_text(encoding="utf-8").split(old)[0].count("\n") + 1
    assert [(place.path, place.line) for place in found.locations] == [(str(script), line)]
    assert "multiplied by 0.95" in found.message


@pytest.mark.parametrize("left_out", [12, pytest.param(-1, marks=pytest.mark.soak)])
def test_first_batch_of_two_left_out(home: Path, tmp_path: Path, left_out: int) -> None:
    row = "        row = train_step(model, training, next(batches), options.clip)\n"
    first = f"        first = model(*next(batches))[1]  {MARK}\n"
    first += f"        training.step == {left_out} or (first / 2).backward()\n"
    zero, step = "    training.optimizer.zero_grad(set_to_none=True)\n", "    training.optimizer.step()\n"
    emptied = f"{step}    training.optimizer.zero_grad(set_to_none=True)  {MARK}\n"
    changes = (row, first + row), (zero, f"    loss = loss / 2  {MARK}\n"), (step, emptied)
    summary = train(home, planted_script(tmp_path, *changes), options(tmp_path, 20))
    found = [(one.rule, one.severity, one.first_step) for one in summary.findings]
    assert found == [("gradient-batch-left-out", Severity.WARNING, 12)] * (left_out >= 0)


# --- data order -------------------------------------------------------------------------------------


@pytest.mark.soak
def test_order_drawn_from_a_constant_seed(home: Path, tmp_path: Path) -> None:
    edit = Edit(
        "utils/data/sampler.py",
        "            generator = self.generator\n\n        if self.replacement:",
        f"            generator = torch.Generator().manual_seed(7)  {MARK}\n\n        if self.replacement:",
    )
    summary = train(home, victim_path("chargpt"), options(tmp_path, 15), environment=shadowed(tmp_path, edit))
    assert caught(summary, "data-order-drift").first_step == 0
    caught(summary, "code-loaded-elsewhere")


@pytest.mark.soak
def test_one_index_repeated_in_step_10(home: Path, tmp_path: Path) -> None:
    edit = Edit(
        "utils/data/sampler.py",
        "                yield from torch.randperm(n, generator=generator).tolist()\n            yield",
        "                order = torch.randperm(n, generator=generator).tolist()\n"
        f"                order[8 * 10 + 3] = order[0]  {MARK}\n"
        "                yield from order\n            yield",
    )
    summary = train(home, victim_path("chargpt"), options(tmp_path, 20), environment=shadowed(tmp_path, edit))
    assert caught(summary, "data-order-drift").first_step == 10


# --- data content -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "tensors"),
    [
        ("batch = batch[0], batch[1].roll(1, 0)", {"1"}),
        *(
            pytest.param(line, tensors, marks=pytest.mark.soak)
            for line, tensors in (
                ("batch = batch[0] * (torch.rand(batch[0].shape) > 0.1), batch[1]", {"0"}),
                ("batch[1].numpy()[::2] += 1", {"1"}),
                ("batch = [part[:4] for part in batch]", {"0", "1"}),
                ("batch = kept[-2]", {"0", "1"}),
            )
        ),
    ],
    ids=["labels-moved", "inputs-blanked", "labels-written-to", "halved", "again"],
)
def test_batch_altered_in_step_14(home: Path, tmp_path: Path, line: str, tensors: set[str]) -> None:
    keep = "kept = vars(training.__class__).get('kept') or []"
    lines = [keep, "kept.append(batch)", "training.__class__.kept = kept", f"if n == 14: {line}"]
    script = planted_script(tmp_path, at_start_of_step("True", *lines))
    summary = train(home, script, options(tmp_path, 20))
    found = [one for one in summary.findings if one.rule == "data-batch-altered"]
    assert {(one.severity, one.first_step) for one in found} == {(Severity.WARNING, 14)}
    assert {one.subject.rpartition(" ")[2] for one in found} == tensors


# --- weight continuity ------------------------------------------------------------------------------


@pytest.mark.soak
def test_weights_scaled_between_two_steps(home: Path, tmp_path: Path) -> None:
    scale = "training.model.blocks[0].feed[0].weight.data.mul_(0.9)"
    script = planted_script(tmp_path, at_start_of_step("n == 21", scale))
    summary = train(home, script, options(tmp_path, 30))
    finding = caught(summary, "continuity-weights-changed")
    assert finding.first_step == 21
    assert "blocks.0.feed.0.weight" in finding.subject + finding.message


@pytest.mark.soak
def test_step_replaced_on_the_instance_from_step_15(home: Path, tmp_path: Path) -> None:
    replace = (
        "def plain(parameters=list(model.parameters())):",
        "    for one in parameters: one.data.add_(one.grad, alpha=-0.001)",
        "training.optimizer.step = plain",
    )
    script = planted_script(tmp_path, before_step("n == 15", *replace))
    summary = train(home, script, options(tmp_path, 30))
    assert caught(summary, "continuity-weights-changed").first_step == 15


# --- reported = computed ----------------------------------------------------------------------------


def judged_again(summary: RunSummary) -> list[Finding]:
    """What the rule says of the record alone."""
    detector, blobs = LossMisreported(), Blobs(Path(summary.folder) / "blobs")
    found: list[Finding] = []
    with Reader(Path(summary.folder) / "ledger") as reader:
        for data in reader.entries():
            observation = replayed(Entry.decode(data), blobs)
            if isinstance(observation, detector.takes):
                found += detector.observe(observation)
    return [*found, *detector.finish()]


@pytest.mark.soak
def test_logged_loss_lowered_from_step_20(home: Path, tmp_path: Path) -> None:
    script = planted_script(tmp_path, ('"loss": loss.item(), ', LOWERED))
    summary = train(home, script, options(tmp_path, 40))
    finding = caught(summary, "metric-loss-misreported")
    assert finding.first_step == 20
    assert "0.95 times" in finding.message
    assert finding.locations[0].path == str(tmp_path / "out" / "metrics.jsonl")
    assert set(breaking(summary)) == {"metric-loss-misreported"}
    assert [one.message for one in judged_again(summary)] == [finding.message]


# --- randomness -------------------------------------------------------------------------------------


@pytest.mark.soak
def test_seed_set_again_every_five_steps_from_step_10(home: Path, tmp_path: Path) -> None:
    script = planted_script(tmp_path, at_start_of_step("n >= 10 and n % 5 == 0", "torch.manual_seed(7)"))
    summary = train(home, script, options(tmp_path, 30))
    assert caught(summary, "randomness-state-returned").first_step == 15
    assert set(breaking(summary)) == {"randomness-state-returned"}


# --- gradient truth ---------------------------------------------------------------------------------


@pytest.mark.soak
def test_gradients_of_a_block_flipped_by_hooks_from_step_5(home: Path, tmp_path: Path) -> None:
    """Which steps and tensors are checked is drawn: the first wrong one is found a few steps later."""
    flip = "for one in training.model.blocks[0].parameters(): one.register_hook(lambda gradient: -gradient)"
    script = planted_script(tmp_path, at_start_of_step("n == 5", flip))
    summary = train(home, script, options(tmp_path, 40), overhead=0.5)
    finding = caught(summary, "gradient-not-derivative")
    assert finding.subject.startswith("blocks.0.")
    assert finding.first_step is not None
    assert finding.first_step >= 5
    assert set(breaking(summary)) == {"gradient-not-derivative"}, "each update was that of its gradient"


HOOK = (
    "class Drill(torch.autograd.Function):",
    "    @staticmethod",
    "    def forward(ctx, x): return x.view_as(x)",
    "    @staticmethod",
    "    def backward(ctx, gradient): return {sign}gradient",
    "seen, layer = [], training.model.blocks[0].feed[0]",
    "layer.register_forward_hook(lambda module, inputs, output: seen.append(1) or Drill.apply(output))",
)


@pytest.mark.parametrize("planted", [True, False])
def test_an_autograd_function_that_a_hook_puts_in_flips_from_step_8(
    home: Path, tmp_path: Path, planted: bool
) -> None:
    sign = "(-1) ** (training.step >= 8) * " if planted else ""
    lines = [line.format(sign=sign) for line in HOOK]
    script = planted_script(tmp_path, at_start_of_step("n == 0", *lines))
    summary = train(home, script, options(tmp_path, 20), overhead=0.5)
    began = [one.first_step for one in summary.findings if one.rule == "gradient-hook-began"]
    assert began == ([8] if planted else [])
    if not planted:
        held(summary)


# --- replica agreement ------------------------------------------------------------------------------


def test_gradients_of_one_rank_halved_at_step_8(home: Path, tmp_path: Path) -> None:
    halve = "for one in training.model.parameters(): one.grad.mul_(0.5)"
    script = planted_script(tmp_path, before_step("n == 8 and dist.get_rank() == 1", halve))
    summary = train(home, script, options(tmp_path, 20), launcher=TWO_RANKS)
    finding = caught(summary, "replica-disagrees")
    assert finding.first_step == 8
    assert "in this step" in finding.message
    assert set(breaking(summary)) == {"replica-disagrees"}, "each rank's own step was as declared"


# --- code identity ----------------------------------------------------------------------------------


@pytest.mark.soak
def test_function_swapped_at_step_10(home: Path, tmp_path: Path) -> None:
    script = planted_script(tmp_path, before_step("n == 10", *SWAP))
    summary = train(home, script, options(tmp_path, 30))
    finding = caught(summary, "code-function-swapped")
    assert finding.subject == "torch.optim.adam._single_tensor_adam"
    assert finding.first_step == 10
    assert finding.locations[0].path == str(script)
    assert set(breaking(summary)) == {"code-function-swapped"}, "the update itself was as declared"


def test_bytecode_forged(home: Path, tmp_path: Path) -> None:
    module = tmp_path / "rates.py"
    module.write_text("def rate(value):\n    return value\n")
    bytecode = Path(importlib.util.cache_from_source(str(module)))
    bytecode.parent.mkdir()
    at = module.stat()
    header = importlib.util.MAGIC_NUMBER + b"\0" * 4 + int(at.st_mtime).to_bytes(4, "little")
    header += at.st_size.to_bytes(4, "little")
    text = f"def rate(value):\n    return value * 1.5  {MARK}\n"
    forged = compile(text, str(module), "exec", dont_inherit=True)
    bytecode.write_bytes(header + marshal.dumps(forged))
    script = planted_script(
        tmp_path,
        ("import torch\nimport torch.dist", f"import rates  {MARK}\nimport torch\nimport torch.dist"),
        before_step("n == 5", "rates.rate(1.0)"),
    )
    summary = train(home, script, options(tmp_path, 10))
    finding = caught(summary, "code-bytecode-forged")
    assert finding.locations[0].path == str(module)
    assert set(breaking(summary)) == {"code-bytecode-forged"}


# --- time and life ----------------------------------------------------------------------------------


@pytest.mark.serial
@pytest.mark.skipif(PY_SPY is None, reason="py-spy is not installed")
def test_sleep_in_every_third_step(home: Path, tmp_path: Path) -> None:
    """From step 240 on: before that the monitor may still be busy with what the job imported."""
    pause = (
        "def train_step(",
        f"def settle() -> None:\n    time.sleep(0.1)  {MARK}\n\n\ndef train_step(",
    )
    script = planted_script(tmp_path, pause, before_step("n >= 240 and n % 3 == 0", "settle()"))
    summary = train(home, script, options(tmp_path, 390), stacks=True)
    finding = caught(summary, "time-stall")
    # Looks are samples: the first stalls may be missed, and one may be charged to the step after it.
    assert finding.first_step is not None
    assert 240 <= finding.first_step < 390
    lines = script.read_text().splitlines()
    assert finding.locations[0].path == str(script)
    assert "time.sleep" in lines[finding.locations[0].line - 1]
    assert set(breaking(summary)) == {"time-stall"}


@pytest.mark.serial
def test_rank_killed_from_outside(home: Path, tmp_path: Path) -> None:
    script = planted_script(
        tmp_path,
        (
            "    loader = make_loader(windows, options, world)\n",
            "    loader = make_loader(windows, options, world)\n"
            f"    Path(__file__).with_name('pid').write_text(str(os.getpid()))  {MARK}\n",
        ),
        before_step("n >= 20", "time.sleep(0.2)"),
    )
    metrics = tmp_path / "out" / "metrics.jsonl"

    def kill_at_step_20() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if metrics.exists() and metrics.read_bytes().count(b"\n") >= 21:
                os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
                return
            time.sleep(0.005)

    killer = threading.Thread(target=kill_at_step_20, daemon=True)
    killer.start()
    summary = train(home, script, options(tmp_path, 200))
    killer.join()
    finding = caught(summary, "life-killed")
    assert finding.first_step is not None
    assert 20 <= finding.first_step <= 22
    assert "SIGKILL" in finding.message
    assert summary.exit_code == 128 + signal.SIGKILL


def test_installed_torch_was_not_touched(tmp_path: Path) -> None:
    package = find_torch(sys.executable)
    assert package is not None
    for file in ("optim/adam.py", "optim/adamw.py", "utils/data/sampler.py"):
        assert MARK not in (package / file).read_text()
        for compiled in (package / file).parent.glob(f"__pycache__/{Path(file).stem}.*.pyc"):
            assert MARK.encode() not in compiled.read_bytes()
