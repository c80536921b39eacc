"""Seals of what lies in a git repository: sealed, changed, told in people's words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.observe.git.repos import commit, edit, forge_index, git, make
from veracity.cli.main import main
from veracity.observe.git import Repositories

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Homes of Veracity and of the account, both empty."""
    (tmp_path / "account").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "account"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "repo")


def seal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["seal", *words, "--format", "json"]) == 0
    name: str = json.loads(capsys.readouterr().out)["seal"]
    return name


def verified(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[tuple[str, str, bool]]]:
    """The exit code, and what is said of repositories."""
    code = main([*words, "--format", "json"])
    compared = json.loads(capsys.readouterr().out)["compared"]
    rows = [row for one in compared for row in one.get("git", {}).get("changed", ())]
    return code, [(row["change"], row["subject"], row["differs"]) for row in rows]


def test_what_is_as_it_was(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["seal", f"code={folder}"]) == 0
    shown = capsys.readouterr().out
    assert f"git of code: {git(folder, 'rev-parse', 'HEAD')[:12]} on main in {folder}" in shown
    assert "3 files compared with the commit: none differs" in shown
    git(folder, "status")
    git(folder, "gc", "-q")  # git may tidy up as it likes
    git(folder, "fetch", "-q", str(folder))
    assert main(["verify", "seal-"]) == 0
    shown = capsys.readouterr().out
    assert "code is as it was sealed" in shown
    assert "git of code is as it was sealed" in shown


def hook(folder: Path) -> None:
    path = folder / ".git" / "hooks" / "post-checkout"
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("act", "row"),
    [
        (hook, ("git hook added", "post-checkout", True)),
        (
            lambda folder: git(folder, "config", "core.sshCommand", "x"),
            ("git setting added", "core.sshcommand", True),
        ),
        (
            lambda folder: git(folder, "replace", "HEAD", git(folder, "hash-object", "-w", "train.py"), "-f"),
            ("git takes other objects for those of the history", "", True),
        ),
        (
            lambda folder: (folder / ".git" / "info" / "attributes").write_text("* filter=x\n"),
            ("git attributes changed", "info/attributes", True),
        ),
        (lambda folder: commit(folder), ("another commit", "code", False)),
        (lambda folder: git(folder, "checkout", "-q", "-b", "b"), ("note", "branch", False)),
        (lambda folder: git(folder, "config", "user.name", "me"), None),
    ],
)
def test_what_git_does_otherwise_is_named(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    act: Callable[[Path], object],
    row: tuple[str, str, bool] | None,
) -> None:
    name = seal(capsys, f"code={folder}")
    act(folder)
    code, rows = verified(capsys, "verify", name)
    if row is None:
        assert (code, rows) == (0, [])
        return
    assert [(one, differs) for one, _, differs in rows] == [(row[0], row[2])]
    assert rows[0][1].startswith(row[1])
    assert code == int(row[2])
    assert main(["verify", name]) == code
    assert row[0] in capsys.readouterr().out


def test_an_edited_hook_with_its_times_put_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hook(folder)
    name = seal(capsys, f"code={folder}")
    edit(folder / ".git" / "hooks" / "post-checkout", "#!/bin/ed\n")
    assert verified(capsys, "verify", name) == (1, [("git hook changed", "post-checkout", True)])
    main(["verify", name])
    assert "owner " in capsys.readouterr().out.splitlines()[1]


