"""Signals by number, as Linux numbers them on x86-64 and Arm, who usually raises them, and whom they end."""

from __future__ import annotations

_NAMES = {
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
    9: "SIGKILL", 10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
    16: "SIGSTKFLT", 24: "SIGXCPU", 25: "SIGXFSZ", 26: "SIGVTALRM", 27: "SIGPROF", 29: "SIGIO", 30: "SIGPWR",
    31: "SIGSYS",
}  # fmt: skip

MAIN_ROLES = frozenset({"root", "rank", "launcher"})
"""Processes without which there is no run; all others are helpers."""

KILL = 9
PIPE = 13
TERMINATE = 15

ASKED_TO_END = frozenset({1, 2, 3, 15})
"""Signals by which a terminal, a launcher or a scheduler asks a process to end."""

OWN_FAULTS = frozenset({4, 5, 6, 7, 8, 11, 13, 14, 24, 25, 26, 27, 31})
"""Signals that the kernel raises for what the process itself did: faults, aborts, own timers and limits."""


def signal_name(number: int) -> str:
    """``SIGTERM`` for 15; ``signal 42`` for a number without a name of its own."""
    return _NAMES.get(number, f"signal {number}")
