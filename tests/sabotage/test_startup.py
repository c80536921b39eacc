"""Code that runs before the program: a marked .pth in a throw-away environment, and its clean twin."""

from __future__ import annotations

import os
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.sabotage.planting import TINY, breaking, caught, held, train
from veracity.core.rule import Severity
from veracity.core.summary import RunSummary
from veracity.drill.sabotage import MARK
from veracity.drill.victim import victim_path

RULE, OPEN = "environment-startup-unowned", "environment-startup-open"


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment that finds the test's own packages by a path line; its site directory."""
    folder = tmp_path / "env"
    venv.create(folder, symlinks=True, with_pip=False)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    # As virtualenv leaves it behind, and no RECORD names it.
    (site / "_virtualenv.pth").write_text("import _virtualenv")
    (site / "_virtualenv.py").write_text(
        "import sys\n\n\n"
        "class _Finder:\n    def find_spec(self, fullname, path, target=None):\n        return None\n\n\n"
        "sys.meta_path.insert(0, _Finder())\n"
    )
    _install_editable(site, tmp_path / "project")
    return site


def _install_editable(site: Path, project: Path) -> None:
    """What an editable install leaves: a finder and its line, both in RECORD without a digest."""
    project.mkdir()
    finder = "__editable___project_1_0_finder"
    (site / f"{finder}.py").write_text(
        "import sys\n\n\ndef install():\n    sys.path_hooks.append(None.__class__)\n"
    )
    (site / "__editable__.project-1.0.pth").write_text(f"import {finder}\n")
    info = site / "project-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: project\nVersion: 1.0\n")
    (info / "INSTALLER").write_text("pip\n")
    (info / "RECORD").write_text(
        f"__editable__.project-1.0.pth,,\n{finder}.py,,\nproject-1.0.dist-info/RECORD,,\n"
    )


def run(site: Path, home: Path, folder: Path, steps: int) -> RunSummary:
    options = [*TINY, "--steps", str(steps), "--out-dir", str(folder / "out")]
    (folder / "cache").mkdir(exist_ok=True)
    variables = {**os.environ, "TRITON_CACHE_DIR": str(folder / "cache")}
    python = site.parents[2] / "bin" / "python"
    return train(home, victim_path("chargpt"), options, python=python, environment=variables)


def test_line_of_a_pth_file_that_replaces_a_function_of_random(
    home: Path, environment: Path, tmp_path: Path
) -> None:
    clean = run(environment, home, tmp_path, 6)
    held(clean)
    assert [one for one in clean.findings if one.rule in (RULE, OPEN)] == []
    # The lines of the editable install and of virtualenv; a system's own sitecustomize comes on top.
    assert clean.coverage["start-up-purity"].checked >= 2

    (environment / "settings.pth").write_text(f"import early_settings  {MARK}\n")
    (environment / "early_settings.py").write_text(
        f"import random\n\n_kept = random.shuffle\nrandom.shuffle = lambda items: _kept(items)  {MARK}\n"
    )
    stray = environment / "stray-1.0.dist-info"
    stray.mkdir()
    (stray / "entry_points.txt").write_text("[lightning.pytorch.callbacks_factory]\nx = stray:load\n")
    (environment / "stray.py").write_text(f"def load():\n    return []  {MARK}\n")
    (tmp_path / "cache").chmod(0o777)  # others may put compiled code there
    summary = run(environment, home, tmp_path, 6)
    finding = caught(summary, RULE)
    assert finding.locations[0].path == str(environment / "early_settings.py")
    assert finding.locations[0].line == 4
    assert set(breaking(summary)) == {RULE}, "the training itself was as declared"
    line = next(one for one in summary.findings if one.locations[0].path.endswith("settings.pth"))
    assert line.severity is Severity.WARNING
    assert "was not there" in line.message
    plugin = next(one for one in summary.findings if one.locations[0].path.endswith("stray.py"))
    assert (plugin.rule, plugin.severity) == (RULE, Severity.WARNING)
    assert "lightning.pytorch.callbacks_factory" in plugin.message
    (cache,) = [one for one in summary.findings if one.rule == OPEN]
    assert (cache.severity, cache.locations[0].path) == (Severity.WARNING, str(tmp_path / "cache"))
