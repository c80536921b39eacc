"""Runs that are started on a seal, or not started."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.conftest import Jobs
from tests.observe.test_native import extension
from tests.seal.approving import Approving
from veracity.ledger.entry import Entry
from veracity.ledger.reader import Reader
from veracity.observe.native import mapped_code

QUICK = "open('ran', 'w').close()\n"


@pytest.fixture
def made(jobs: Jobs, tmp_path: Path) -> Approving:
    """Approved by two, in the home of the jobs."""
    made = Approving.made(tmp_path / "work")
    for path in made.home.iterdir():
        shutil.move(path, jobs.home / path.name)
    made.home = jobs.home
    made.folder = made.seal()
    (made.code / "train.py").write_text(QUICK)
    made.folder = made.seal()
    made.approve("lead", "second")
    return made


def run(jobs: Jobs, made: Approving, *flags: str) -> subprocess.CompletedProcess[str]:
    (jobs.folder / "ran").unlink(missing_ok=True)
    command = ["--", sys.executable, str(made.code / "train.py")]
    words = ["run", "--no-stacks", "--seal", made.folder.seal, *flags, *command]
    return subprocess.run(
        jobs.command(*words),
        env=jobs.environment(),
        cwd=jobs.folder,
        capture_output=True,
        text=True,
        check=False,
    )


def ran(jobs: Jobs) -> bool:
    return (jobs.folder / "ran").exists()


def drift(made: Approving) -> None:
    (made.code / "train.py").write_text(QUICK + "# edited\n")


def test_enforce_starts_what_is_approved_and_as_sealed(jobs: Jobs, made: Approving) -> None:
    training = jobs.write("steps(3)\n", train=True)
    (made.code / "train.py").write_text(training.read_text())
    made.folder = made.seal()
    made.approve("lead", "second")
    done = run(jobs, made, "--policy", "enforce")
    assert done.returncode == 0, done.stderr
    shown = jobs.show()
    assert shown["verdict"] == "held"
    assert shown["coverage"]["approval"]["checked"] == 1


@pytest.mark.parametrize("what", ["drifted", "unapproved"])
def test_enforce_does_not_start_the_rest(jobs: Jobs, made: Approving, what: str) -> None:
    if what == "drifted":
        drift(made)
    else:
        made.folder = made.seal()
    done = run(jobs, made, "--policy", "enforce")
    assert done.returncode == 1
    said = "content changed: code: train.py, owner " if what == "drifted" else "0 of 2 approvals by reviewer"
    assert said in done.stderr
    assert not ran(jobs)
    assert_recorded(jobs, done, said)


def assert_recorded(jobs: Jobs, done: subprocess.CompletedProcess[str], said: str) -> None:
    """The refusal stands in the list of runs, and in a record of its own that verifies."""
    words = jobs.command("runs", "--format", "json")
    listed = subprocess.run(words, env=jobs.environment(), capture_output=True, text=True, check=True)
    (one,) = json.loads(listed.stdout)
    assert (one["verdict"], one["override"]) == ("refused", False)
    assert said in one["reason"]
    assert f"the refusal is recorded as {one['run']}" in done.stderr
    shown = jobs.show()
    assert shown["verdict"] == "refused"
    assert said in " ".join(shown["refused"])
    assert shown["findings"] == []
    words = jobs.command("verify", "latest")
    checked = subprocess.run(words, env=jobs.environment(), capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with Reader(jobs.folders()[-1] / "ledger") as reader:
        kinds = [Entry.decode(data).kind for data in reader.entries()]
    assert kinds == ["run", "observed", "refused", "judged"]


def test_a_refusal_that_cannot_be_recorded_is_one_all_the_same(jobs: Jobs, made: Approving) -> None:
    drift(made)
    (jobs.home / "runs").write_text("in the way")
    done = run(jobs, made, "--policy", "enforce")
    assert (done.returncode, ran(jobs)) == (1, False)
    assert "the refusal is not recorded" in done.stderr


def test_observe_starts_and_says_so(jobs: Jobs, made: Approving) -> None:
    drift(made)
    done = run(jobs, made)
    assert done.returncode == 0
    assert ran(jobs)
    assert "started although: content changed" in done.stderr
    shown = jobs.show()
    assert shown["verdict"] == "broken"
    assert [one["rule"] for one in shown["findings"]] == ["contract-seal-drifted"]
    with Reader(jobs.folders()[-1] / "ledger") as reader:
        entries = [Entry.decode(data) for data in reader.entries(0, 2)]
    assert entries[0].body["seal"] == {
        "id": made.folder.seal,
        "digest": made.sealed().digest,
        "approvals": {"size": 2, "root": json.loads(json.dumps(entries[1].body))["body"]["log_root"]},
    }
    assert entries[1].body["kind"] == "SealChecked"


def test_an_override_starts_and_is_recorded(jobs: Jobs, made: Approving) -> None:
    # Long enough for a monitor that enforces to end it by what was found before the start.
    (made.code / "train.py").write_text("import time\ntime.sleep(1.5)\n" + QUICK)
    made.folder = made.seal()
    done = run(jobs, made, "--policy", "enforce", "--unsafe-override", " ")
    assert (done.returncode, ran(jobs)) == (2, False)
    done = run(jobs, made, "--policy", "enforce", "--unsafe-override", "the deadline")
    assert ran(jobs)
    assert done.returncode == 1, "the verdict is broken, and enforce says so"
    assert "OVERRIDE, started although: the seal is not approved" in done.stderr
    (finding,) = jobs.show()["findings"]
    assert "--unsafe-override of user id" in finding["message"]
    assert "the deadline" in finding["message"]
    document = json.loads((jobs.folders()[-1] / "run.json").read_text())
    assert (document["verdict"], document["override"]) == ("broken", True)


def test_a_policy_without_override_has_none(jobs: Jobs, made: Approving) -> None:
    made.write_policy(top="override = false")
    done = run(jobs, made, "--policy", "enforce", "--unsafe-override", "the deadline")
    assert (done.returncode, ran(jobs)) == (1, False)
    assert "allows no override" in done.stderr
    assert "the policy allows no override" in jobs.show()["refused"][0]


def test_what_cannot_be_asked_for(jobs: Jobs, made: Approving) -> None:
    (jobs.home / "veracity.toml").unlink()
    done = run(jobs, made, "--policy", "enforce")
    assert (done.returncode, ran(jobs)) == (2, False)
    assert "no policy to enforce" in done.stderr
    words = jobs.command("run", "--unsafe-override", "x", "--", "true")
    done = subprocess.run(words, env=jobs.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "name it with --seal" in done.stderr


SWAPPING = """
import pathlib
helper = pathlib.Path(__file__).with_name("helper.py")
sealed = helper.read_bytes()
swap = {swap}
if swap:
    helper.write_text("value = 2\\n")  # PLANTED: what somebody else does while the job starts
