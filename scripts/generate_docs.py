"""Make the generated pages: docs/rules/ from the rules' docstrings, docs/reference/cli.md from the parser.

python scripts/generate_docs.py            write what has changed, remove pages of rules that are gone
python scripts/generate_docs.py --check    write nothing; 1 when a page differs from what would be written
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from veracity.detect.detector import Detector

ROOT = Path(__file__).resolve().parent.parent
HEADINGS = ("The law", "What breaks it", "How it is checked", "What fools it", "What to do")
_HEADING = re.compile(rf"[*#= ]*({'|'.join(HEADINGS)})\b[*]*[:.]?[*]*(?:\s+(.*))?")
_UNDERLINE = re.compile(r"[-=~^]{3,}\Z")
_MADE = "<!-- made by scripts/generate_docs.py from {source}; do not edit -->"
_EXIT_CODES = """\
## Exit codes

Frozen: their meaning does not change between versions. `0` is never given for something incomplete.

| Code | Meaning |
| --- | --- |
| `0` | clean *and* complete: a run that held, files without findings, a record that verifies |
| `1` | findings at or above the threshold, a run that is broken, or a verification that failed |
| `2` | could not complete: wrong flags or configuration, unreadable input, a run that is incomplete |

`veracity run` passes the exit code of the guarded command on, `128 + N` when signal *N* ended it, as a shell
does; with `--fail-on SEVERITY` it is `1` when the verdict is not `held`.
"""


class DocsError(Exception):
    """A source of the documentation does not have the form that its page needs."""


def pages() -> dict[str, str]:
    """Every generated page by its path under the root. Raises DocsError on a source without the form."""
    rules = importlib.import_module("veracity.detect.registry").EVERY
    parser = importlib.import_module("veracity.cli.main").build_parser()
    made = {f"docs/rules/{detector.rule.id}.md": rule_page(detector) for detector in rules}
    made["docs/rules/README.md"] = rule_index(rules)
    made["docs/reference/cli.md"] = cli_page(parser)
    return made


# --- rules ---------------------------------------------------------------------------------------------


def rule_page(detector: type[Detector]) -> str:
    """The page of one rule: what it is, then its module's docstring under the fixed headings."""
    rule = detector.rule
    title, sections = sections_of(detector.__module__, sys.modules[detector.__module__].__doc__ or "")
    source = "src/" + detector.__module__.replace(".", "/") + ".py"
    lines = [
        _MADE.format(source=source),
        f"# `{rule.id}`",
        "",
        title,
        "",
        "| Law | Severity | Confidence | Source |",
        "| --- | --- | --- | --- |",
        f"| `{rule.law}` | {rule.severity.value} | {rule.confidence.value} | [`{source}`](../../{source}) |",
    ]
    for heading, text in sections.items():
        lines += ["", f"## {heading}", "", text]
    return "\n".join(lines) + "\n"


def sections_of(module: str, docstring: str) -> tuple[str, dict[str, str]]:
    """Split a rule's docstring into its opening and the text under each fixed heading, in their order."""
    opening: list[str] = []
    sections: dict[str, list[str]] = {}
    current = opening
    for line in inspect.cleandoc(docstring).splitlines():
        if heading := _HEADING.fullmatch(line):
            current = sections[heading[1]] = [heading[2]] if heading[2] else []
        elif not (_UNDERLINE.match(line) and not any(current)):
            current.append(line)
    texts = {heading: "\n".join(text).strip() for heading, text in sections.items()}
    if tuple(texts) != HEADINGS or not all(texts.values()):
        raise DocsError(f"{module}: its docstring needs, in this order and with text: {', '.join(HEADINGS)}")
    return "\n".join(opening).strip(), texts


def rule_index(rules: tuple[type[Detector], ...]) -> str:
    """The table of all rules, by law."""
    lines = [
        _MADE.format(source="src/veracity/detect/registry.py"),
        "# Rules",
        "",
        "A rule's id, family first, is the same in its file name, its page, SARIF and suppressions. Severity",
        "says what it would mean if true, confidence how sure the rule is. Only an error of high confidence",
        "makes a run `broken`.",
        "",
        "| Rule | Law | Severity | Confidence | What it says |",
        "| --- | --- | --- | --- | --- |",
    ]
    for rule in sorted((detector.rule for detector in rules), key=lambda rule: (rule.law, rule.id)):
        level = f"{rule.severity.value} | {rule.confidence.value}"
        lines.append(f"| [`{rule.id}`]({rule.id}.md) | `{rule.law}` | {level} | {rule.title} |")
    return "\n".join(lines) + "\n"


