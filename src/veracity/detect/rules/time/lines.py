"""Reading one source line: could it have been computing, or does it only pass time?"""

from __future__ import annotations

import re

from ....core.observation import StackFrame

# What stands before an opening parenthesis: a dotted name, or the end of a longer expression.
_CALL = re.compile(r"([\w.)\]]*)\s*\(")
_KEYWORDS = frozenset(("while", "for", "if", "elif", "else", "and", "or", "not", "in", "is", "lambda"))
_CLOCKS = frozenset(
    name + unit
    for name in ("time", "perf_counter", "monotonic", "process_time", "thread_time")
    for unit in ("", "_ns")
)
_PASSING = _CLOCKS | {f"time.{clock}" for clock in _CLOCKS} | {"time.sleep", "sleep", "range"}
_ARITHMETIC = frozenset(("len", "min", "max", "int"))
_OWN_WAITS = ("/subprocess.py", "/threading.py", "/queue.py", "/selectors.py", "/multiprocessing/")
_LOOPS = re.compile(r"(while|pass|continue)\b")
_SPIN_START = re.compile(r"(while|for|pass|continue)\b|[A-Za-z_][\w.]*\s*([-+*/%&|^]|<<|>>|//)?=[^=]")


def spins(frame: StackFrame) -> bool:
    """Whether the line calls nothing but clocks and arithmetic, outside any installed numerical code.

    An unreadable line, or one that calls anything else, may be computing: then the answer is no. Methods
    (``x.max()``) and conversions (``float(x)``) count as computing, since ``x`` may be a tensor.
    """
    source = frame.source.split("#", 1)[0].strip()
    if "@" in source or not _SPIN_START.match(source):
        return False
    calls = [name for name in _CALL.findall(source) if name and name not in _KEYWORDS]
    if any(name not in _PASSING and name not in _ARITHMETIC for name in calls):
        return False
    return _LOOPS.match(source) is not None or any(name in _PASSING for name in calls)


def is_own_wait(frame: StackFrame) -> bool:
    """Whether the standard library itself polls here for something else to finish."""
    return any(part in frame.path for part in _OWN_WAITS)
