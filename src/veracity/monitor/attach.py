"""``veracity attach``: take up a run whose monitor ended before it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..core.observation import Gap
from ..core.origin import monitor_origin
from ..core.summary import RunSummary
from .clocks import ClockWatch
from .folder import RunFolder
from .pipeline import Pipeline
from .summary import load_summary

READ_EVERY = 0.1
COMMIT_EVERY = 1.0


def attach_run(home: Path, run: str) -> RunSummary:
    """Take in what the guards of ``run`` wrote, until its processes have ended; then judge and close.

    Nothing that reached a spool is lost: the spools are read from where the record ends. What only a parent
    sees (how processes ended) is a gap. Raises UsageError while the run has a monitor.
    """
    folder = RunFolder(home.absolute() / "runs" / run)
    with Pipeline.resume(folder) as pipeline:
        wrong = pipeline.loads.configure(folder.home, Path.cwd())
        if wrong is not None:
            pipeline.observe(wrong)
        pipeline.observe(
            Gap(
                monitor_origin(time.time_ns()),
                "the monitor was not there for a part of the run",
                "it ended before the job; how processes ended and where steps stalled was not seen meanwhile",
                law="life",
            )
        )
        attend_to(pipeline)
        pipeline.finish(exit_code=None, note="taken up by attach")
    return load_summary(folder.path)


def attend_to(pipeline: Pipeline, leaves: Callable[[], bool] = lambda: False) -> None:
    """Read what the guards of a run write until its processes have ended, or the monitor ``leaves``."""
    next_commit = 0.0
    clocks = ClockWatch()
    while not leaves():
        pipeline.read()
        for gap in clocks.look(pipeline.last_step):
            pipeline.observe(gap)
        if time.monotonic() >= next_commit:
            next_commit = time.monotonic() + COMMIT_EVERY
            pipeline.commit()
        if not pipeline.alive():
            pipeline.drain()
            return
        time.sleep(READ_EVERY)
