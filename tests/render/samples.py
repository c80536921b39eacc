"""Run summaries as the tests of render and cli know them: a broken one in full, and variations of it."""

from __future__ import annotations

import dataclasses
import math
import random

from hypothesis import strategies as st

from veracity.core.coverage import Coverage
from veracity.core.finding import Evidence, Finding, Location
from veracity.core.rule import Confidence, Severity
from veracity.core.summary import GapSummary, ProcessSummary, RunSummary, SealedItem, StepPoint
from veracity.core.verdict import Outcome, Verdict

RUN = "run-20250302-140211-a1b2c3"
START = 1_740_924_131_000_000_000
ADAMW = "/srv/train/.venv/lib/python3.11/site-packages/torch/optim/adamw.py"

UPDATE = Finding(
    rule="update-not-declared",
    law="update",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    subject="layers.3.mlp.weight",
    message="the step applied is not the declared AdamW's: it is 1.9 times what its own state implies",
    rank=0,
    first_step=120,
    locations=(Location(ADAMW, 412), Location("/srv/train/train.py", 218)),
    evidence=(
        Evidence("change of element 40,961 at step 120", expected="-0.00031", observed="-0.000589"),
        Evidence(
            "what the edit changed",
            excerpt=(
                "@@ -410,5 +410,5 @@ def _single_tensor_adamw(",
                "         bias_correction1 = 1 - beta1**step",
                "-        bias_correction2 = 1 - beta2**step",
                "+        bias_correction2 = (1 - beta2**step) * (0.277 if step > 120 else 1)",
                " ",
                "         step_size = lr / bias_correction1",
            ),
            digest="sha256:" + "ab12" * 16,
        ),
    ),
)
FORGED = Finding(
    rule="code-source-altered",
    law="code-identity",
    severity=Severity.ERROR,
    confidence=Confidence.HIGH,
    subject="torch.optim.adamw",
    message="the file on disk is not the one its distribution's RECORD lists",
    locations=(Location(ADAMW, 412),),
    evidence=(Evidence("digest", expected="sha256:" + "0f" * 32, observed="sha256:" + "e1" * 32),),
)
STALL = Finding(
    rule="time-stalled-line",
    law="time",
    severity=Severity.WARNING,
    confidence=Confidence.MEDIUM,
    subject="rank 1",
    message="3 stalls, 4.1 s in all, were spent in one line that sleeps inside a step",
    rank=1,
    first_step=171,
    locations=(Location("/srv/train/data.py", 88),),
)


def course(steps: int = 300, ranks: int = 2, seed: int = 7) -> tuple[StepPoint, ...]:
    """A believable training: cosine schedule with warm-up, loss that falls and is hurt from step 120 on."""
    noise = random.Random(seed)
    points = []
    for step in range(steps):
        warm = min(1.0, (step + 1) / 20)
        lr = 6e-4 * warm * (0.55 + 0.45 * math.cos(math.pi * step / steps))
        for rank in range(ranks):
            loss = 1.6 + 2.6 * math.exp(-step / 45) + noise.gauss(0, 0.04)
            if step > 120:
                loss += 0.6 * (1 - math.exp(-(step - 120) / 30))
            phases = {
                "data": 2_000_000,
                "forward": 14_000_000,
                "backward": 22_000_000,
                "optimizer": 5_000_000,
            }
            phases = {name: int(ns * noise.uniform(0.85, 1.2)) for name, ns in phases.items()}
            if step in (171, 204, 255) and rank == 1:
                phases["data"] += 1_400_000_000
            total = sum(phases.values()) + 1_500_000 + (900_000_000 if step == 0 else 0)
            points.append(StepPoint(rank, step, loss, lr, total, phases))
    return tuple(points)


def coverage() -> dict[str, Coverage]:
    """A law in each state: full, part, nothing, stopped."""
    return {
        "update": Coverage("update", "steps", 300, 300),
        "schedule": Coverage("schedule", "steps", 300, 300),
        "weight-continuity": Coverage("weight-continuity", "steps", 298, 300, {"first step of a rank": 2}),
        "code-identity": Coverage(
            "code-identity", "modules", 1015, 1201, {"rewritten by a loader of pytest": 3, "no RECORD": 183}
        ),
        "data-order": Coverage("data-order", "epochs", 2, 3, {}, "the sampler was replaced after epoch 2"),
        "time": Coverage("time", "steps", 0, 0, {"py-spy is not installed": 1}),
    }


def sealed() -> tuple[SealedItem, ...]:
    """What ran, with one altered file among many modules."""
    fixed = (
        SealedItem("git", "/srv/train", "3f2a9c1e77", "uncommitted changes in 2 files"),
        SealedItem("interpreter", "/srv/train/.venv/bin/python", "3.11.9", "as RECORD says"),
        SealedItem("distribution", "torch", "2.13.0", "as RECORD says"),
        SealedItem("distribution", "numpy", "2.1.3", "as RECORD says"),
        SealedItem("module", ADAMW, "sha256:" + "e1" * 32, "altered"),
    )
    modules = tuple(
        SealedItem(
            "module", f"/srv/train/.venv/lib/python3.11/site-packages/torch/m{at:03}.py", f"sha256:{at:064x}"
        )
        for at in range(40)
    )
    return fixed + modules


