"""Tables in Markdown, and the place that those of each bench have in ``docs/benchmarks.md``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .laws.rows import ROOT, commit

DOCUMENT = ROOT / "docs" / "benchmarks.md"


@dataclass(frozen=True, slots=True)
class Block:
    """The part ``name`` of the document, between two markers; ``writer`` is the module that fills it."""

    name: str
    writer: str

    @property
    def begin(self) -> str:
        """The marker before it."""
        return f"<!-- {self.name}: begin, written by {self.writer} -->"

    @property
    def end(self) -> str:
        """The marker behind it."""
        return f"<!-- {self.name}: end -->"

    def placed(self, document: str, text: str) -> str:
        """``document`` with ``text`` between the markers, which are added at the end when it has none."""
        block = f"{self.begin}\n{text}\n{self.end}"
        if self.begin not in document:
            return f"{document.rstrip()}\n\n{block}\n"
        before, _, rest = document.partition(self.begin)
        return f"{before}{block}{rest.partition(self.end)[2]}"


def write(block: Block, report: Callable[[Sequence[str]], str], *, usage: str | None, of_commits: str) -> int:
    """Put ``report`` of the commits that the command line names into its block, or print it; 0.

    ``of_commits`` says for ``--help`` what is reported of them.
    """
    parser = argparse.ArgumentParser(description=usage)
    parser.add_argument("--commit", nargs="+", help=f"{of_commits} (default: the one checked out)")
    parser.add_argument("--print", action="store_true", dest="shown", help="print instead of writing")
    arguments = parser.parse_args()
    text = report(arguments.commit or [commit()])
    if arguments.shown:
        print(text)
    else:
        DOCUMENT.write_text(block.placed(DOCUMENT.read_text(encoding="utf-8"), text), encoding="utf-8")
    return 0


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table."""
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return lines + ["| " + " | ".join(row) + " |" for row in body]
