"""The documentation says what the code does: examples run, generated pages are current, nothing is left out.

An example is run when ``<!-- runs -->`` stands on the line above its fence. ``console`` blocks hold commands
after ``$`` with, optionally, lines of output that must appear in what the commands print (``…`` matches
anything); ``bash`` blocks are scripts that must succeed; ``python`` blocks are executed. All blocks of a page
run in the same folder in their order, so a later one can use what an earlier one left.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts import generate_docs
from tests.knowledge import warmed

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 300
_BLOCK = re.compile(r"^<!-- runs -->\n```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HOME = re.compile(r"--home (\w+) run ")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True)
class Example:
    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def documents() -> list[Path]:
    folders = [
        path for top in ("docs", "examples", "changelog.d") for path in sorted((ROOT / top).rglob("*.md"))
    ]
    return sorted(ROOT.glob("*.md")) + folders


def examples_in(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    return [
        Example(page, text.count("\n", 0, found.start()) + 1, found[1], found[2])
        for found in _BLOCK.finditer(text)
    ]


def run_example(example: Example, folder: Path) -> None:
    if example.language == "python":
        for_real(example, [sys.executable, "-c", example.text], folder)
    elif example.language in ("bash", "sh"):
        for_real(example, ["bash", "-euo", "pipefail", "-c", example.text], folder)
    elif example.language == "console":
        for command, expected in commands_of(example):
            printed = for_real(example, ["bash", "-euo", "pipefail", "-c", command], folder)
            assert_shown(example, expected, printed)
    else:
        pytest.fail(f"{example}: a block that runs is console, bash or python, not {example.language!r}")


def for_real(example: Example, command: list[str], folder: Path) -> str:
    bin_folder = Path(sys.executable).parent
    done = subprocess.run(
        command,
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "VERACITY_HOME": str(folder / "home"),
            "NO_COLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, f"{example}\n{done.stdout}"
    return done.stdout


def commands_of(example: Example) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console block with the lines of output shown under it."""
    for part in re.split(r"^\$ ", example.text, flags=re.MULTILINE)[1:]:
        command, _, output = re.sub(r"\\\n\s*", "", part).partition("\n")
        yield command, [line for line in output.splitlines() if line.strip()]


def assert_shown(example: Example, expected: list[str], printed: str) -> None:
    for line in expected:
        pattern = ".*".join(re.escape(piece) for piece in line.strip().split("…"))
        assert re.search(pattern, printed), f"{example}: {line!r} is not in\n{printed}"


@pytest.mark.parametrize(
    "page", [page for page in documents() if examples_in(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_examples_run(page: Path, warm_home: Path, knowledge: Path) -> None:
    examples = examples_in(page)
    for name in {name for example in examples for name in _HOME.findall(example.text)}:
        warmed(knowledge, warm_home.parent / name)
    for example in examples:
        run_example(example, warm_home.parent)


def test_a_wrong_example_is_noticed(tmp_path: Path) -> None:
    shown = "$ echo one; echo two\none\nt…o\n"
    run_example(Example(ROOT / "README.md", 1, "console", shown), tmp_path)
    for language, text in (
        ("console", "$ echo one\ntwo\n"),
        ("console", "$ false\n"),
        ("bash", "false\ntrue\n"),
        ("python", "assert 1 == 2\n"),
    ):
        with pytest.raises(AssertionError):
            run_example(Example(ROOT / "README.md", 1, language, text), tmp_path)


@pytest.mark.parametrize("page", documents(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    targets = [link.partition("#")[0] for link in _LINK.findall(page.read_text(encoding="utf-8"))]
    inside = [
        target for target in targets if target and "://" not in target and not target.startswith("mailto:")
    ]
    assert [target for target in inside if not (page.parent / target).exists()] == []


def test_generated_pages_are_what_the_generator_makes() -> None:
    assert generate_docs.stale() == [], "run scripts/generate_docs.py"


def test_every_rule_has_its_page() -> None:
    from veracity.detect.registry import EVERY

    made = generate_docs.pages()
    assert EVERY
    for detector in EVERY:
        page = (ROOT / "docs/rules" / f"{detector.rule.id}.md").read_text(encoding="utf-8")
        assert page == made[f"docs/rules/{detector.rule.id}.md"]
        assert [heading for heading in generate_docs.HEADINGS if f"\n## {heading}\n" not in page] == []


def test_every_verb_and_flag_is_in_the_reference() -> None:
    from veracity.cli.main import build_parser

    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    parser = build_parser()
    verbs = generate_docs.verbs(parser)
    assert verbs
    assert [verb for verb in verbs if f"## `{verb}`" not in page] == []
    everything = [flag for one in (parser, *verbs.values()) for flag in generate_docs.flags(one)]
    assert [name for flag in everything for name in flag.option_strings if f"`{name}" not in page] == []
    assert [flag.dest for flag in everything if not flag.help] == [], "each argument says what it is for"


def test_every_exit_code_is_in_the_reference() -> None:
    from veracity.core import errors

    page = (ROOT / "docs/reference/cli.md").read_text(encoding="utf-8")
    raised = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.Error)
    }
    assert raised <= {1, 2}
    assert [code for code in (0, *sorted(raised)) if f"| `{code}` |" not in page] == []


def test_a_rule_without_the_fixed_headings_is_refused() -> None:
    with pytest.raises(generate_docs.DocsError, match="What to do"):
        generate_docs.sections_of("rule", "A title.\n\nThe law\n    It holds.\n")


@pytest.mark.parametrize(
    "form", ["{h}\n{t}", "{h}\n-----\n{t}", "*{h}*\n\n{t}", "**{h}.** {t}", "## {h}\n\n{t}"]
)
def test_headings_are_read_in_each_usual_form(form: str) -> None:
    body = "\n\n".join(
        form.format(h=heading, t=f"Text of it, {heading[:1]}.") for heading in generate_docs.HEADINGS
    )
    title, sections = generate_docs.sections_of("rule", "A title.\n\n" + body)
    assert title == "A title."
    assert sections == {heading: f"Text of it, {heading[:1]}." for heading in generate_docs.HEADINGS}
