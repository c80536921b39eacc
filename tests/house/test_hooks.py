"""What other tools start: the pre-commit hook and the action call commands that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from veracity.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[2]


def test_the_hook_calls_a_command_that_is_understood() -> None:
    text = (ROOT / ".pre-commit-hooks.yaml").read_text()
    (entry,) = re.findall(r"^  entry: (.*)$", text, re.M)
    words = entry.split()

    assert words[0] == "veracity"
    arguments = build_parser().parse_args([*words[1:], "model.pt", "train.py"])
    assert arguments.verb == "scan"
    assert arguments.paths == ["model.pt", "train.py"]


def test_the_action_runs_and_hands_the_exit_code_on(tmp_path: Path) -> None:
    """Its script, with the command that it would install."""
    lines = (ROOT / "action.yml").read_text().partition("      run: |\n")[2].splitlines()
    script = "\n".join(line[8:] for line in lines)
    for name, text in (("clean", "exit 0"), ("bad", "exit 1")):
        python = tmp_path / f"python-{name}"
        command = (
            f'mkdir -p "$3/bin"; printf \'#!/bin/sh\\necho "$*" >> "$LOG"; {text}\\n\' > "$3/bin/veracity"'
        )
        same = 'printf "#!/bin/sh\\n" > "$3/bin/python"; chmod +x "$3/bin/python" "$3/bin/veracity"'
        python.write_text(f"#!/bin/sh\n{command}\n{same}\n")
        python.chmod(0o700)
        log = tmp_path / f"log-{name}"
        environment = {
            "INPUT_PATHS": "a b\n$(touch injected)\n",
            "INPUT_FAIL_ON": "error",
            "INPUT_BASELINE": "base",
            "INPUT_SARIF": "out.sarif",
            "INPUT_PYTHON": str(python),
            "ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
            "LOG": str(log),
            "PATH": "/usr/bin:/bin",
        }
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment, check=False)
        assert done.returncode == (0 if name == "clean" else 1)
        flags = "--fail-on error --format sarif --output out.sarif --baseline base"
        assert log.read_text().splitlines()[0] == f"scan {flags} -- a b $(touch injected)"
        parsed = build_parser().parse_args(["scan", *flags.split(), "--", "a b"])
        assert parsed.paths == ["a b"]
    assert not (tmp_path / "injected").exists()
    assert "sarif=out.sarif" in (tmp_path / "output").read_text()
