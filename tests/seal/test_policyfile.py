from __future__ import annotations

from pathlib import Path

import pytest

from tests.seal.approving import Approving
from veracity.core.errors import UsageError
from veracity.seal.policyfile import find_policy


@pytest.fixture
def made(tmp_path: Path) -> Approving:
    return Approving.made(tmp_path)


def found(made: Approving, folder: Path, given: Path | None = None) -> str:
    policy = find_policy(made.home, folder, given)
    return "" if policy is None else policy.path.name + " of " + policy.path.parent.name


def test_the_homes_policy_comes_first(made: Approving, tmp_path: Path) -> None:
    text = (made.home / "veracity.toml").read_text()
    project = tmp_path / "project"
    project.mkdir()
    assert found(made, project) == "veracity.toml of home"
    (project / "veracity.toml").write_text(text.replace("needed = 2", "needed = 1"))
    assert found(made, project) == "veracity.toml of home"
    assert found(made, project, project / "veracity.toml") == "veracity.toml of project"
    (made.home / "veracity.toml").unlink()
    assert found(made, project) == "veracity.toml of project"
    (project / "veracity.toml").unlink()
    assert found(made, project) == ""
    tables = text.replace("[policy", "[tool.veracity.policy")
    (project / "pyproject.toml").write_text('[project]\nname = "a"\n[tool.other]\nx = 1\n' + tables)
    assert found(made, project) == "pyproject.toml of project"
    again = find_policy(made.home, project)
    assert again is not None
    (made.home / "veracity.toml").write_text(text)
    assert again.policy.digest() == made.policy.digest(), "named by what it says, not by where"


def test_a_project_without_a_policy_has_none(made: Approving, tmp_path: Path) -> None:
    (made.home / "veracity.toml").write_text("")
    (tmp_path / "pyproject.toml").write_text("[tool.ruff]\nline-length = 110\n")
    assert found(made, tmp_path) == ""
    with pytest.raises(UsageError, match=r"no \[policy\] in this file"):
        find_policy(made.home, tmp_path, tmp_path / "pyproject.toml")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda text: "polcy = 1\n" + text, "unknown key 'polcy'"),
        (lambda text: text.replace("revoke =", "revokes ="), "unknown key 'revokes'"),
        (lambda text: text.replace("needed = 2", "needed = 2\nneeded = 1"), "not TOML"),
        (lambda text: text.replace('key = "lead+', 'key = "lead+0'), "id of the verifier key"),
    ],
)
def test_a_wrong_file_is_an_error(made: Approving, edit: object, said: str) -> None:
    path = made.home / "veracity.toml"
    assert callable(edit)
    path.write_text(edit(path.read_text()))
    with pytest.raises(UsageError, match=said):
        find_policy(made.home, made.home)


def test_a_file_that_everybody_can_write_says_nothing(made: Approving) -> None:
    path = made.home / "veracity.toml"
    path.chmod(0o664)
    assert find_policy(made.home, made.home) is not None
    path.chmod(0o666)
    with pytest.raises(UsageError, match="everybody can write"):
        find_policy(made.home, made.home)
    with pytest.raises(UsageError, match="cannot be read"):
        find_policy(made.home, made.home, made.home / "none.toml")


def test_unknown_keys_of_a_project_are_errors(made: Approving, tmp_path: Path) -> None:
    (made.home / "veracity.toml").unlink()
    (tmp_path / "pyproject.toml").write_text("[tool.veracity]\nhome = 'x'\n")
    with pytest.raises(UsageError, match="unknown key 'home'"):
        find_policy(made.home, tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool]\nveracity = 3\n")
    with pytest.raises(UsageError, match="no table"):
        find_policy(made.home, tmp_path)
