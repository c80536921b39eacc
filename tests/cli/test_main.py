from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import veracity
from tests.render import samples
from veracity.cli import runs
from veracity.cli.main import VERBS, build_parser, main
from veracity.core.errors import EvidenceError, UsageError, VerificationError

Put = Callable[..., None]
Captured = pytest.CaptureFixture[str]


def raising(error: BaseException) -> Callable[..., None]:
    def call(*_: object) -> None:
        raise error

    return call


def test_version(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"veracity {veracity.__version__}\n"


def test_version_and_parser_load_nothing_heavy() -> None:
    code = (
        "import sys; from veracity.cli.main import main; main(['--version']);"
        "heavy = {'rich', 'msgspec', 'cryptography', 'subprocess', 'socket', 'asyncio'};"
        "print(sorted(heavy & set(sys.modules)), [n for n in sys.modules if 'veracity.monitor' in n])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] []"


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_teaches(verb: str, capsys: Captured) -> None:
    assert main([verb, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"  veracity {verb}" in said.partition("examples:")[2]
    assert "exit codes:" in said
    assert len(said.partition("\n\n")[2]) > 200


@pytest.mark.parametrize("columns", ["60", "140", "0", "x", ""])
def test_help_is_as_wide_as_the_terminal(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    formatter = build_parser("runs")._get_formatter()
    assert formatter._width == shutil.get_terminal_size().columns - 2


def test_help_about_all_comes_before_a_verb(capsys: Captured) -> None:
    assert main(["--help", "scan"]) == 0
    assert "start here:" in capsys.readouterr().out


def test_help_lists_every_verb(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert [verb for verb in VERBS if f"    {verb}" not in said] == []


def test_without_a_verb_the_help_goes_to_standard_error(capsys: Captured) -> None:
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "start here:" in captured.err


@pytest.mark.parametrize(
    ("words", "what", "remedy"),
    [
        (["shwo"], "there is no verb 'shwo'", "did you mean `veracity show`?"),
        (["--quiet", "reprot"], "there is no verb 'reprot'", "did you mean `veracity report`?"),
        (["zzzzzz"], "there is no verb", "see `veracity --help`"),
        (["--fromat", "json", "runs"], "not understood: --fromat", "did you mean --format?"),
        (["show", "--fromat", "json"], "not understood: --fromat", "did you mean --format?"),
        (["run", "--polcy", "enforce", "--", "true"], "not understood: --polcy", "did you mean --policy?"),
        (["show", "a", "b"], "not understood: b", "see `veracity show --help`"),
        (
            ["run", "--policy", "strict", "--", "true"],
            "invalid choice: 'strict'",
            "see `veracity run --help`",
        ),
        (["runs", "--limit", "few"], "invalid int value", "see `veracity runs --help`"),
        (["show", "--home"], "expected one argument", "see `veracity show --help`"),
        (["run"], "no command to run", "veracity run -- python train.py"),
        (["run", "--"], "no command to run", "veracity run -- python train.py"),
        (["runs", "--format", "html"], "has no format 'html'", "it has text and json"),
        (["--format", "json", "report"], "has no format 'json'", "it has html"),
        (["show", "--form", "json"], "not understood: --form", "did you mean --format?"),
    ],
)
def test_mistakes_are_explained(words: list[str], what: str, remedy: str, capsys: Captured) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("veracity: ")
    assert what in captured.err
    assert remedy in captured.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (EvidenceError("the record is cut", where="/x", remedy="restore it"), 2, "what to do: restore it"),
        (VerificationError("a signature does not hold"), 1, "veracity: a signature does not hold"),
        (UsageError("odd \x1b[2J name\u202e"), 2, r"veracity: odd \x1b[2J name\u202e"),
        (OSError(28, "No space left on device", "/full"), 2, "veracity: No space left on device: /full"),
        (PermissionError(13, "Permission denied", "/ro"), 2, "veracity: Permission denied: /ro"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 2, ""),
    ],
)
def test_failures_give_a_sentence_and_a_code(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(runs, "execute", raising(error))
    assert main(["runs"]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    "words",
    [
        ["--home", "{}", "runs"],
        ["runs", "--home", "{}"],
        ["runs", "--home={}"],
        ["--home={}", "--quiet", "runs"],
    ],
)
def test_global_flags_stand_before_or_after_the_verb(
    words: list[str], home: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERACITY_HOME", "/nonexistent")
    assert main([word.format(home) for word in words]) == 0
    assert samples.RUN in capsys.readouterr().out


def test_the_flag_after_the_verb_wins() -> None:
    arguments = build_parser().parse_args(["--home", "/a", "--format", "text", "runs", "--home", "/b"])
    assert (arguments.home, arguments.format, arguments.quiet) == (Path("/b"), "text", False)


def test_home_is_the_users_own_directory_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from veracity.cli.parsing import home_of

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VERACITY_HOME", "")
    assert home_of(build_parser().parse_args(["runs"])) == tmp_path / ".veracity"


def test_a_reader_that_leaves_early_causes_no_noise(home: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.run(
        [sys.executable, "-m", "veracity.cli.main", "runs"],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert process.stderr == b""
    assert process.returncode == 2


def test_a_terminal_without_unicode_gets_escapes_and_no_traceback(home: Path) -> None:
    document = {"run": samples.RUN, "command": ["größe.py"], "started_at": 5, "verdict": "held"}
    (home / "runs" / samples.RUN / "run.json").write_text(json.dumps(document))
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "veracity.cli.main", "runs"], capture_output=True, env=environment, check=True
    )
    assert rb"gr\xf6\xdfe.py" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_every_verb_and_flag(shell: str, capsys: Captured) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in (*VERBS, "--fail-on", "--home", "--limit", "latest"):
        assert word in script


def test_bash_completes_with_the_script(tmp_path: Path, capsys: Captured) -> None:
    assert main(["completion", "bash", "--output", str(tmp_path / "c.sh")]) == 0
    ask = (
        'source "$1"; COMP_WORDS=(veracity "${@:2}"); COMP_CWORD=$(($#-1)); _veracity; echo "${COMPREPLY[*]}"'
    )

    def completed(*words: str) -> str:
        run = ["bash", "-c", ask, "bash", str(tmp_path / "c.sh"), *words]
        return subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()

    assert completed("sh") == "show"
    assert completed("run", "--fail") == "--fail-on"
    assert completed("--quiet", "show", "la") == "latest"
