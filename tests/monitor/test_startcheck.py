"""What is looked up before a command is started on a seal."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.observe.git.repos import commit, git
from tests.observe.looking import settle, settle_soon
from tests.seal.approving import Approving
from veracity.core.approval import TOLERANCE
from veracity.core.errors import VerificationError
from veracity.core.level import STAT
from veracity.core.observation import SealChecked
from veracity.ledger.entry import Entry
from veracity.ledger.keys import KEY_FILE, SigningKey
from veracity.ledger.store import Ledger
from veracity.monitor.opening import seal_of
from veracity.monitor.sealedruns import SealedRun, check_heads, runs_on
from veracity.monitor.startcheck import MAX_DRIFT, check_start, refusals
from veracity.seal.approvals import add_to_log, log_folder, read_log
from veracity.seal.folder import create_folder
from veracity.seal.paths import Wanted, make_seal
from veracity.seal.policyfile import find_policy


@pytest.fixture
def made(tmp_path: Path) -> Approving:
    made = Approving.made(tmp_path)
    made.approve("lead", "second")
    return made


def look(made: Approving, *command: str | Path, now: int | None = None) -> SealChecked:
    policy = find_policy(made.home, made.home)
    words = [str(word) for word in command] or ["python", str(made.code / "train.py")]
    return check_start(made.home, made.folder, policy, words, now=now)


def test_what_is_approved_and_as_sealed_may_start(made: Approving) -> None:
    checked = look(made)
    assert refusals(checked) == []
    assert checked.approved
    assert checked.as_sealed
    log = read_log(made.home, made.own.verifier)
    assert (checked.log_size, checked.log_root) == (2, log.root)
    assert checked.policy == str(made.policy.digest())
    assert checked.digest == made.sealed().digest


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda code: (code / "train.py").write_text("x"), "content changed: code: train.py, owner "),
        (lambda code: (code / "new.py").write_text("x"), "added: code: new.py, owner "),
        (lambda code: (code / "train.py").unlink(), "removed: code: train.py"),
        (lambda code: (code / "train.py").chmod(0o777), "made executable: code: train.py"),
        (lambda code: shutil.rmtree(code), "removed: code: ."),
        (lambda code: moved(code), "link leads elsewhere: code: ."),
    ],
)
def test_what_is_not_as_sealed_is_refused(made: Approving, act: Callable[[Path], object], said: str) -> None:
    act(made.code)
    checked = look(made, "python", "-c", "")
    assert checked.approved
    (sentence,) = [one for one in refusals(checked) if one.startswith(said)]
    assert ("last changed 20" in sentence) == (not said.startswith("removed"))


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_what_git_would_do_otherwise_is_refused(made: Approving) -> None:
    git(made.code, "init", "-q", "-b", "main")
    commit(made.code)
    made.folder = made.seal()
    made.approve("lead", "second")
    git(made.code, "checkout", "-q", "-b", "other")
    commit(made.code)  # without a change
    assert refusals(look(made)) == []
    hook = made.code / ".git" / "hooks" / "post-merge"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("x")
    hook.chmod(0o755)
    git(made.code, "update-index", "--assume-unchanged", "train.py")
    (made.code / "train.py").write_text("x")
    os.link(made.code / "train.py", made.home / "alias")
    said = refusals(look(made))
    alias = "has 1 other name outside this seal, by which it may have been edited"
    assert [one.partition(", owner")[0] for one in said] == [
        "edit that git status does not show: code: train.py, content changed, assume-unchanged",
        "git hook added: code: post-merge, 1 byte",
        f"content changed: code: train.py, {alias}",
    ]
    assert all(", last changed 20" in one for one in said)


def moved(code: Path) -> None:
    """The same files, where somebody else may write."""
    code.rename(code.parent / "c")
    os.symlink("c", code)


def test_a_change_of_times_alone_is_none(made: Approving) -> None:
    os.utime(made.code / "train.py", ns=(1, 1))
    assert refusals(look(made)) == []


def test_the_level_is_said_and_what_it_cannot_see(made: Approving, monkeypatch: pytest.MonkeyPatch) -> None:
    settle_soon(monkeypatch, made.home)
    settle()
    policy = find_policy(made.home, made.home)
    for read in (1, 0):
        checked = check_start(made.home, made.folder, policy, ["true"], level=STAT)
        assert refusals(checked) == []
        assert checked.level == "stat"
        assert checked.looked[0].startswith(f"level stat: {read} of 1 file read")
    (made.code / "train.py").write_text("x")
    checked = check_start(made.home, made.folder, policy, ["true"], level=STAT)
    assert [one.change for one in checked.drift] == ["content changed"]
    assert look(made).looked == ["level full: every byte was read"]


def test_a_memory_that_others_can_write_is_refused(made: Approving) -> None:
    (made.home / "cache").mkdir()
    (made.home / "cache").chmod(0o777)
    checked = check_start(made.home, made.folder, find_policy(made.home, made.home), ["true"], level=STAT)
    assert any("others can write" in one for one in refusals(checked))
    assert not checked.as_sealed


def test_many_changes_are_counted(made: Approving) -> None:
    for number in range(MAX_DRIFT + 7):
        (made.code / f"{number}.py").write_text("")
    checked = look(made)
    assert (len(checked.drift), checked.more) == (MAX_DRIFT, 7)
    assert refusals(checked)[-1] == "and 7 more names are not as sealed"


def test_a_program_outside_the_seal_is_refused(made: Approving, tmp_path: Path) -> None:
    other = tmp_path / "other.py"
    other.write_text("")
    assert refusals(look(made, "python", other)) == [f"no part of the seal that is code: {other}"]
    beside = tmp_path / "code2"
    beside.mkdir()
    (beside / "train.sh").write_text("")
    assert refusals(look(made, "bash", beside / "train.sh")) == [
        f"no part of the seal that is code: {beside}/train.sh"
    ]
    assert refusals(look(made, "python", made.code / ".." / "code" / "train.py", "--lr", "x.py")) == []


def test_a_program_in_a_folder_that_was_left_out_is_refused(made: Approving) -> None:
    other = made.code / "build" / "other.py"
    other.parent.mkdir()
    other.write_text("")
    made.folder = made.seal(without=[other.parent])
    made.approve("lead", "second")
    assert refusals(look(made)) == []
    assert refusals(look(made, "python", other)) == [f"no part of the seal that is code: {other}"]


def test_code_that_is_sealed_as_data_is_refused(made: Approving) -> None:
    path = made.home / "veracity.toml"
    path.write_text(path.read_text() + '[policy.approve.data]\nroles = ["security"]\n')
    folder = create_folder(made.home, time.time_ns())
    make_seal(folder, Wanted({"data": made.code}), made.own)
    made.folder = folder
    now = time.time_ns()
    envelope = made.envelope("security", parts=["data"])
    add_to_log(made.home, made.own, "approval", envelope, now)
    checked = look(made)
    assert checked.approved
    assert refusals(checked) == [f"no part of the seal that is code: {made.code}/train.py"]
    assert refusals(look(made, "python", "-c", "")) == []


def test_a_link_out_of_the_seal_is_followed(made: Approving, tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("")
    (made.code / "train.py").unlink()
    os.symlink(tmp_path / "other.py", made.code / "train.py")
    assert f"no part of the seal that is code: {tmp_path}/other.py" in refusals(look(made))


def test_what_cannot_be_read_is_refused_and_not_taken_for_unchanged(made: Approving) -> None:
    shutil.rmtree(made.folder.manifest, ignore_errors=True)
    made.folder.manifest.unlink(missing_ok=True)
    (made.code / "train.py").write_text("x")
    checked = look(made)
    assert checked.unread
    assert not checked.as_sealed
    assert refusals(checked)[0].startswith("could not be read: code: ")


def test_a_seal_that_does_not_hold_is_refused(made: Approving) -> None:
    text = made.folder.envelope.read_bytes()
    made.folder.envelope.write_bytes(text.replace(b'"payload":"ey', b'"payload":"eX'))
    assert look(made).standing in ("refused", "unknown")
    made.folder.envelope.write_bytes(text)
    assert look(made).approved
    old = made.home / KEY_FILE
    old.rename(made.home / "old.pem")
    assert look(made).standing == "unknown", "without the home's key nothing is known"
    SigningKey.load_or_create(old, "veracity.local")
    assert look(made).standing == "refused"


def test_a_seal_in_anothers_place_is_refused(made: Approving) -> None:
    """The approved seal, put where another one lay."""
    (made.code / "train.py").write_text("x")
    other = made.seal()
    shutil.rmtree(other.path)
    shutil.copytree(made.folder.path, other.path)
    checked = check_start(made.home, other, find_policy(made.home, made.home), [])
    assert checked.standing == "refused"
    assert f"lies {made.folder.seal}" in checked.reasons[0]


def test_a_clock_that_was_set_back_is_refused(made: Approving) -> None:
    now = time.time_ns()
    assert look(made, now=now - TOLERANCE // 2).approved
    checked = look(made, now=now - 2 * TOLERANCE)
    assert checked.standing == "refused"
    assert "set back" in checked.reasons[0]


def test_without_a_policy_only_the_files_are_compared(made: Approving) -> None:
    (made.home / "veracity.toml").unlink()
    checked = look(made)
    assert (checked.standing, refusals(checked)) == ("no policy", [])
    (made.code / "train.py").write_text("x")
    assert len(refusals(look(made))) == 1


def run_of(made: Approving, name: str, checked: SealChecked) -> None:
    """The first entry of a run that was started on the seal."""
    with Ledger.create(made.home / "runs" / name / "ledger", f"veracity.local/{name}", made.own) as ledger:
        ledger.append(Entry("run", {"seal": seal_of(checked)}).encode())


def test_a_log_that_is_shorter_than_a_run_saw_is_refused(made: Approving) -> None:
    folder = log_folder(made.home)
    shutil.copytree(folder, made.home / "before")
    made.approve("lead")
    run_of(made, "run-20250302-140211-a1b2c3", look(made))
    assert look(made).approved
    made.approve("lead")
    assert look(made).approved, "a longer one continues it"
    shutil.rmtree(folder)
    shutil.copytree(made.home / "before", folder)
    checked = look(made)
    assert checked.standing == "refused"
    assert "run-20250302-140211-a1b2c3 saw a log of approvals of 3 entries" in checked.reasons[0]
    shutil.rmtree(folder)
    assert look(made).standing == "refused", "a log that is gone"


def test_runs_on_a_seal_are_found(made: Approving) -> None:
    checked = look(made)
    run_of(made, "run-20250302-140211-a1b2c3", checked)
    run_of(made, "run-20250302-140212-a1b2c3", checked)
    (made.home / "runs" / "run-20250302-140213-a1b2c3").mkdir()
    Ledger.create(made.home / "runs" / "run-20250302-140214-a1b2c3" / "ledger", "x", made.own).close()
    found = runs_on(made.home, {checked.digest})
    assert [(one.run[-8:], one.seal, bool(one.reason)) for one in found] == [
        ("3-a1b2c3", "", True),
        ("2-a1b2c3", made.folder.seal, False),
        ("1-a1b2c3", made.folder.seal, False),
    ]
    assert [one for one in runs_on(made.home, set()) if not one.reason] == []
    assert runs_on(made.home / "none", {checked.digest}) == []
    assert SealedRun("a", "b").reason == ""
    with pytest.raises(VerificationError):
        check_heads(made.home, type(read_log(made.home, made.own.verifier))())
