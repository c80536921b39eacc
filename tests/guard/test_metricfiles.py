"""Files of metrics that a program opens for each row, which nobody outside sees it hold."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.guard.test_channels import START, observations
from veracity.core.observation import MetricsOpened

PROGRAM = """
    import os, pathlib
    from veracity.guard.metricfiles import watch_metric_files
    watch_metric_files(session, audit)
    os.chdir({folder!r})
    os.mkdir("out")
    os.symlink("out", "link")
    for row in range(3):
        with open("link/metrics.jsonl", "a") as file:
            file.write("{{}}\\n")
    pathlib.Path("out/table.csv").write_text("loss")
    os.close(os.open(b"out/events.out.tfevents.1.host", os.O_CREAT | os.O_WRONLY))
    open("link/metrics.jsonl").close()
    open("out/weights.pt", "wb").close()
    open("out/state.tmp", "w").close()
    os.replace("out/state.tmp", "out/trainer_state.json")
    if os.fork() == 0:
        open("out/child.csv", "w").close()
        os._exit(0)
    os.wait()
"""


def test_each_is_told_once_and_only_what_is_written(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    text = textwrap.dedent(START.format(folder=str(tmp_path))) + textwrap.dedent(PROGRAM)
    script.write_text(text.replace("{folder!r}", repr(str(tmp_path))).replace("{{}}", "{}"))
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(root / "src"), str(root)))}
    done = subprocess.run([sys.executable, str(script)], env=environment, check=False, timeout=60)
    assert done.returncode == 0
    told = [one.path for one in observations(tmp_path) if isinstance(one, MetricsOpened)]
    out = tmp_path / "out"
    names = ("metrics.jsonl", "table.csv", "events.out.tfevents.1.host", "trainer_state.json")
    assert told == [str(out / name) for name in names]
