"""What else is known of repositories: hooks, settings, submodules, and what bends the history."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.observe.git.repos import commit, edit, git, judge, look, make, state
from veracity.core.repository import Hook, Setting, Signature, Submodule, Unlike
from veracity.observe.git import command, hooks, repositories, settings
from veracity.observe.git.reading import REPLACED

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make(tmp_path / "repo")


def keys(found: tuple[Setting, ...]) -> list[tuple[str, str, str]]:
    return [(one.scope, one.key, one.value) for one in found]


# --- where there is one -----------------------------------------------------------------------------------


def test_no_repository_and_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "plain" / ".git").mkdir(parents=True)
    found = look(code=tmp_path / "plain")
    assert (found.opened, found.reasons, found.states(judge)) == ([], [], ())


def test_data_in_a_working_tree_that_no_commit_has_is_not_of_it(folder: Path) -> None:
    (folder / "cache").mkdir()
    found = look(data=folder / "cache")
    assert (found.opened, found.reasons) == ([], [])


def test_two_parts_of_one_repository(folder: Path) -> None:
    found = look(code=folder / "pkg", script=folder / "train.py")
    (one,) = found.states(judge)
    assert [(part.part, part.path) for part in one.parts] == [("code", "pkg"), ("script", "train.py")]
    assert one.parts[0].object == git(folder, "rev-parse", "HEAD:pkg")
    assert (one.compared, one.folder) == (2, ".git")
    assert found.folders == (str(folder / ".git"),)


def test_before_the_first_commit(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    git(tmp_path / "new", "init", "-q", "-b", "main")
    found = state(tmp_path / "new")
    assert (found.commit, found.branch, found.compared) == ("", "main", 0)


def test_a_part_in_the_folder_of_git_is_files(folder: Path) -> None:
    found = look(hooks=folder / ".git")
    assert (found.opened, found.reasons) == ([], [])


def test_what_cannot_be_read_has_a_reason(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".git" / "config").write_text("[core\n")
    assert look(code=folder).reasons == [("code", "git does not take the repository here for one")]
    (folder / ".git" / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tworktree = /\n")
    elsewhere = "the repository's settings place its working tree elsewhere"
    assert look(code=folder).reasons == [("code", elsewhere)]
    monkeypatch.setattr(command, "SECONDS", 0.0)
    assert "took longer" in look(code=folder).reasons[0][1]
    monkeypatch.setenv("PATH", "/nonexistent")
    assert look(code=folder).reasons == [("code", "git is not installed")]


def test_a_commit_that_was_exchanged_in_the_store_is_found(folder: Path) -> None:
    old, new = git(folder, "rev-parse", "HEAD"), commit(folder)
    paths = [folder / ".git" / "objects" / one[:2] / one[2:] for one in (old, new)]
    paths[1].chmod(0o644)
    paths[1].write_bytes(paths[0].read_bytes())
    assert "other bytes than its id says" in look(code=folder).reasons[0][1]


def test_of_two_trees_in_a_commit_the_first_counts(folder: Path) -> None:
    """As git has it: another one would be compared with than the one that git shows."""
    one = git(folder, "rev-parse", "HEAD^{tree}")
    edit(folder / "train.py", "lr = 2\n")
    commit(folder)
    two = git(folder, "rev-parse", "HEAD^{tree}")
    who = "a <a> 0 +0000"
    (folder / "object").write_text(f"tree {one}\ntree {two}\nauthor {who}\ncommitter {who}\n\nm\n")
    forged = git(folder, "hash-object", "--literally", "-t", "commit", "-w", "object")
    (folder / ".git" / "HEAD").write_text(forged + "\n")
    assert [one.path for one in state(folder).unlike] == ["train.py"]


def test_a_repository_planted_below_is_told_by_its_place(folder: Path) -> None:
    """Who puts one around the sealed part has it clean, and cannot hide that it is another."""
    git(folder / "pkg", "init", "-q", "-b", "main")
    (folder / "pkg" / "adamw.py").write_text("beta = 0\n")
    commit(folder / "pkg")
    found = state(folder / "pkg")
    assert (found.root, found.unlike) == (str(folder / "pkg"), ())
    assert [one.path for one in state(folder).unlike] == ["pkg/adamw.py"]


def test_a_working_tree_beside_the_repository(folder: Path, tmp_path: Path) -> None:
    git(folder, "worktree", "add", "-q", "-b", "other", str(tmp_path / "beside"))
    found = state(tmp_path / "beside")
    assert (found.branch, found.common) == ("other", str(folder / ".git"))
    assert found.folder == str(folder / ".git" / "worktrees" / "beside")
    assert look(code=tmp_path / "beside").folders == ()
    assert state(folder).worktrees == (str(tmp_path / "beside"),)


def test_what_git_annex_keeps_is_not_left_out(folder: Path) -> None:
    assert look(code=folder).folders == (str(folder / ".git"),)
    (folder / ".git" / "annex" / "objects").mkdir(parents=True)
    assert look(code=folder).folders == ()


# --- hooks ------------------------------------------------------------------------------------------------


def hook(path: Path, text: str = "#!/bin/sh\n", mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_all_files_beside_the_hooks_are_known(folder: Path, tmp_path: Path) -> None:
    folder_of = folder / ".git" / "hooks"
    shutil.rmtree(folder_of, ignore_errors=True)
    hook(folder_of / "pre-commit")
    hook(folder_of / "_" / "lib.sh", mode=0o644)
    hook(folder_of / "pre-push.sample")
    os.symlink(hook(tmp_path / "script"), folder_of / "post-merge")
    os.symlink(tmp_path / "nowhere", folder_of / "pre-rebase")
    found = state(folder)
    assert [(one.name, one.runs, one.mode) for one in found.hooks] == [
        ("_/lib.sh", False, 0o644),
        ("post-merge", True, 0o755),
        ("pre-commit", True, 0o755),
        ("pre-rebase", False, 0),
    ]
    assert found.hooks[1].target == str(tmp_path / "script")
    assert found.hooks[1].sha256 == found.hooks[2].sha256
    assert (found.hooks_folder, found.hooks_by) == (".git/hooks", "")


def test_hooks_of_the_account_and_of_the_repository(folder: Path, account: Path) -> None:
    hook(account / "hooks" / "post-checkout")
    (account / ".gitconfig").write_text("[core]\n\thooksPath = ~/hooks\n")
    found = state(folder)
    assert (found.hooks_folder, found.hooks_by) == (str(account / "hooks"), "global")
    assert [one.name for one in found.hooks] == ["post-checkout"]
    hook(folder / ".githooks" / "pre-push")
    git(folder, "config", "core.hooksPath", ".githooks")
    found = state(folder)
    assert (found.hooks_folder, found.hooks_by) == (".githooks", "local")
    assert [one.name for one in found.hooks] == ["pre-push"]


def test_folders_of_hooks_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "MAX_HOOKS", 3)
    for number in range(5):
        hook(tmp_path / "hooks" / f"{number}")
    found, more = hooks.read_hooks(str(tmp_path / "hooks"))
    assert (len(found), more) == (3, True)
    os.mkfifo(tmp_path / "pipes")
    monkeypatch.setattr(hooks, "MAX_SIZE", 4)
    (tmp_path / "hooks2").mkdir()
    os.symlink(tmp_path / "pipes", tmp_path / "hooks2" / "pre-push")
    hook(tmp_path / "hooks2" / "update", "long" * 10)
    assert [one.sha256 for one in hooks.read_hooks(str(tmp_path / "hooks2"))[0]] == ["", ""]
    assert hooks.read_hooks(str(tmp_path / "none")) == ([], False)
    assert Hook("a", 1, 2, "", True).target == ""


# --- settings ---------------------------------------------------------------------------------------------

STARTING = (
    *("core.fsmonitor", "core.sshCommand", "core.editor", "core.pager", "core.gitProxy", "core.askPass"),
    *(
        "core.hooksPath",
        "core.attributesFile",
        "core.excludesFile",
        "pager.log",
        "alias.x",
        "diff.external",
        "diff.a.b.textconv",
    ),
    *("diff.mine.command", "merge.mine.driver", "filter.mine.smudge", "filter.odd.name.process"),
    *("credential.helper", "credential.https://host.example.helper", "gpg.program", "gpg.ssh.program"),
    *("mergetool.mine.cmd", "remote.origin.uploadpack", "submodule.sub.update", "include.path"),
    *("includeIf.gitdir:/x/.path", "sequence.editor", "interactive.diffFilter", "trailer.t.command"),
    *("init.templateDir", "uploadpack.packObjectsHook", "sendemail.smtpServer", "lfs.customtransfer.x.path"),
    *("difftool.x.path", "tar.x.command", "man.x.cmd", "browser.x.cmd", "hook.x.command"),
)


@pytest.mark.parametrize("key", STARTING)
def test_settings_that_start_programs(key: str) -> None:
    head, last = key[: key.index(".")].lower(), key[key.rindex(".") :].lower()
    listed = head + key[key.index(".") : key.rindex(".")] + last
    assert settings._starts(listed, "!prog")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("core.fsmonitor", "true"),
        ("core.fsmonitor", ""),
        ("pager.log", "false"),
        ("submodule.sub.update", "rebase"),
        ("alias.st", "status -sb"),
        ("remote.origin.url", "https://host.example/x"),
        ("user.name", "!n"),
        ("branch.main.merge", "refs/heads/main"),
        ("diff.mine.xfuncname", "^x"),
        ("submodule.sub.active", "true"),
        ("core.filemode", "true"),
    ],
)
def test_settings_that_start_nothing(key: str, value: str) -> None:
    assert not settings._starts(key, value)


def test_settings_by_scope_and_through_includes(folder: Path, account: Path, tmp_path: Path) -> None:
    (account / ".gitconfig").write_text("[credential]\n\thelper = store\n")
    (tmp_path / "more").write_text("[core]\n\tsshCommand = run me\n")
    git(folder, "config", "include.path", str(tmp_path / "more"))
    git(folder, "config", "alias.up", "!make\n\tall")
    found = state(folder)
    assert keys(found.settings) == [
        ("global", "credential.helper", "store"),
        ("local", "include.path", str(tmp_path / "more")),
        ("local", "core.sshcommand", "run me"),
        ("local", "alias.up", "!make\n\tall"),
    ]
    assert [one.origin for one in found.settings][:2] == [str(account / ".gitconfig"), ".git/config"]


def test_long_and_odd_values(folder: Path) -> None:
    (folder / ".git" / "config").write_bytes(
        (folder / ".git" / "config").read_bytes()
        + b'[alias]\n\ta = "!'
        + b"x" * 3_000
        + b'"\n\tb = "!\xff"\n'
    )
    one, two = state(folder).settings
    assert "in all sha256 " in one.value
    assert two.value == "!\\xff"


def test_nothing_that_a_repository_names_is_run(folder: Path, account: Path, tmp_path: Path) -> None:
    """As the person who reads, with everything set that the repository's owner can set."""
    mark = tmp_path / "ran"
    script = hook(tmp_path / "script", f'#!/bin/sh\necho "$0 $@" >> {mark}\ncat\n')
    inner = make(tmp_path / "inner")
    git(folder, "submodule", "-q", "add", str(inner), "sub")
    git(folder, "tag", "-a", "-m", "t", "v1")
    (folder / "notes.txt").write_text("1\n")
    (folder / ".gitattributes").write_text("*.py filter=mine diff=mine text\n*.bin filter=odd.name\n")
    commit(folder)
    for key in STARTING:
        if key not in ("include.path", "includeIf.gitdir:/x/.path"):
            git(
                folder, "config", key, f"!{script}" if key.startswith(("alias", "submodule")) else str(script)
            )
            git(folder / "sub", "config", key, f"!{script}" if key.startswith("alias") else str(script))
    git(folder, "config", "core.hooksPath", str(tmp_path / "hooks"))
    for name in (
        "post-index-change",
        "reference-transaction",
        "fsmonitor-watchman",
        "post-checkout",
        "pre-auto-gc",
    ):
        hook(tmp_path / "hooks" / name, script.read_text())
    for key, value in (
        ("filter.mine.required", "true"),
        ("gpg.format", "openpgp"),
        ("hook.x.event", "post-index-change"),
        ("log.showSignature", "true"),
        ("core.untrackedCache", "true"),
        ("core.splitIndex", "true"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.url", f"ext::{script}"),
        ("remote.origin.promisor", "true"),
        ("protocol.allow", "always"),
        ("protocol.ext.allow", "always"),
        ("diff.ignoreSubmodules", "none"),
        ("diff.submodule", "diff"),
    ):
        git(folder, "config", key, value)
    (folder / "train.py").write_text("lr = 2\n")
    os.utime(folder / "train.py", (1, 1))
    (folder / "sub" / "train.py").write_text("lr = 2\n")
    (folder / "notes.txt").write_text("2\n")
    mark.unlink(missing_ok=True)
    before = indexes(folder)
    found = look(code=folder)
    states = found.states(judge)
    assert found.reasons == []
    assert [one.name for one in states] == ["code", "code/sub"]
    assert [one.unread for one in states] == [(), ()]
    assert found.diff_of("code", states[0])
    assert found.distance("code", "0" * 40, states[0].commit)
    assert not mark.exists(), mark.read_text()
    assert before == indexes(folder)
    # And it would have been: by the command that everybody runs.
    subprocess.run(["git", "status"], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert mark.exists()


def indexes(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (folder / ".git").rglob("*index*") if path.is_file()}


# --- submodules -------------------------------------------------------------------------------------------


def test_submodules_are_repositories_of_their_own(folder: Path, tmp_path: Path) -> None:
    inner = make(tmp_path / "inner")
    make(tmp_path / "innermost", {"z.py": "z"})
    git(inner, "submodule", "-q", "add", str(tmp_path / "innermost"), "deep")
    commit(inner)
    git(folder, "submodule", "-q", "add", str(inner), "lib/sub")
    git(folder, "submodule", "-q", "update", "--init", "--recursive")
    commit(folder)
    recorded = git(inner, "rev-parse", "HEAD")
    outer, sub, deep = look(code=folder).states(judge)
    assert outer.submodules == (Submodule("lib/sub", recorded, recorded),)
    assert (sub.name, deep.name) == ("code/lib/sub", "code/lib/sub/deep")
    assert [one.unlike for one in (outer, sub, deep)] == [(), (), ()]
    edit(folder / "lib" / "sub" / "deep" / "z.py", "y")
    moved = commit(folder / "lib" / "sub", "moved")
    outer, sub, deep = look(code=folder).states(judge)
    assert outer.submodules == (Submodule("lib/sub", recorded, moved),)
    assert [one.path for one in deep.unlike] == ["z.py"]
    git(folder, "submodule", "-q", "deinit", "-f", "lib/sub")
    (outer,) = look(code=folder).states(judge)
    assert outer.submodules == (Submodule("lib/sub", recorded, ""),)


def test_a_submodule_behind_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    inner = make(tmp_path / "inner")
    git(folder, "submodule", "-q", "add", str(inner), "sub")
    commit(folder)
    shutil.rmtree(folder / "sub")
    os.symlink(inner, folder / "sub")
    (outer,) = look(code=folder).states(judge)
    assert outer.submodules[0].checked_out == ""


def test_submodules_without_end(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(folder, "submodule", "-q", "add", str(make(tmp_path / "inner")), "sub")
    commit(folder)
    monkeypatch.setattr(repositories, "MAX_REPOSITORIES", 1)
    assert look(code=folder).reasons == [("code", "there are more than 1 repositories in it")]


# --- what bends the history -------------------------------------------------------------------------------


def test_replaced_objects_do_not_mislead(folder: Path) -> None:
    old = git(folder, "rev-parse", "HEAD")
    edit(folder / "train.py", "lr = 2\n")
    new = commit(folder)
    git(folder, "reset", "-q", "--hard", old)
    git(folder, "replace", old, new)
    edit(folder / "train.py", "lr = 2\n")
    git(folder, "read-tree", "HEAD")  # of what stands in its place
    assert git(folder, "status", "--porcelain") == ""
    found = state(folder)
    assert found.replaced == ((old, new),)
    assert found.unlike == (Unlike("train.py", "content changed", REPLACED),)


def test_files_in_the_folder_of_git(folder: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--shared", str(folder), "clone")
    clone = tmp_path / "clone"
    (clone / ".git" / "info").mkdir(exist_ok=True)
    (clone / ".git" / "info" / "exclude").write_text("# mine\n/sitecustomize.py\n/notes\n")
    (clone / ".git" / "info" / "attributes").write_text("* -text\n")
    (clone / ".git" / "info" / "grafts").write_text(git(folder, "rev-parse", "HEAD") + "\n")
    (clone / "sitecustomize.py").write_text("x")
    (clone / "notes").mkdir()
    (clone / "notes" / "a").write_text("x")
    (clone / "other").write_text("x")
    assert git(clone, "status", "--porcelain") == "?? other"
    found = state(clone)
    assert [name for name, _ in found.inside] == [
        "info/attributes",
        "info/exclude",
        "info/grafts",
        "objects/info/alternates",
    ]
    assert found.ignored == ("notes/", "sitecustomize.py")
    assert found.untracked == ("other",)


def test_a_shallow_clone(folder: Path, tmp_path: Path) -> None:
    commit(folder)
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{folder}", "clone")
    assert "shallow" in dict(state(tmp_path / "clone").inside)


def test_how_commits_stand_to_each_other(folder: Path) -> None:
    first = git(folder, "rev-parse", "HEAD")
    second = commit(folder)
    third = commit(folder)
    git(folder, "checkout", "-q", "-b", "side", first)
    side = commit(folder, "aside")
    (one,) = look(code=folder).opened
    assert one.distance(first, third) == "2 commits later"
    assert one.distance(second, first) == "1 commit back"
    assert one.distance(third, side) == "not a successor: 1 commit more, 2 commits missing"
    assert one.distance("0" * 40, side) == "the sealed commit is not in the repository any more"
    assert one.distance("", side) == ""


def test_signatures_of_commit_and_tags_are_handed_on(folder: Path) -> None:
    text = "tree {}\nauthor a <a> 0 +0000\ncommitter a <a> 0 +0000\n{}\nmessage\n"
    tree = git(folder, "rev-parse", "HEAD^{tree}")
    signed = text.format(tree, "gpgsig -----BEGIN SSH SIGNATURE-----\n abc\n -----END SSH SIGNATURE-----\n")
    (folder / "object").write_text(signed)
    name = git(folder, "hash-object", "-t", "commit", "-w", "object")
    (folder / "object").write_text(
        f"object {name}\ntype commit\ntag v1\ntagger a <a> 0 +0000\n\nmessage\n"
        "-----BEGIN PGP SIGNATURE-----\n\nx\n"
    )
    tag = git(folder, "hash-object", "-t", "tag", "-w", "object")
    git(folder, "reset", "-q", "--soft", name)
    git(folder, "update-ref", "refs/tags/v1", tag)
    git(folder, "tag", "light")
    seen: list[tuple[str, bytes, bytes]] = []

    def noted(of: str, message: bytes, signature: bytes) -> Signature:
        seen.append((of, message, signature))
        return judge(of, message, signature)

    look(code=folder).states(noted)
    assert seen[0] == (
        "commit",
        text.format(tree, "").encode(),
        b"-----BEGIN SSH SIGNATURE-----\nabc\n-----END SSH SIGNATURE-----",
    )
    assert [one[0] for one in seen] == ["commit", "tag v1"]
    assert seen[1][1].endswith(b"\nmessage\n")
    assert seen[1][2].startswith(b"-----BEGIN PGP SIGNATURE-----\n")
