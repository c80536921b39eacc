"""Jupyter notebooks: their code as one Python text, their commands to the shell, scripts in their outputs.

The cells run one after the other in one process, so their code is handed on as one text, in which a comment
begins each cell. IPython changes a cell before Python sees it: a line that begins with ``!`` goes to the
shell, with the program's variables put in the place of ``{name}`` and ``$name``; ``%%bash`` and its like hand
a whole cell over. Where the kernel is a shell, each cell is. Cells that are no Python after that change run
nowhere.

Format: https://nbformat.readthedocs.io/en/latest/format_description.html; magics:
https://ipython.readthedocs.io/en/stable/interactive/magics.html
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from ...core.observation import CodeCarried, CommandAsked
from ..artifact.input import Input
from ..artifact.reading import Nested
from .resolved import reaches_beyond
from .saying import MAX_COMMAND, Saying
from .value import Fields, Value

NEEDLE = re.compile(rb'"cells"|"worksheets"')
# The parser of Python 3.10 can be made to end its process by a text of some hundred thousand characters.
MAX_CELL = 1 << 20 if sys.version_info >= (3, 11) else 1 << 16
MAX_CELLS = 20_000
_SHELLS = "bash|sh|script|system|sx|!|perl|ruby|python2?|python3|pypy|cmd|capture_sh"
_CELL = re.compile(rf"\s*%%({_SHELLS})(?=\s|$)([^\n]*)\n?(.*)", re.DOTALL)
_OTHER_CELL = re.compile(r"\s*%%(\w+)([^\n]*)\n?(.*)", re.DOTALL)
_RUNS_ITS_CELL = ("time", "timeit", "capture", "prun", "memit", "mprun", "lprun", "debug")
_LINE = re.compile(
    r"^(?P<indent>[ \t]*)(?P<left>[\w, \t.\[\]]+=[ \t]*)?"
    r"(?P<how>!{1,2}|%(?:system|sx|sc)\b|%(?P<magic>\w+))(?P<rest>(?:[^\n\\]|\\.|\\\n)*)$",
    re.MULTILINE,
)
_HELP = re.compile(r"^[ \t]*(\?{1,2}[\w.*%]+|[\w.*%\[\]]+\?{1,2})[ \t]*$", re.MULTILINE)
_FETCHES = re.compile(r"\s+(-\w+\s+)*['\"]?(https?|ftp)://", re.IGNORECASE)
_ASKS = re.compile(
    r"(?:\bget_ipython\s*\(\s*\)|\b(?!os\b|subprocess\b|commands\b)[^\W\d]\w*)\s*\.\s*"
    r"(?:system|getoutput|getoutput_raw|run_line_magic|run_cell_magic)\s*\(\s*"
    r"(?:['\"](?:system|sx|sc|bash|sh|script|!)\b[^'\"]{0,50}['\"]\s*,\s*(?:['\"][^'\"]{0,200}['\"]\s*,\s*)?)?"
    r"('''|\"\"\"|['\"])((?:\\.|(?!\1).){0,5000})",
    re.DOTALL,
)
"""The shell, asked by a call of the kernel's own functions."""
_SHELL_KERNELS = re.compile(r"(?i)(calysto_)?(ba|z|k|da|)sh\b.*|shellscript|xonsh|fish")
_OTHER_SYSTEM = re.compile(
    r"\b(?:system2?|shell|run|cmd)\s*\(\s*(['\"`])((?:\\.|(?!\1).){0,5000})", re.DOTALL
)
"""Where the kernel is neither Python nor a shell: R's ``system``, and what others call the same."""
_SET = re.compile(r"(?m)^([^\W\d]\w*)[ \t]*=[ \t]*(['\"])((?:\\.|(?!\2)[^\\\n]){0,2000})\2[ \t]*(?:#.*)?$")
_PUT_IN = re.compile(r"\{([^\W\d]\w*)\}|\$([^\W\d]\w*)\b")
MAX_SET = 1_000
_KERNEL = re.compile(r"\bkernel\s*\.\s*execute\s*\(\s*(['\"`])((?:\\.|(?!\1).){0,5000})", re.DOTALL)


def notebook(root: Value, saying: Saying) -> Iterator[CommandAsked | CodeCarried | Nested]:
    """What a notebook hands to the shell and to Python; nothing when the document is none."""
    if not isinstance(root, Fields) or not ({"cells", "worksheets"} & root.names()):
        return
    code: list[str] = []
    variables: dict[str, str] = {}
    kernel = _kernel(root)
    for number, cell in enumerate(_cells(root), 1):
        kind = cell.text("cell_type")
        source = _text([*cell.get("source"), *cell.get("input")])
        if kind == "code" and len(source) <= MAX_CELL:
            variables |= {one[1]: one[3] for one in islice(_SET.finditer(source), MAX_SET)}
            for one in _of_kernel(kernel, source, f"cell {number}", saying, code):
                yield (
                    replace(one, text=_filled(one.text, variables)) if isinstance(one, CommandAsked) else one
                )
        elif kind == "code":
            yield saying.command(f"cell {number}", 1, "cell", source)
        for output in cell.get("outputs"):
            yield from _scripts(output, f"output of cell {number}", saying)
    if any(code):
        text = "\n".join(code).encode("utf-8", "replace")
        yield Nested(Input.of_bytes(f"{saying.name}!cells.py", text, saying.depth + 1))


