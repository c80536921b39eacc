"""Running jobs as a user does: the command line in a process of its own, then what ``show`` tells of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import veracity

LIMIT = 120
TRAIN = """
    import torch
    torch.set_num_threads(1)
    torch.manual_seed(1)
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def steps(count):
        for _ in range(count):
            optimizer.zero_grad()
            model(torch.ones(3, 4)).square().mean().backward()
            optimizer.step()
"""


@dataclass(frozen=True)
class Done:
    """A finished ``veracity run``: what it returned and printed, and the run's document."""

    code: int
    out: bytes
    err: str
    shown: dict[str, Any]

    @property
    def verdict(self) -> str:
        """held, broken or incomplete."""
        return str(self.shown["verdict"])

    @property
    def rules(self) -> set[str]:
        """Rules that found something."""
        return {finding["rule"] for finding in self.shown["findings"]}

    def gaps(self, word: str) -> list[dict[str, Any]]:
        """Gaps that mention ``word``."""
        return [gap for gap in self.shown["gaps"] if word in json.dumps(gap)]


@dataclass(frozen=True)
class Jobs:
    """A home, and a folder for the programs that run in it."""

    home: Path
    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        """This environment with the package importable and torch on one thread."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VERACITY", "COV"))}
        root = str(Path(veracity.__file__).parents[1])
        kept["PYTHONPATH"] = os.pathsep.join(filter(None, [root, kept.get("PYTHONPATH", "")]))
        return {**kept, "OMP_NUM_THREADS": "1"}

    def write(self, text: str, *, train: bool = False, name: str = "program.py") -> Path:
        """A program; with ``train``, after a model, an optimizer and ``steps(count)``."""
        path = self.folder / name
        path.write_text((textwrap.dedent(TRAIN) if train else "") + textwrap.dedent(text))
        return path

    def command(self, *words: str | Path, silent_after: float | None = None) -> list[str]:
        """The command line of ``veracity`` with ``words``; ``silent_after`` shortens the wait for a hello."""
        start = [sys.executable, "-m", "veracity.cli.main"]
        if silent_after is not None:
            code = (
                "import sys; from veracity.monitor import processes; "
                f"processes.SILENT_AFTER = {silent_after}; processes.SCAN_EVERY = 0.2; "
                "from veracity.cli.main import main; sys.exit(main())"
            )
            start = [sys.executable, "-c", code]
        return [*start, "--home", str(self.home), *map(str, words)]

    def start(
        self, *command: str | Path, silent_after: float | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """``veracity run -- command``, not waited for."""
        process = subprocess.Popen(
            self.command("run", "--", *command, silent_after=silent_after),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[bytes]) -> Done:
        """Wait for a started run and read its record."""
        out, err = process.communicate(timeout=LIMIT)
        return Done(process.returncode, out, err.decode(errors="replace"), self.show())

    def run(self, *command: str | Path, silent_after: float | None = None) -> Done:
        """``veracity run -- command`` to its end."""
        return self.finish(self.start(*command, silent_after=silent_after))

    def python(self, text: str, *flags: str, train: bool = False, silent_after: float | None = None) -> Done:
        """Run a program under this interpreter."""
        return self.run(sys.executable, *flags, self.write(text, train=train), silent_after=silent_after)

    def show(self, run: str = "latest") -> dict[str, Any]:
        """The run's document; also checks that the record verifies."""
        words = self.command("show", run, "--format", "json")
        shown = subprocess.run(words, env=self.environment(), capture_output=True, timeout=LIMIT, check=False)
        assert shown.stdout, shown.stderr
        document: dict[str, Any] = json.loads(shown.stdout)
        return document

    def folders(self) -> list[Path]:
        """The run directories, oldest first."""
        return sorted((self.home / "runs").iterdir())


@pytest.fixture
def jobs(tmp_path: Path, warm_home: Path) -> Iterator[Jobs]:
    """A home without runs and a folder for programs; what a failed test left running is ended."""
    (tmp_path / "work").mkdir()
    jobs = Jobs(warm_home, tmp_path / "work")
    yield jobs
    for process in jobs.started:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=LIMIT)
