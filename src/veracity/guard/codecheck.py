"""The code checker's worker: is a module's bytecode what its source compiles to?

Runs *outside* the training process, under the job's own interpreter, since only that one compiles alike:
``python -I -S -B -c "…; main()"``. It reads one JSON request per line and writes one JSON answer per line:

    {"id": 1, "source": "/x/m.py", "text": null, "body": "<base64 of the .pyc body>", "optimize": 0}
    {"id": 1, "same": true, "reason": "", "functions": {}, "source_sha256": "…"}

``text`` (base64) replaces the file's bytes when given. ``twin`` (base64) stands for a body by a source text
that is known to compile to it. With neither ``body`` nor ``twin``, ``same`` is null and ``functions`` maps
the qualified names of what the source defines to code digests. A body that does the same but is written
otherwise, as by the compiler of another release of this version of Python, is ``same``, and ``functions``
are then those of its functions that are written otherwise. ``same`` is null with a reason when it was not
settled.

Nothing is ever executed: source is compiled, bytecode is unmarshalled and compared. A body that breaks the
interpreter breaks a child of this worker alone; a source that does ends the worker, and the caller starts
another.
"""

from __future__ import annotations

import base64
import hashlib
import json
import marshal
import os
import resource
import signal
import sys
import warnings
from types import CodeType
from typing import BinaryIO, NamedTuple

from ..core import codebehaviour, codeobject
from ..core.errors import EvidenceError
from ..core.instructions import DiffersError, require_plain

MAX_SOURCE = 16 << 20
MAX_REQUEST = 128 << 20
MAX_MEMORY = 2 << 30
CPU_SECONDS = 20.0
MAX_REASON = 2_000
MAX_CHANGED = 200
MAX_COMPARED = 16 << 20
RECURSION = 5_000
OTHERWISE = "written otherwise than by this Python, to the same effect"