import helper as module
if swap:
    helper.write_bytes(sealed)
print("value", module.value)
steps(3)
"""


@pytest.mark.parametrize("swap", [False, True])
def test_a_file_swapped_between_look_and_import_is_found(jobs: Jobs, made: Approving, swap: bool) -> None:
    training = jobs.write(SWAPPING.format(swap=swap), train=True)
    (made.code / "train.py").write_text(training.read_text())
    (made.code / "helper.py").write_text("value = 1\n")
    made.folder = made.seal()
    made.approve("lead", "second")
    done = run(jobs, made, "--policy", "observe")
    assert ("value 2" if swap else "value 1") in done.stdout
    shown = jobs.show()
    found = [one["rule"] for one in shown["findings"] if one["severity"] == "error"]
    assert shown["coverage"]["sealed-code"]["checked"] >= 1
    if swap:
        assert "code-unlike-seal" in found
        assert shown["verdict"] == "broken"
    else:
        assert found == []
        assert shown["verdict"] == "held"


OWN = """
import ctypes, os, pathlib, shutil, time
here = pathlib.Path(__file__).parent
if {planted!r} == "library":
    # PLANTED: what somebody else does while the job starts
    shutil.copy(here / "libhelper.so", here.parent / "kept")
    data = bytearray((here / "libhelper.so").read_bytes())
    data[int((here / "place").read_text())] ^= 1
    (here.parent / "new").write_bytes(data)
    os.replace(here.parent / "new", here / "libhelper.so")
ctypes.CDLL(str(here / "libhelper.so"))
if {planted!r} == "library":
    os.replace(here.parent / "kept", here / "libhelper.so")
(here.parent / "started").touch()
steps(1)
run = pathlib.Path(os.environ["VERACITY_GUARD"]).parent
until = time.monotonic() + {lasts}

def is_recorded():
    files = [path for path in (run / "ledger").rglob("*") if path.is_file()]
    return any(b'"kind":"step"' in path.read_bytes() for path in files)

while time.monotonic() < until and not is_recorded():
    time.sleep(0.2)
time.sleep(min({lasts}, 2))  # the monitor looks at what is mapped when it hears of the first step
steps(2)
"""


def code_of(path: Path) -> int:
    """A place in a library's code that nothing executes while it is only loaded."""
    ctypes.CDLL(str(path))
    (mapped,) = [one for one in mapped_code(os.getpid()) or () if one.path == str(path.resolve())]
    begin, end, offset = mapped.code[0]
    return offset + (end - begin) // 4


@pytest.mark.parametrize("planted", ["", "edited", "program", "library"])
def test_the_program_and_its_libraries_as_they_run(jobs: Jobs, made: Approving, planted: str) -> None:
    """Exchanged after the look before the start, and put back: both are found for what ran."""
    program, library = made.code / "train.py", made.code / "libhelper.so"
    shutil.copy(extension(), library)
    (made.code / "place").write_text(str(code_of(library)))
    text = jobs.write(
        OWN.format(planted=planted, lasts=60 if planted in ("", "library") else 0), train=True
    ).read_text()
    program.write_text(text)
    made.folder = made.seal()
    made.approve("lead", "second")
    (jobs.folder / "sealed").write_text(text)
    restoring = f"import shutil\nshutil.copy({str(jobs.folder / 'sealed')!r}, __file__)  # PLANTED\n"
    (jobs.folder / "new").write_text(restoring + text if planted == "program" else text)
    start = {
        # Its owner works on it while it runs.
        "edited": f'{sys.executable} "$0" & while [ ! -e {made.code.parent}/started ]; do sleep 0.05; done; '
        'echo "# for the next run" >> "$0"; wait $!',
    }.get(planted, f'cp {jobs.folder}/new "$0" && exec {sys.executable} "$0"')
    command = ["sh", "-c", start, str(program)]
    words = jobs.command("run", "--no-stacks", "--seal", made.folder.seal, "--", *command)
    subprocess.run(words, env=jobs.environment(), cwd=jobs.folder, capture_output=True, check=False)
    shown = jobs.show()
    errors = {one["rule"]: one["message"] for one in shown["findings"] if one["severity"] == "error"}
    if planted == "program":
        assert str(program) in errors["code-unlike-seal"]
    elif planted == "library":
        assert errors.keys() == {"code-library-unlike-seal"}
        assert str(library) in errors["code-library-unlike-seal"]
    else:
        assert (errors, shown["verdict"]) == ({}, "held")
        assert shown["coverage"]["sealed-code"]["checked"] == 1
        assert shown["coverage"]["sealed-libraries"]["checked"] >= (0 if planted else 1)
