"""Whether a command's script does what an installer's script does: import one function, and call it.

Installers write a script for each entry point of a distribution, each in wording of its own. Such a script
is in no archive. Its syntax tree says whether it does more than it should; nothing is executed.
"""

from __future__ import annotations

import ast
import os
import re

MAX_SCRIPT = 64 << 10
_MODULES = frozenset({"re", "sys"})
_PROGRAM = "sys.argv[0]"
_FLAGS = "(?: -[BEIPsu]+)?"
"""Nothing that names code (``-c``), or leaves out a part of the program (``-O``)."""
_LINE = re.compile(rf'#![ \t]*(?:"(?P<quoted>[^"]+)"|(?P<plain>[^\s"]+)){_FLAGS}[ \t]*\Z')
_OWN_FOLDER = "|".join(
    re.escape(f'"$({command})"/')
    for command in ('dirname -- "$(realpath -- "$0")"', 'CDPATH= cd -- "$(dirname -- "$0")" && echo "$PWD"')
)
_LAUNCH = re.compile(
    f"'''exec' (?P<own>{_OWN_FOLDER})?"
    r"""(?:"(?P<double>[^"$`\\]+)"|'(?P<single>[^']+)'|(?P<bare>[\w@%+=:,./-]+))"""
    rf'{_FLAGS} "\$0" "\$@"\s*\Z'
)


def interpreter_of(data: bytes, folder: str) -> tuple[str, bytes]:
    """The interpreter that the script in ``data`` is started with, and what follows the lines that say so.

    For a long path, or one with blanks, installers write two lines that a shell reads as a command; a script
    of an environment that may be moved looks beside itself, which is in ``folder``. Empty when it is
    started otherwise, or with more than an interpreter and flags that change no meaning.
    """
    head, _, rest = data.partition(b"\n")
    if head.rstrip() != b"#!/bin/sh":
        found = _LINE.match(os.fsdecode(head))
        return (found["quoted"] or found["plain"] if found else ""), rest
    command, _, rest = rest.partition(b"\n")
    end, _, rest = rest.partition(b"\n")
    found = _LAUNCH.match(os.fsdecode(command))
    if found is None or end.strip() != b"' '''":
        return "", rest
    path = found["double"] or found["single"] or found["bare"]
    return (os.path.join(folder, path) if found["own"] and "/" not in path else path), rest


def calls_entry(data: bytes, entry: str) -> bool:
    """Whether the script in ``data`` calls the entry point ``module:attribute`` and does nothing else.

    It may import ``re`` and ``sys``, and rewrite ``sys.argv[0]``, as installers do.
    """
    module, _, attribute = entry.partition(":")
    if len(data) > MAX_SCRIPT or not module or not attribute:
        return False
    try:
        tree = ast.parse(interpreter_of(data, "")[1])
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    imported = called = False
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            if any(one.name not in _MODULES or one.asname for one in statement.names):
                return False
        elif isinstance(statement, ast.ImportFrom):
            if not _imports(statement, module, attribute.split(".")[0]):
                return False
            imported = True
        elif (
            isinstance(statement, ast.If) and _is_main(statement.test) and not statement.orelse and not called
        ):
            called = _calls(statement.body, attribute)
            if not called:
                return False
        else:
            return False
    return imported and called


def _imports(statement: ast.ImportFrom, module: str, name: str) -> bool:
    names = [(one.name, one.asname) for one in statement.names]
    return statement.module == module and not statement.level and names == [(name, None)]


def _is_main(test: ast.expr) -> bool:
    return ast.unparse(test).replace('"', "'") == "__name__ == '__main__'"


def _calls(body: list[ast.stmt], attribute: str) -> bool:
    """The last statement calls it; those before rewrite the program's name."""
    *before, last = body
    return all(map(_renames, before)) and ast.unparse(last) == f"sys.exit({attribute}())"


def _renames(statement: ast.stmt) -> bool:
    """``sys.argv[0] = …`` of itself: a part of it, or with something taken off; or such under a condition."""
    if isinstance(statement, ast.If):
        test = statement.test
        if not isinstance(test, ast.Call) or not _is_plain(test, "sys.argv[0].endswith"):
            return False
        return all(map(_renames, [*statement.body, *statement.orelse]))
    if not isinstance(statement, ast.Assign) or [ast.unparse(one) for one in statement.targets] != [_PROGRAM]:
        return False
    value = statement.value
    if isinstance(value, ast.Call):
        return _is_plain(value, "re.sub") or _is_plain(value, f"{_PROGRAM}.removesuffix")
    bounds = (ast.Slice, ast.Constant, ast.UnaryOp, ast.USub)
    return (
        isinstance(value, ast.Subscript)
        and ast.unparse(value.value) == _PROGRAM
        and all(isinstance(one, bounds) for one in ast.walk(value.slice))
    )


def _is_plain(call: ast.Call, function: str) -> bool:
    """Whether ``function`` is called with constants and the program's name alone."""
    given = [one for one in call.args if ast.unparse(one) != _PROGRAM]
    constants = all(isinstance(one, ast.Constant) for one in given)
    return ast.unparse(call.func) == function and not call.keywords and constants