def main(lines: BinaryIO | None = None, answers: BinaryIO | None = None) -> None:
    """Serve requests until the input ends. Malformed requests get an answer with ``error``."""
    source = lines if lines is not None else sys.stdin.buffer
    sink = answers if answers is not None else sys.stdout.buffer
    if lines is None:
        _bound_memory()
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
    # Sources of deep nesting compile only with more recursion than the default allows.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), RECURSION))
    warnings.simplefilter("ignore")  # a SyntaxWarning of the user's source is not ours to print
    while line := source.readline(MAX_REQUEST):
        if lines is None:
            # Not handled, so that it ends this worker also where a damaged object holds the interpreter.
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        sink.write(json.dumps(answer(line), ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n")
        sink.flush()


def answer(line: bytes) -> dict[str, object]:
    """The answer to one request line."""
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        return {"id": None, "error": f"not a request: {error}"}
    if not isinstance(request, dict):
        return {"id": None, "error": "not a request: no JSON object"}
    reply: dict[str, object] = {"id": request.get("id"), "same": None, "reason": "", "functions": {}}
    try:
        path, data, body, optimize = _fields(request)
    except (EvidenceError, OSError) as error:
        reply["error"] = str(error)
        return reply
    reply["source_sha256"] = hashlib.sha256(data).hexdigest()
    try:
        fresh = _compile(data, path, optimize)
        if body is None:
            reply["functions"] = codeobject.functions(fresh)
    except (SyntaxError, ValueError) as error:
        # The interpreter refuses this source, so bytecode that ran was not made from it.
        reply["same"] = None if body is None else False
        reply["reason"] = f"the source does not compile: {type(error).__name__}: {str(error)[:200]}"
        return reply
    except (EvidenceError, RecursionError, MemoryError, OverflowError) as error:
        reply["error"] = f"the source is beyond the checker: {type(error).__name__}"
        return reply
    if body is not None:
        reply["same"], reply["reason"], reply["functions"] = _compare(fresh, body)
    return reply


def _bound_memory() -> None:
    """A hostile body may claim to hold gigabytes: let that fail here and not swap the machine."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = MAX_MEMORY if hard == resource.RLIM_INFINITY else min(MAX_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _fields(request: dict[str, object]) -> tuple[str, bytes, bytes | None, int]:
    """Path, source bytes, body and optimization level; raises EvidenceError or OSError."""
    path, text, body = request.get("source"), request.get("text"), request.get("body")
    optimize = request.get("optimize", 0)
    if not isinstance(path, str) or not isinstance(optimize, int) or optimize not in (0, 1, 2):
        raise EvidenceError("request has no source path or an impossible optimization level")
    if isinstance(text, str):
        data = _decode(text)
    else:
        with open(path, "rb") as file:
            data = file.read(MAX_SOURCE + 1)
    if len(data) > MAX_SOURCE:
        raise EvidenceError("source is larger than 16 MiB")
    if isinstance(body, str):
        return path, data, _decode(body), int(optimize)
    twin = request.get("twin")
    if isinstance(twin, str):
        return path, data, _marshalled(_decode(twin), path, int(optimize)), int(optimize)
    return path, data, None, int(optimize)


def _marshalled(data: bytes, path: str, optimize: int) -> bytes:
    try:
        return marshal.dumps(_compile(data, path, optimize))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise EvidenceError("the text known for this bytecode does not compile") from error


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise EvidenceError("request holds malformed base64") from error


def _compile(data: bytes, path: str, optimize: int) -> CodeType:
    """As ``importlib`` compiles a module. Raises SyntaxError, ValueError (null bytes), RecursionError."""
    code: CodeType = compile(data, path, "exec", dont_inherit=True, optimize=optimize)
    return code


class Compared(NamedTuple):
    """Whether a body does what its source says, None when that was not settled, and what the difference is;
    ``functions``: digests of those that do but are written otherwise.
    """

    same: bool | None
    reason: str = ""
    functions: dict[str, str] = {}  # noqa: RUF012 - nobody writes into it


def _compare(fresh: CodeType, body: bytes) -> Compared:
    """Whether ``body`` unmarshals to the code ``fresh``, and what the difference is.

    Nearly every honest body is what marshalling gives, byte by byte. Reading any other one may damage this
    process without ending it (marshal trusts its input), and the answers to later requests with it, so that
    is done in a child that answers nothing else.
    """
    if marshal.dumps(fresh) == body:
        return Compared(True)
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
            os.close(receiver)
            with open(sender, "wb") as answers:
                answers.write(json.dumps(_compare_unmarshalled(fresh, body)).encode("ascii"))
        finally:
            os._exit(0)
    os.close(sender)
    with open(receiver, "rb") as answer_of_child:
        text = answer_of_child.read(MAX_COMPARED)
    _, status = os.waitpid(child, 0)
    found = _compared(text)
    if found is not None:
        return found
    code = os.waitstatus_to_exitcode(status)
    return Compared(False, f"the bytecode cannot be read: it ends the interpreter{_by_signal(code)}")


def _compared(text: bytes) -> Compared | None:
    """What the child wrote; None when it is not whole."""
    try:
        same, reason, functions = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None
    if same not in (True, False, None) or not isinstance(reason, str) or not isinstance(functions, dict):
        return None
    return Compared(same, reason[:MAX_REASON], {str(name): str(value) for name, value in functions.items()})


def _by_signal(code: int) -> str:
    return f" ({signal.Signals(-code).name})" if -code in set(signal.Signals) else ""


def _compare_unmarshalled(fresh: CodeType, body: bytes) -> Compared:
    """The same for the code objects. Whatever cannot be unmarshalled or digested differs, because the fresh
    compile could be.
    """
    try:
        loaded = marshal.loads(body)  # noqa: S302 - in this child, to compare it; never executed
    except (EOFError, ValueError, TypeError, RecursionError, MemoryError, SystemError) as error:
        return Compared(False, f"the bytecode cannot be read: {type(error).__name__}: {str(error)[:200]}")
    if not isinstance(loaded, CodeType):
        return Compared(False, f"the bytecode file holds a {type(loaded).__name__}, not code")
    try:
        require_plain(loaded)
        # Not by == alone: it does not look at the size of the stack, beyond which Python writes unasked.
        if codeobject.digest(loaded, columns=True) != codeobject.digest(fresh, columns=True):
            if codeobject.digest(loaded) != codeobject.digest(fresh):
                return _compare_behaviour(fresh, loaded)
            without = not codeobject.has_columns(loaded)
            return Compared(True, "compiled without column positions" if without else OTHERWISE)
        # The digest covers what == compares, except that == tells a NaN constant from itself.
        if loaded != fresh and not _holds_nan(fresh):
            return Compared(False, "the interpreter finds the code objects unequal")
    except DiffersError as error:
        return Compared(False, str(error))
    except (EvidenceError, RecursionError, MemoryError, ValueError) as error:
        return Compared(False, f"the bytecode is beyond the checker, its source is not: {error}")
    return Compared(True)


def _compare_behaviour(fresh: CodeType, loaded: CodeType) -> Compared:
    """Not alike as written: do they do the same? Raises EvidenceError."""
    try:
        codebehaviour.require_alike(fresh, loaded)
    except DiffersError as error:
        return Compared(False, _difference(fresh, loaded) or str(error))
    except codebehaviour.UnsettledError as error:
        return Compared(None, f"not what this Python compiles, though of the same parts: {error}")
    wanted, found = codeobject.functions(fresh), codeobject.functions(loaded)
    return Compared(True, OTHERWISE, {name: one for name, one in found.items() if wanted.get(name) != one})


def _difference(fresh: CodeType, loaded: CodeType) -> str:
    """Names of what differs: functions changed, added, missing, or the module's top level."""
    wanted, found = codeobject.functions(fresh), codeobject.functions(loaded)
    changed = [name for name in found if name in wanted and found[name] != wanted[name]]
    if len(changed) <= MAX_CHANGED:
        mine, others = codeobject.named(fresh), codeobject.named(loaded)
        changed = [name for name in changed if _behave_differently(mine[name], others[name])]
    # An enclosing function changes with what it encloses: the innermost ones say where.
    changed = [name for name in changed if not any(other.startswith(f"{name}.") for other in changed)]
    parts = []
    for word, names in (
        ("changed", changed),
        ("added", [name for name in found if name not in wanted]),
        ("missing", [name for name in wanted if name not in found]),
    ):
        if names:
            shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            parts.append(f"{word}: {shown}")
    return "; ".join(parts) if parts else "the module's top level differs"


def _behave_differently(one: CodeType, other: CodeType) -> bool:
    try:
        codebehaviour.require_alike(one, other)
    except (DiffersError, codebehaviour.UnsettledError, EvidenceError):
        return True
    return False


def _holds_nan(code: CodeType) -> bool:
    pending: list[object] = [code]
    while pending:
        item = pending.pop()
        if isinstance(item, CodeType):
            pending += item.co_consts
        elif isinstance(item, (tuple, frozenset)):
            pending += item
        elif isinstance(item, (float, complex)) and item != item:
            return True
    return False