# --- the command line ----------------------------------------------------------------------------------


def cli_page(parser: argparse.ArgumentParser) -> str:
    """The reference of the command line: every verb, argument and flag, then the exit codes."""
    lines = [_MADE.format(source="the parser in src/veracity/cli"), "# The command line", ""]
    lines += [*_command(parser), ""]
    for verb, subparser in verbs(parser).items():
        lines += [f"## `{verb}`", "", *_command(subparser), ""]
    return "\n".join(lines) + "\n" + _EXIT_CODES


def verbs(parser: argparse.ArgumentParser, prefix: str = "") -> dict[str, argparse.ArgumentParser]:
    """All verbs by full name (``veracity run``) in the parser's order, nested ones after their parent."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, subparser in action.choices.items():
                full = f"{prefix or parser.prog} {name}"
                found[full] = subparser
                found |= verbs(subparser, full)
    return found


def flags(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The arguments and flags of one parser, without its verbs and without ``--help``."""
    hidden = (argparse._SubParsersAction, argparse._HelpAction)
    return [
        action
        for action in parser._actions
        if not isinstance(action, hidden) and action.help != argparse.SUPPRESS
    ]


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    if parser.description:
        yield from (inspect.cleandoc(parser.description), "")
    yield from ("```text", usage(parser), "```")
    rows = [_row(parser, action) for action in flags(parser)]
    if rows:
        yield from ("", "| Argument | Meaning |", "| --- | --- |", *rows)


def usage(parser: argparse.ArgumentParser) -> str:
    """The usage of one command on one line; argparse's own differs between versions of Python."""
    parts = [parser.prog]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            parts.append("VERB …")
        elif isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        elif action.option_strings:
            shown = " ".join(filter(None, (action.option_strings[-1], _value(action))))
            parts.append(shown if action.required else f"[{shown}]")
        else:
            parts.append(_value(action))
    return " ".join(parts)


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    value = _value(action)
    if action.option_strings:
        shown = ", ".join(f"`{' '.join(filter(None, (name, value)))}`" for name in action.option_strings)
    else:
        shown = f"`{value}`"
    text = action.help or ""
    if "%" in text:
        text = text % {**vars(action), "prog": parser.prog}
    if action.choices is not None and action.metavar is not None:
        text += f" ({', '.join(f'`{choice}`' for choice in action.choices)})"
    return f"| {_cell(shown)} | {_cell(' '.join(text.split()))} |"


def _value(action: argparse.Action) -> str:
    """What stands for the value of an argument; empty for a switch."""
    if action.nargs == 0:
        return ""
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    name = action.metavar
    if name is None:
        choices = [str(choice) for choice in action.choices] if action.choices is not None else []
        name = "{" + ",".join(choices) + "}" if choices else action.dest.upper()
    return f"{name} …" if action.nargs in ("*", "+", argparse.REMAINDER) else name


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


# --- writing -------------------------------------------------------------------------------------------


def stale() -> list[str]:
    """Paths of generated pages that differ from what would be made, are missing, or belong to no rule."""
    made = pages()
    wrong = [path for path, text in made.items() if _read(ROOT / path) != text]
    return wrong + [path for path in _rule_pages_on_disk() if path not in made]


def _rule_pages_on_disk() -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs/rules").glob("*.md"))]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main() -> int:
    """Write the pages, or with ``--check`` only compare them."""
    arguments = argparse.ArgumentParser(description="Make the generated documentation pages.")
    arguments.add_argument(
        "--check", action="store_true", help="write nothing; 1 when a page is not up to date"
    )
    asked = arguments.parse_args()
    try:
        made, wrong = pages(), stale()
    except DocsError as error:
        print(error)
        return 1
    for path in wrong:
        if asked.check:
            print(f"{path} is not up to date; run scripts/generate_docs.py")
        elif path in made:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(made[path], encoding="utf-8")
            print(f"wrote {path}")
        else:
            (ROOT / path).unlink()
            print(f"removed {path}")
    return 1 if wrong and asked.check else 0


if __name__ == "__main__":
    sys.exit(main())
