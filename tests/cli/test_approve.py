"""``veracity approve`` and ``veracity revoke``, as people use them."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from tests.observe.git.repos import commit, git
from tests.seal.approving import Approving
from veracity.cli.main import main
from veracity.cli.revoke import time_of
from veracity.core.canonical import Json
from veracity.core.errors import UsageError
from veracity.ledger.keys import SigningKey
from veracity.seal.folder import create_folder
from veracity.seal.paths import Wanted, make_seal

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Approving:
    monkeypatch.setenv("VERACITY_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Approving.made(tmp_path)


def listed(capsys: Captured, *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["approve", "--list", *words, "--format", "json"])
    return code, json.loads(capsys.readouterr().out)


def test_two_people_approve(made: Approving, capsys: Captured) -> None:
    assert listed(capsys)[0] == 1
    assert main(["approve", "latest", "--key", "lead.pem", "--reason", "read the diff"]) == 0
    assert "1 of 2 approvals by reviewer" in capsys.readouterr().out
    assert (
        main(["approve", made.folder.seal, "--key", "second.pem", "--as", "second", "--expires", "2d"]) == 0
    )
    shown = capsys.readouterr().out
    assert shown.startswith(f"approved  {made.folder.seal}")
    assert "read the diff" in shown
    code, document = listed(capsys)
    assert (code, document["standing"]) == (0, "approved")
    assert [one["worth"] for one in document["approvals"]] == ["counts", "counts"]
    assert document["parts"][0]["approved_by"] == ["lead", "second"]


def test_what_was_found_in_the_environment_is_told_who_approves(made: Approving, capsys: Captured) -> None:
    found: dict[str, Json] = {
        "findings": [
            {"severity": "error", "rule": "environment-file-altered", "message": "adamw.py\x1b is another"},
            {"severity": "note", "rule": "environment-bytecode-differs", "message": "no source"},
        ],
        "distributions": [{"name": "torch", "version": "2.13.0", "standing": "absent"}, "nonsense"],
        "gaps": [{"what": "a folder", "reason": "a link"}],
    }
    folder = create_folder(made.home, time.time_ns() + 10**10)
    make_seal(folder, Wanted({"code": made.code}, examine=lambda _: found), made.own)
    assert main(["approve", folder.seal, "--key", "lead.pem", "--quiet"]) == 0
    said = capsys.readouterr().err
    assert "environment that is not what vouches for it" in said
    assert "error: environment-file-altered: adamw.py" in said
    assert "\x1b" not in said
    assert "not compared: torch 2.13.0" in said
    assert "not compared: a folder: a link" in said
    assert "no source" not in said
    assert "1 of these stand against it until it is approved with --despite-findings as well" in said
    clean = create_folder(made.home, time.time_ns() + 2 * 10**10)
    nothing: dict[str, Json] = {"findings": [], "distributions": [], "gaps": []}
    make_seal(clean, Wanted({"code": made.code}, examine=lambda _: nothing), made.own)
    assert main(["approve", clean.seal, "--key", "lead.pem", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


def test_an_altered_environment_is_approved_knowingly_or_not_at_all(
    made: Approving, capsys: Captured
) -> None:
    made.write_policy(top='despite = ["security"]')
    found: dict[str, Json] = {
        "findings": [{"severity": "error", "rule": "environment-file-altered", "message": "adamw.py"}]
    }
    folder = create_folder(made.home, time.time_ns() + 10**10)
    make_seal(folder, Wanted({"code": made.code}, examine=lambda _: found), made.own)
    for name in ("lead", "second"):
        assert main(["approve", folder.seal, "--key", f"{name}.pem"]) == 0
    code, document = listed(capsys, folder.seal)
    assert (code, document["standing"]) == (1, "not approved")
    assert document["parts"][-1]["part"] == "what was found"
    assert main(["run", "--policy", "enforce", "--seal", folder.seal, "--", "true"]) == 1
    assert "nobody with the role security has approved it despite that" in capsys.readouterr().err
    assert main(["approve", folder.seal, "--key", "lead.pem", "--despite-findings"]) == 2
    assert "does not let lead approve despite findings" in capsys.readouterr().err
    assert main(["approve", folder.seal, "--key", "security.pem", "--despite-findings"]) == 0
    assert "despite what was found" in capsys.readouterr().out
    assert listed(capsys, folder.seal)[0] == 0
    assert main(["approve", made.folder.seal, "--key", "security.pem", "--despite-findings"]) == 2
    assert "nothing was found" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_edits_that_git_does_not_show_are_told_who_approves(made: Approving, capsys: Captured) -> None:
    git(made.code, "init", "-q", "-b", "main")
    commit(made.code)
    git(made.code, "update-index", "--assume-unchanged", "train.py")
    (made.code / "train.py").write_text("lr = 2\n")
    folder = create_folder(made.home, time.time_ns() + 10**10)
    make_seal(folder, Wanted({"code": made.code}), made.own)
    assert main(["approve", folder.seal, "--key", "lead.pem", "--quiet"]) == 0
    said = capsys.readouterr().err
    assert "was sealed with edits that git status does not show" in said
    assert "code: train.py: content changed, assume-unchanged" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--key", "security.pem"], "lets security approve no part"),
        (["--key", "lead.pem", "--as", "second"], "that of lead, not of 'second'"),
        (["--key", "lead.pem", "--for", "data"], "no part 'data'"),
        (["--key", "lead.pem", "--expires", "soon"], "no length of time"),
        (["--key", "none.pem"], "cannot be opened"),
        ([], "nobody's in the policy"),
    ],
)
def test_what_is_refused_leaves_no_trace(
    made: Approving, capsys: Captured, words: list[str], said: str
) -> None:
    assert main(["approve", "latest", *words]) == 2
    assert said in capsys.readouterr().err
    assert listed(capsys)[1]["approvals"] == []


def test_a_key_that_others_can_read_is_refused(made: Approving, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "lead.pem").chmod(0o640)
    assert main(["approve", "latest", "--key", "lead.pem"]) == 2
    assert "can be used by others (mode 0640)" in capsys.readouterr().err
    (tmp_path / "lead.pem").chmod(0o600)
    assert main(["approve", "latest", "--key", "lead.pem"]) == 0


def test_the_seal_to_approve_is_named(made: Approving, capsys: Captured) -> None:
    assert main(["approve", "--key", "lead.pem"]) == 2
    assert "name the seal to approve" in capsys.readouterr().err


def test_a_new_key_is_made_once(made: Approving, tmp_path: Path, capsys: Captured) -> None:
    assert main(["approve", "--new-key", "new.pem"]) == 2
    assert main(["approve", "--new-key", "new.pem", "--as", "new"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("new+")
    assert (tmp_path / "new.pem").stat().st_mode & 0o777 == 0o600
    assert main(["approve", "--new-key", "new.pem", "--as", "new"]) == 2


def test_a_detached_approval_is_taken_in(made: Approving, tmp_path: Path, capsys: Captured) -> None:
    assert main(["approve", "latest", "--key", "lead.pem", "--detached", "--output", "a.json"]) == 0
    assert listed(capsys)[1]["approvals"] == []
    assert main(["approve", "latest", "--add", "a.json"]) == 0
    assert [one["principal"] for one in listed(capsys)[1]["approvals"]] == ["lead"]
    other = made.seal()
    assert main(["approve", other.seal, "--add", "a.json"]) == 1
    assert "of another seal" in capsys.readouterr().err
    good = Path("a.json").read_text()
    Path("a.json").write_text(good.replace('"sig":"', '"sig":"A')[:-4] + good[-4:])
    assert main(["approve", made.folder.seal, "--add", "a.json"]) != 0
    Path("a.json").write_text(good)
    made.keys["lead"] = SigningKey.generate("lead")
    made.write_policy()
    assert main(["approve", made.folder.seal, "--add", "a.json"]) == 1
    assert "nobody that the policy knows" in capsys.readouterr().err


def test_a_detached_approval_needs_no_access_to_the_home(
    made: Approving, tmp_path: Path, capsys: Captured
) -> None:
    """The other account sees the seal, the policy and the public key, and has a home of its own."""
    words = [
        "--home",
        str(tmp_path / "other"),
        "--config",
        str(made.home / "veracity.toml"),
        "--key",
        "second.pem",
    ]
    public = str(made.folder.verifier)
    assert (
        main(["approve", str(made.folder.path), *words, "--seal-key", public, "--detached", "--output", "b"])
        == 0
    )
    assert main(["approve", "latest", "--add", "b"]) == 0
    assert listed(capsys)[1]["approvals"][0]["principal"] == "second"


def test_without_a_policy_nobody_approves(made: Approving, capsys: Captured) -> None:
    (made.home / "veracity.toml").unlink()
    assert main(["approve", "latest", "--key", "lead.pem"]) == 2
    assert "no policy that says who may approve" in capsys.readouterr().err


def test_a_revocation_lists_what_falls(made: Approving, capsys: Captured) -> None:
    made.approve("lead", "second")
    other = made.seal()
    assert main(["approve", other.seal, "--key", "lead.pem"]) == 0
    capsys.readouterr()
    assert main(["revoke", "lead", "--since", "2025-01-01", "--key", "second.pem"]) == 2
    assert "does not let second revoke others" in capsys.readouterr().err
    assert main(["revoke", "boss", "--since", "2025-01-01", "--key", "security.pem"]) == 2
    assert "it knows lead, second, security" in capsys.readouterr().err
    words = ["--key", "security.pem", "--reason", "lost", "--format", "json"]
    assert main(["revoke", "lead", "--since", "2100-01-01", *words]) == 0
    assert json.loads(capsys.readouterr().out)["seals"] == []
    assert listed(capsys, made.folder.seal)[0] == 0
    assert main(["revoke", "lead", "--since", "2025-01-01", *words]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(one["seal"], one["standing"]) for one in document["seals"]] == [(made.folder.seal, "fallen")]
    assert listed(capsys, made.folder.seal)[1]["standing"] == "fallen"
    assert main(["revoke", "lead", "--since", "2025-01-01", "--key", "security.pem"]) == 0
    assert "0 seals and 0 runs are concerned" in capsys.readouterr().out


def test_who_is_no_longer_in_the_policy_is_revoked_by_the_key(made: Approving, capsys: Captured) -> None:
    made.approve("lead", "second")
    line = made.keys["lead"].verifier.vkey
    made.keys["lead"] = SigningKey.generate("lead")
    made.write_policy()
    assert main(["revoke", line, "--since", "2025-01-01", "--key", "security.pem"]) == 0
    assert f"{made.folder.seal}: code" in capsys.readouterr().out


def test_times() -> None:
    assert time_of("2025-03-02") == time_of("2025-03-02T00:00:00Z") == time_of("2025-03-02T02:00:00+02:00")
    for text in ("", "yesterday", "1969-01-01", "2025-13-01", "2999-01-01", "2025-03-02Zz"):
        with pytest.raises(UsageError):
            time_of(text)
