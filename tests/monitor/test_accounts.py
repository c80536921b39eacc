"""One process, two accounts: what it opens, starts and gives away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import veracity
from veracity.monitor import accounts

NOBODY = 65534

_TAKEN_ON = """
    import json, os, subprocess, sys, threading
    from veracity.monitor import accounts
    folder, uid = sys.argv[1], int(sys.argv[2])
    accounts.take_on(uid, uid, [uid])

    def reads(path):
        try:
            with open(path) as file:
                return file.read()
        except PermissionError:
            return None

    said = {"plain": reads(folder + "/secret"), "shadow": reads("/etc/shadow")}
    with accounts.recording():
        said["recording"] = reads(folder + "/secret")
        open(folder + "/made", "w").close()
        other = threading.Thread(target=lambda: said.update(begun=reads(folder + "/secret")))
        other.start()
        other.join()
        with accounts.recording():
            pass
        said["nested"] = reads(folder + "/secret")
    said["after"] = reads(folder + "/secret")
    try:
        with accounts.recording():
            raise ValueError
    except ValueError:
        said["failed"] = reads(folder + "/secret")
    code = "import os; print(os.getresuid(), os.getgroups())"
    with accounts.recording():
        started = subprocess.run([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE, text=True)
    said["started"] = started.stdout
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    said["capabilities"] = int(status["CapPrm"], 16)
    said["traced"] = os.stat("/proc/self/mem").st_uid
    said["recorder"] = accounts.recorder().uid
    print(json.dumps(said))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="accounts are taken on by root alone")
def test_files_are_the_jobs_unless_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("words")
    tmp_path.chmod(0o700)
    root = str(Path(veracity.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_TAKEN_ON), str(tmp_path), str(NOBODY)],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    said = json.loads(done.stdout)
    assert (said["plain"], said["shadow"], said["after"], said["failed"]) == (None, None, None, None)
    assert (said["recording"], said["nested"], said["begun"]) == ("words", "words", "words")
    if said["started"]:  # an interpreter that lies in a home of root's cannot be started, which is as good
        assert said["started"].startswith(f"({NOBODY}, {NOBODY}, {NOBODY})")
    assert (said["capabilities"], said["traced"], said["recorder"]) == (0, 0, 0)
    assert (tmp_path / "made").stat().st_uid == 0


def test_with_one_account_nothing_changes(tmp_path: Path) -> None:
    assert accounts.recorder() is None
    with accounts.recording():
        (tmp_path / "made").touch()

    @accounts.recorded
    def double(number: int) -> int:
        return 2 * number

    assert double(4) == 8
    assert double.__name__ == "double"
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.append(double(1)))
    thread.start()
    thread.join()
    assert seen == [2]


def test_names_and_numbers() -> None:
    own = accounts.own_account()
    assert own.uid == os.geteuid()
    assert accounts.name_of(0) == "root"
    assert accounts.name_of(4_000_000_000) == "4000000000"
