"""A guarded program computes, prints and leaves exactly what it does alone, bit for bit."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import veracity
from tests.examples import quickly
from veracity.drill.victim import victim_path

pytest.importorskip("torch")

import torch

TINY = (
    "--steps 8 --n-layer 1 --n-head 2 --n-embd 16 --block-size 8 --batch-size 4 --threads 1 --max-chars 9000"
)
FEW = "--steps 8 --channels 4 --threads 1 --momentum 0.9"


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("VERACITY", "COV", "PYTHON"))
    }
    return {**kept, "OMP_NUM_THREADS": "1", **more}


def run(
    folder: Path, words: Sequence[str | Path], *, home: Path | None = None, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run ``words`` in ``folder``; with ``home`` under ``veracity run``, which prints nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(word) for word in words]
    env = environment(**more)
    if home is not None:
        # The monitor finds its own package without the job's environment changing for it.
        enter = (
            f"import sys; sys.path.insert(0, {str(Path(veracity.__file__).parents[1])!r}); "
            "from veracity.cli.main import main; sys.exit(main())"
        )
        command = [sys.executable, "-c", enter, "--home", str(home), "run", "--quiet", "--", *command]
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=200, check=False
    )


def results(folder: Path) -> dict[str, Any]:
    """Metrics without times, and digests of all that the checkpoints hold."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("metrics*.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.name] = [{name: value for name, value in row.items() if name != "ms"} for row in rows]
    for path in sorted(folder.rglob("*.pt")):
        found[path.name] = digest(torch.load(path, weights_only=True))
    return found


def digest(value: Any) -> Any:
    """Nested containers with each tensor as the digest of its bytes."""
    if isinstance(value, torch.Tensor):
        raw = bytes(value.detach().contiguous().view(-1).view(torch.uint8).tolist()) if value.numel() else b""
        return [str(value.dtype), list(value.shape), hashlib.sha256(raw).hexdigest()]
    if isinstance(value, dict):
        return {str(name): digest(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [digest(item) for item in value]
    return repr(value)


@pytest.fixture
def home(warm_home: Path) -> Path:
    """A home of this test alone, which remembers the code it has checked."""
    return warm_home


def newest(home: Path) -> dict[str, Any]:
    """The newest run, as its ``run.json`` has it."""
    documents = sorted((home / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns)
    shown: dict[str, Any] = json.loads(documents[-1].read_text())
    return shown


CASES: dict[str, tuple[str, str, list[str]]] = {
    "gpt-alone": ("chargpt", f"{TINY} --workers 0 --dropout 0.1", []),
    "gpt-workers": ("chargpt", f"{TINY} --workers 2 --dropout 0.1", []),
    "digits": ("digits", f"{FEW} --workers 2", []),
    "gpt-two-ranks": (
        "chargpt",
        f"{TINY} --workers 0",
        ["-m", "torch.distributed.run", "--nproc-per-node", "2"],
    ),
}


# With workers is alone and more.
@pytest.mark.parametrize("case", quickly("gpt-workers", "gpt-two-ranks", of=CASES))
def test_training_is_bit_identical(case: str, tmp_path: Path, home: Path) -> None:
    victim, flags, launcher = CASES[case]
    if victim == "digits":
        pytest.importorskip("sklearn")
    if launcher:
        launcher = [*launcher, "--master-port", str(20_000 + os.getpid() % 20_000)]
    words: list[str | Path] = [
        sys.executable,
        *launcher,
        victim_path(victim),
        *flags.split(),
        "--out-dir",
        "out",
    ]
    plain = run(tmp_path / "plain", words)
    guarded = run(tmp_path / "guarded", words, home=home)
    assert plain.returncode == 0, plain.stderr
    assert guarded.returncode == 0, guarded.stderr
    expected = results(tmp_path / "plain")
    assert results(tmp_path / "guarded") == expected
    assert len(expected["metrics.jsonl"]) >= 8
    assert any(name.endswith(".pt") for name in expected)
    # Identical and unobserved would prove nothing.
    assert newest(home)["verdict"] == "held"


PROGRAM = """
    import logging, random, sys, warnings
    import sitecustomize
    print(sitecustomize.MARK, sitecustomize.__file__)
    print(sys.path)
    print(sys.argv, sys.flags, __name__)
    import numpy, torch
    torch.set_num_threads(1)
    random.seed(4); numpy.random.seed(5); torch.manual_seed(6)
    logging.basicConfig(format="%(filename)s:%(lineno)d %(message)s")
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    schedule.step()   # too early: torch warns and names this line
    schedule.step()
    later = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    data = torch.utils.data.TensorDataset(torch.randn(9, 3))
    for epoch in range(2):
        for (batch,) in torch.utils.data.DataLoader(data, batch_size=2, shuffle=True):
            optimizer.zero_grad()
            model(batch + random.random() + numpy.random.rand()).square().mean().backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            later.step()
            print(random.random().hex(), numpy.random.rand().hex(), torch.rand(1).item().hex())
    torch.save(model.state_dict(), "model.pt")
    torch.load("model.pt", weights_only=True)
    later.step(3)     # deprecated: torch warns and names this line
    warnings.warn("mine")
    logging.warning("mine as well")
    print(sorted(name for name in sys.modules if "veracity" not in name and "sitecustom" not in name)[:5])
    # Finders that wait for modules which may still be imported stay until they are.
    finders = [type(one) for one in sys.meta_path]
    print([one for one in finders if "veracity" in one.__module__ and "Herald" not in one.__name__])
    print(torch.__spec__.loader.__class__, torch.__loader__.__class__)
    print(random.getstate()[1][:3], torch.get_rng_state()[:32].tolist())
    try:
        torch.load("absent.pt")
    except FileNotFoundError as error:
        print(error)
    raise SystemExit(9)
"""


def test_a_program_prints_and_warns_as_without_the_guard(tmp_path: Path, home: Path) -> None:
    pytest.importorskip("numpy")
    own = tmp_path / "site"
    own.mkdir()
    (own / "sitecustomize.py").write_text(
        "import sys\nMARK = 'own'\nprint('hello from own', file=sys.stderr)\n"
    )
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    words: list[str | Path] = [sys.executable, "-W", "always", program]
    plain = run(tmp_path / "plain", words, PYTHONPATH=str(own))
    guarded = run(tmp_path / "guarded", words, home=home, PYTHONPATH=str(own))
    assert plain.returncode == 9, plain.stderr
    assert guarded.returncode == 9, guarded.stderr
    assert guarded.stdout == plain.stdout
    # The monitor's own sitecustomize line comes from the monitor's own start.
    assert guarded.stderr.count("hello from own") >= plain.stderr.count("hello from own") == 1
    assert "program.py:" in plain.stderr
    wanted = [line for line in plain.stderr.splitlines() if line != "hello from own"]
    assert [line for line in guarded.stderr.splitlines() if line != "hello from own"] == wanted
    assert newest(home)["exit_code"] == 9


def test_a_traceback_ends_with_the_programs_own_words(tmp_path: Path, home: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import torch\ntorch.load('absent.pt')\n")
    plain = run(tmp_path / "plain", [sys.executable, program])
    guarded = run(tmp_path / "guarded", [sys.executable, program], home=home)
    assert (guarded.returncode, plain.returncode) == (1, 1)
    assert guarded.stderr.splitlines()[:3] == plain.stderr.splitlines()[:3]
    assert guarded.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1]