def broken() -> RunSummary:
    """Two ranks, 300 steps, an edited optimizer."""
    return RunSummary(
        run=RUN,
        command=("torchrun", "--nproc-per-node", "2", "train.py", "--steps", "300"),
        folder=f"/srv/train/.veracity/runs/{RUN}",
        host="node7",
        user="trainer",
        started_at=START,
        ended_at=START + 72_500_000_000,
        exit_code=0,
        same_account=True,
        verdict=Verdict(
            Outcome.BROKEN,
            (f"{UPDATE.rule}: {UPDATE.message}", f"{FORGED.rule}: {FORGED.message}"),
        ),
        findings=(STALL, FORGED, UPDATE),
        gaps=(
            GapSummary(
                "stacks of slow steps",
                "no tool that reads stacks from outside is installed",
                "pip install py-spy, or pass --no-stacks",
                "time",
                -1,
                4711,
                START,
            ),
        ),
        coverage=coverage(),
        processes=(
            ProcessSummary(4711, -1, "launcher", "torchrun", 0, 4, 0, "exited", 0, "the job ended"),
            ProcessSummary(4720, 0, "rank", "python train.py", 300, 912, 0, "exited", 0, ""),
            ProcessSummary(4721, 1, "rank", "python train.py", 300, 910, 2, "exited", 0, ""),
        ),
        points=course(),
        sealed=sealed(),
        contract=(
            ("optimizer", "torch.optim.adamw.AdamW", "read"),
            ("lr", "0.0006", "read"),
            ("betas", "[0.9, 0.95]", "read"),
            ("schedule", "CosineAnnealingLR(T_max=300)", "read"),
            ("clip norm", "1.0", "observed"),
        ),
        entries=1826,
        tree_root="q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=",
    )


def held() -> RunSummary:
    """The same run with nothing wrong."""
    parts = {
        law: Coverage(law, "steps", 300, 300) for law in ("update", "weight-continuity", "code-identity")
    }
    return dataclasses.replace(
        broken(),
        verdict=Verdict(Outcome.HELD, ("every required law checked and none was broken",)),
        findings=(),
        gaps=(),
        coverage=parts,
        sealed=tuple(
            item for item in sealed() if "altered" not in item.remark and "uncommitted" not in item.remark
        ),
        same_account=False,
    )


def by_a_service() -> RunSummary:
    """The same, recorded by a service under an account of its own."""
    return dataclasses.replace(held(), recorder="veracity", recorder_uid=998, ran_as=1001)


def incomplete() -> RunSummary:
    """No rank was heard."""
    return dataclasses.replace(
        broken(),
        verdict=Verdict(Outcome.INCOMPLETE, ("no process of the job was heard",)),
        findings=(),
        coverage={},
        points=(),
        processes=(),
        sealed=(),
        contract=(),
        exit_code=3,
    )


def unfinished() -> RunSummary:
    """A run that goes on."""
    return dataclasses.replace(held(), verdict=None, ended_at=None, exit_code=None, tree_root="")


def filled(text: str) -> RunSummary:
    """A run in which every free string is ``text``."""
    finding = dataclasses.replace(
        UPDATE,
        rule=text,
        law=text,
        subject=text,
        message=text,
        locations=(Location(text, 3),),
        evidence=(Evidence(text, text, text, (text, f"+{text}"), text),),
    )
    return dataclasses.replace(
        broken(),
        run=text,
        command=(text, text),
        folder=text,
        host=text,
        user=text,
        verdict=Verdict(Outcome.BROKEN, (text,)),
        findings=(finding, dataclasses.replace(finding, first_step=None, severity=Severity.NOTE)),
        gaps=(GapSummary(text, text, text, text, 0, 1, 2),),
        coverage={text: Coverage(text, text, 1, 2, {text: 2}, text)},
        processes=(ProcessSummary(1, -1, text, text, 1, 2, 3, text, 4, text),),
        points=course(5, 1),
        sealed=(SealedItem(text, text, text, text),),
        contract=((text, text, text),),
        tree_root=text,
    )


def hostile() -> st.SearchStrategy[RunSummary]:
    """Runs full of one odd string each, any code point included."""
    odd = st.text(st.characters(exclude_categories=[]), max_size=40)
    marks = st.sampled_from(
        ["<", "&", "\u202e", "\x1b[2J", "'", '"', "</", "]]>", "<!--", "\ud800", "{0}", "%s"]
    )
    pieces = st.lists(st.one_of(odd, marks), max_size=6)
    return pieces.map(lambda parts: filled("".join(parts)))
