"""Nothing the guard does may raise into training: failures are counted and reported, then the site rests."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

FAILURES_BEFORE_REST = 3


class Shield:
    """Runs the guard's own code so that an exception in it becomes a reported gap.

    ``report(site, message, rests)`` is called at the first failure of a site and when the site is switched
    off after ``FAILURES_BEFORE_REST`` failures.
    """

    def __init__(self) -> None:
        self.failures: dict[str, int] = {}
        self.report: Callable[[str, str, bool], None] | None = None
        self.spent = 0
        """Nanoseconds within :meth:`run` so far."""
        self._inside = False

    def rests(self, site: str) -> bool:
        """Whether ``site`` failed so often that it is left alone."""
        return self.failures.get(site, 0) >= FAILURES_BEFORE_REST

    def run(self, site: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R | None:
        """Call ``function``; None instead of an exception, or when the site rests."""
        if self.failures and self.rests(site):
            return None
        began = 0 if self._inside else perf_counter_ns()
        self._inside = True
        try:
            return function(*args, **kwargs)
        except Exception as error:
            self._failed(site, error)
            return None
        finally:
            if began:
                self._inside = False
                self.spent += perf_counter_ns() - began

    def _failed(self, site: str, error: Exception) -> None:
        count = self.failures.get(site, 0) + 1
        self.failures[site] = count
        if self.report is None or count not in (1, FAILURES_BEFORE_REST):
            return
        try:
            self.report(site, f"{type(error).__name__}: {error}"[:400], count >= FAILURES_BEFORE_REST)
        except Exception:  # noqa: S110 - reporting a failure failed too; the sequence gap shows it outside
            pass
