"""Which operators the code in a TorchScript archive names: its compiler resolves names, so they stand there.

The code looks like Python and is not: there is no ``getattr``, no import, nothing that is evaluated. It
calls operators of torch (``torch.relu``, ``ops.aten.relu``) and what stands in the same archive. A namespace
can be given another name by an assignment, which is followed.
"""

from __future__ import annotations

import re

MAX_NAMES = 2_000
_BLANKED = re.compile(
    r"'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|#[^\n]*",
    re.S,
)
_RENAMED = re.compile(r"\b([^\W\d]\w*)\s*=\s*((?:[^\W\d]\w*)(?:\s*\.\s*[^\W\d]\w*)?)\s*(?=[\n;)]|\Z)")
_OPERATOR = re.compile(rb"([a-z_][a-z0-9_]{0,60})::([A-Za-z_][A-Za-z0-9_]{0,100})")


def operators_in_code(text: str) -> tuple[str, ...]:
    """Operators that a source file names, as ``aten.relu``; those of torch's own namespace are aten's."""
    code = _BLANKED.sub(" ", text)
    spaces = _namespaces(code)
    found: dict[str, None] = {}
    for name, meaning in spaces.items():
        pattern = rf"(?<![\w.])(?<!\. ){re.escape(name)}\s*\.\s*([^\W\d]\w*)(?:\s*\.\s*([^\W\d]\w*))?"
        for match in re.finditer(pattern, code):
            one = f"{match[1]}.{match[2]}" if meaning == "ops" else f"{meaning}.{match[1]}"
            if len(found) < MAX_NAMES:
                found[one] = None
    return tuple(sorted(found))


def operators_in_bytecode(data: bytes) -> tuple[str, ...]:
    """Operators that the instructions of a mobile model name; they are text in a pickle."""
    found = {f"{one[1].decode()}.{one[2].decode()}" for one in _OPERATOR.finditer(data)}
    return tuple(sorted(found)[:MAX_NAMES])


def _namespaces(code: str) -> dict[str, str]:
    """Names of namespaces: ``torch`` is aten's, below ``ops`` they have their own, others are assigned."""
    spaces = {"torch": "aten", "ops": "ops"}
    for _ in range(3):  # a name for a name for a name
        for match in _RENAMED.finditer(code):
            base, _, rest = re.sub(r"\s", "", match[2]).partition(".")
            if base in spaces and len(spaces) < MAX_NAMES:
                if not rest:
                    spaces.setdefault(match[1], spaces[base])
                elif spaces[base] == "ops":
                    spaces.setdefault(match[1], rest)
    return spaces