def _kernel(root: Fields) -> str:
    """The language of the cells, as the notebook says; Python when it says nothing."""
    for about in root.get("metadata"):
        for part in ("kernelspec", "language_info"):
            for fields in about.get(part) if isinstance(about, Fields) else ():
                if isinstance(fields, Fields):
                    named = fields.text("language") or fields.text("name")
                    if named:
                        return named
    return "python"


def _of_kernel(
    kernel: str, source: str, where: str, saying: Saying, code: list[str]
) -> Iterator[CommandAsked | CodeCarried]:
    if _SHELL_KERNELS.fullmatch(kernel):
        yield saying.command(where, 1, "bash", source)
        return
    if "python" not in kernel.lower():
        for found in _OTHER_SYSTEM.finditer(source):
            yield saying.command(where, source.count("\n", 0, found.start()) + 1, "shell", found[2])
    # Whatever it says of itself: who opens it may choose another kernel.
    yield from _code_cell(source, where, saying, code)


def _filled(text: str, variables: dict[str, str]) -> str:
    """A command with what its variables were set to, where the notebook's text tells."""
    if not variables or not ("{" in text or "$" in text):
        return text
    return _PUT_IN.sub(lambda one: variables.get(one[1] or one[2], one[0]), text)[:MAX_COMMAND]


def _cells(root: Fields) -> Iterator[Fields]:
    """Cells of version 4, or in worksheets of version 3."""
    lists = root.get("cells")
    for sheets in root.get("worksheets"):
        for sheet in sheets if isinstance(sheets, list) else ():
            lists += sheet.get("cells") if isinstance(sheet, Fields) else []
    found = (cell for cells in lists if isinstance(cells, list) for cell in cells if isinstance(cell, Fields))
    for _, cell in zip(range(MAX_CELLS), found, strict=False):
        yield cell


def _text(values: list[Value]) -> str:
    """A text that may be given as a list of its lines."""
    parts: list[str] = []
    for value in values:
        parts += [value] if isinstance(value, str) else []
        parts += [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
    return "".join(parts)


def _code_cell(
    source: str, where: str, saying: Saying, code: list[str]
) -> Iterator[CommandAsked | CodeCarried]:
    for asked in _ASKS.finditer(source):
        yield saying.command(where, source.count("\n", 0, asked.start()) + 1, "shell", asked[2])
    if _parses(source):
        code.append(f"# {where}\n{source}\n")
        return
    if found := _CELL.match(source):
        yield saying.command(where, 1, found[1], f"{found[2].strip()}\n{found[3]}".strip())
        return
    if found := _OTHER_CELL.match(source):
        if found[1] in ("writefile", "file"):
            name = re.sub(r"\s*(-a|--append)\s+", "", found[2]).strip()
            yield saying.command(where, 1, "shell", f"tee {name}")
        elif found[1] in ("javascript", "js", "html", "HTML"):
            yield from _kernel_calls(found[3], where, saying)
        if found[1] not in _RUNS_ITS_CELL:
            return
        source = f"\n{found[3]}"
    commands: list[CommandAsked] = []

    def replaced(line: re.Match[str]) -> str:
        number = source.count("\n", 0, line.start()) + 1
        commands.extend(_commands(line, where, number, saying))
        left = line["left"] or ""
        return f"{line['indent']}{left}{'None' if left else 'pass'}" + "\n" * line["rest"].count("\n")

    plain = _HELP.sub("pass", _LINE.sub(replaced, source))
    yield from commands
    if _parses(plain):
        code.append(f"# {where}\n{plain}\n")


def _commands(line: re.Match[str], where: str, number: int, saying: Saying) -> Iterator[CommandAsked]:
    rest = line["rest"].strip()
    magic = line["magic"]
    if magic is None or magic in ("system", "sx", "sc"):
        yield saying.command(where, number, "shell", rest)
    elif magic in ("pip", "conda", "mamba", "uv"):
        yield saying.command(where, number, "shell", f"{magic} {rest}")
    elif magic in ("alias", "env", "set_env"):
        name, _, value = re.sub(r"\s*[\s=]\s*", "=", rest, count=1).partition("=")
        yield saying.command(where, number, "shell", value if magic == "alias" else f"export {name}={value}")
    elif magic in ("run", "load", "loadpy") and _FETCHES.match(line["rest"]):
        yield saying.command(where, number, magic, rest)


def _parses(source: str) -> bool:
    try:
        compile(
            source, "<cell>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _scripts(output: Value, where: str, saying: Saying) -> Iterator[CodeCarried]:
    """Python that a script in an output hands to the kernel, as the page of a notebook would let it."""
    waiting = [output]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Fields):
            waiting += [value for _, value in one.pairs]
            for key in ("text/html", "application/javascript", "image/svg+xml"):
                yield from _kernel_calls(_text(one.get(key)), where, saying)
        elif isinstance(one, list):
            waiting += one


def _kernel_calls(page: str, where: str, saying: Saying) -> Iterator[CodeCarried]:
    for found in _KERNEL.finditer(page):
        if reaches_beyond(found[2], imports=False):
            yield saying.carries(where, "Jupyter", "expression", found[2])
