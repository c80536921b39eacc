"""What a scan imports: what its files make it need, and little else. Counted, not timed."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

PROGRAM = """\
import json, sys
{}
print(json.dumps(sorted(sys.modules)))
"""
EXAMINE = """\
from veracity.scan.gate.file import Settings, scan_file
result = scan_file(sys.argv[1], Settings())
assert result.findings == result.missed == (), result
"""
COMMAND = """\
from veracity.cli.main import main
assert main(["scan", "--quiet", "--jobs", "1", sys.argv[1]]) == 0
"""


def imported(program: str, path: Path) -> set[str]:
    command = [sys.executable, "-c", PROGRAM.format(program), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=path.parent)
    return set(json.loads(done.stdout.splitlines()[-1]))


def of_ours(modules: set[str], *below: str) -> list[str]:
    return sorted(one for one in modules if one.startswith(tuple(f"veracity.{name}" for name in below)))


def test_a_small_pickle_needs_the_reader_of_pickles_and_its_rules(tmp_path: Path) -> None:
    path = tmp_path / "one.pkl"
    path.write_bytes(pickle.dumps({"epoch": 3}))

    modules = imported(EXAMINE, path)

    assert "veracity.observe.pickle.reader" in modules
    assert of_ours(modules, "observe.code", "observe.document", "observe.jinja", "observe.archive.zip") == []
    assert of_ours(modules, "detect.rules.code", "detect.rules.environment", "detect.coderules") == []
    assert of_ours(modules, "core.observation.training", "core.contract", "monitor", "guard") == []
    assert {"lzma", "bz2", "hashlib", "decimal", "tempfile"} & modules == set()
    assert len(of_ours(modules, "")) < 75


def test_data_without_names_need_no_policy_and_others_do(tmp_path: Path) -> None:
    plain, named = tmp_path / "plain.pkl", tmp_path / "named.pkl"
    plain.write_bytes(pickle.dumps({"epoch": 3}))
    named.write_bytes(pickle.dumps(complex(1, 2)))

    assert "hashlib" not in imported(EXAMINE, plain)
    assert "hashlib" in imported(EXAMINE, named)


def test_an_archive_needs_no_rules_for_sources(tmp_path: Path) -> None:
    path = tmp_path / "one.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.bin", b"\1\2\3" * 9)

    modules = imported(EXAMINE, path)

    assert "veracity.detect.archiverules" in modules
    assert of_ours(modules, "observe.code", "detect.rules.code") == []


def test_the_command_imports_its_own_verb_and_none_of_what_it_does_not_use(tmp_path: Path) -> None:
    path = tmp_path / "one.pkl"
    path.write_bytes(pickle.dumps({"epoch": 3}))

    modules = imported(COMMAND, path)

    verbs = {one.rpartition(".")[2] for one in of_ours(modules, "cli.")}
    assert verbs == {"main", "output", "parsing", "scan", "scanenv"}
    heavy = {
        "msgspec",
        "rich",
        "cryptography",
        "multiprocessing",
        "subprocess",
        "socket",
        "secrets",
        "tomllib",
    }
    assert heavy & modules == set()
    assert of_ours(modules, "scan.gate.aside", "core.ignore", "core.permit", "render") == []
    # The file itself is read by a copy of the process, which needs more.
    assert of_ours(modules, "detect.rules") == []