def test_edits_that_git_does_not_show(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = seal(capsys, f"code={folder}")
    git(folder, "update-index", "--assume-unchanged", "train.py")
    edit(folder / "train.py", "lr = 2\n")
    edit(folder / "pkg" / "adamw.py", "beta = 0.8\n")
    (folder / ".git" / "info" / "exclude").write_text("/sitecustomize.py\n")
    for new in ("sitecustomize.py", *map(str, range(7))):
        (folder / new).write_text("x")
    forge_index(folder, "pkg/adamw.py")
    assert git(folder, "status", "--porcelain").splitlines() == [f"?? {number}" for number in range(7)]
    code, rows = verified(capsys, "verify", name)
    hidden = "edit that git status does not show"
    assert (code, rows[:2]) == (1, [(hidden, "pkg/adamw.py", True), (hidden, "train.py", True)])
    assert main(["seal", f"code={folder}"]) == 0
    shown = capsys.readouterr().out
    assert "differs, and git status does not show it  train.py: content changed, assume-unchanged" in shown
    assert "untracked  0, 1, 2, 3, 4 and 2 more" in shown
    assert "hidden from git status by info/exclude  sitecustomize.py" in shown
    assert verified(capsys, "seal", "diff", name, shown.split()[1])[1][:2] == rows[:2]


def test_the_text_of_what_differs_is_kept_without_secrets(
    folder: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "ghp_" + "a1B2c3D4" * 5
    (folder / "train.py").write_text(f"lr = 2\ntoken = '{secret}'\n")
    git(folder, "config", "credential.helper", f"!echo password={secret}")
    name = seal(capsys, f"code={folder}")
    (kept,) = (home / "seals" / name).glob("*.diff")
    assert "+lr = 2" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert main(["seal", f"code={folder}", "--format", "json"]) == 0
    document = capsys.readouterr().out
    assert json.loads(document)["repositories"][0]["diff"] == kept.stem
    for path in (home / "seals").rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()
    assert secret not in document
    assert verified(capsys, "verify", name) == (0, [])
    git(folder, "config", "credential.helper", f"!echo password={secret}x")
    assert verified(capsys, "verify", name)[1] == [("git setting changed", "credential.helper", True)]


def test_a_seal_that_has_the_folder_of_git_file_by_file(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As seals had it before: it is compared as it was, and with newer ones in what both have."""
    with monkeypatch.context() as context:
        context.setattr("veracity.seal.paths.find_repositories", lambda _: Repositories())
        name = seal(capsys, f"code={folder}")
    assert verified(capsys, "verify", name) == (0, [])
    new = seal(capsys, f"code={folder}")
    assert main(["seal", "diff", name, new]) == 0
    assert "code: one of the seals left .git out" in capsys.readouterr().out
    hook(folder)
    assert verified(capsys, "verify", name) == (1, [])
    assert main(["verify", name]) == 1
    assert "code: .git/hooks/post-checkout" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_who_signed_the_commit(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    signing = ("-c", "gpg.format=ssh", "-c", f"user.signingkey={tmp_path / 'key'}")
    git(folder, *signing, "commit", "-q", "--allow-empty", "-S", "-m", "signed")
    (tmp_path / "allowed").write_text("me@example.com " + (tmp_path / "key.pub").read_text())
    words = ["seal", f"code={folder}", "--allowed-signers", str(tmp_path / "allowed")]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "commit signed by the key SHA256:" in shown
    assert "of me@example.com (ssh): holds" in shown
    edit(folder / "train.py", "lr = 2\n")
    commit(folder)
    assert main(["verify", shown.split()[1]]) == 1
    assert "1 commit later, the sealed one was signed, this one is not" in capsys.readouterr().out
    (tmp_path / "allowed").write_text("me\n")
    assert main(words) == 2
    assert "names no key" in capsys.readouterr().err


def test_another_commit_is_told_with_how_far_it_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = seal(capsys, f"code={folder / 'pkg'}")
    (folder / "train.py").write_text("lr = 3\n")
    commit(folder)
    assert verified(capsys, "verify", name) == (0, [("another commit", "code", False)])
    (folder / "pkg" / "adamw.py").write_text("beta = 0.7\n")
    commit(folder)
    assert main(["verify", name]) == 1
    assert ", 2 commits later" in capsys.readouterr().out


def test_a_moved_submodule(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    git(folder, "submodule", "-q", "add", str(make(tmp_path / "inner")), "sub")
    commit(folder)
    name = seal(capsys, f"code={folder}")
    commit(folder / "sub")
    assert main(["seal", f"code={folder}"]) == 0
    assert "submodule  sub is at" in capsys.readouterr().out
    path = folder / ".git" / "modules" / "sub" / "hooks" / "pre-push"
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    path.chmod(0o755)
    code, rows = verified(capsys, "verify", name)
    assert code == 1
    assert rows == [("git hook added", "pre-push", True), ("submodule at another commit", "code/sub", True)]


def test_copies_and_repositories_that_are_gone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = seal(capsys, f"code={folder}")
    subprocess.run(["cp", "-a", folder, tmp_path / "copy"], check=True)
    at = ("--at", f"code={tmp_path / 'copy'}")
    assert verified(capsys, "verify", name, *at) == (0, [])
    hook(tmp_path / "copy")
    assert verified(capsys, "verify", name, *at) == (1, [("git hook added", "post-checkout", True)])
    shutil.rmtree(tmp_path / "copy" / ".git")
    assert verified(capsys, "verify", name, *at) == (2, [])
    assert main(["verify", name, *at]) == 2
    assert "there is no git repository at this place" in capsys.readouterr().out
    (folder / ".git").rename(tmp_path / "away")
    assert verified(capsys, "verify", name) == (1, [("no git repository any more", "code", True)])


def test_a_repository_that_cannot_be_read_is_not_taken_for_unchanged(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = seal(capsys, f"code={folder}")
    with monkeypatch.context() as context:
        context.setattr("veracity.observe.git.command.SECONDS", 0.0)
        assert verified(capsys, "verify", name) == (2, [])
        assert main(["seal", f"code={folder}"]) == 2
        assert "not read  code: .git: git took longer" in capsys.readouterr().out
    assert main(["verify", "latest", "--quiet"]) == 2


# --- other names of files ---------------------------------------------------------------------------------


def test_an_edit_through_another_name_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("lr = 1\n")
    (code / "eval.py").write_text("lr = 1\n")
    os.link(code / "train.py", code / "again.py")
    os.link(code / "eval.py", tmp_path / "elsewhere.py")
    assert main(["seal", str(code)]) == 0
    assert "1 file has other names outside this seal, by which edits can come" in capsys.readouterr().out
    name = seal(capsys, str(code))
    assert main(["verify", name]) == 0
    assert "note" not in capsys.readouterr().out
    os.link(code / "train.py", tmp_path / "alias.py")
    assert main(["verify", name]) == 0  # nothing is another than it was
    shown = capsys.readouterr().out
    assert "got another name outside this seal since it was made" in shown
    assert "code: again.py, code: train.py" in shown
    edit(tmp_path / "alias.py", "lr = 2\n")
    edit(tmp_path / "elsewhere.py", "lr = 3\n")
    assert main(["verify", name]) == 1
    again, evaluated, train = capsys.readouterr().out.splitlines()[1:4]
    assert f"also changed under its other name {code}/train.py" in again
    assert f"also changed under its other name {code}/again.py" in train
    assert "has 1 other name outside this seal, by which it may have been edited" in train
    assert "also changed" not in evaluated
    assert "has 1 other name outside this seal" in evaluated
    main(["verify", name, "--format", "json"])
    compared = json.loads(capsys.readouterr().out)["compared"]
    assert compared[0]["changed"][0]["other_names"] == [f"{code}/train.py"]
    assert compared[0]["changed"][0]["names_elsewhere"] == 1
