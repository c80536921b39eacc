"""``veracity seal``: say what files and folders consist of, so that any change can be shown later."""

from __future__ import annotations

import argparse
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import EvidenceError, UsageError
from . import sealmodel, sealsbom
from .collecting import seldom_collected
from .output import console_for, deliver, say
from .parsing import LEVEL_HELP, Parser, add_verb, format_of, home_of, level
from .progress import Told

if TYPE_CHECKING:
    from ..ledger.keys import PublicKey
    from ..seal.sshsig import SshPublicKey, SshSigner

_DESCRIPTION = """\
Seal files and folders: name every file in them by kind, permissions and content, in one signed digest.
`veracity verify seal-…` reads them again and says what changed; `veracity seal diff A B` compares two seals.

Times and owners are no part of a seal. Each PATH is a part of it, called by its last name or as NAME=PATH.

In a git working tree the commit, what differs from it, hooks, and settings that start programs are sealed.

With --python the interpreter, its standard library and its folders of packages are parts, too, and each
installed file is compared with the archive it came from, as a lock file names it by SHA-256 (--lock), or with
the wheels of a folder (--wheels); each .pyc is compared with a compile of its source.

With --model, each PATH is signed so that other tools accept it; with --sbom, a bill of materials of a Python
environment is written. Then no seal is made."""

KEY_HELP = (
    "the key that signs: of a model a PEM file (P-256); of a seal an SSH key besides the home's own, as its "
    "private file or the .pub file of one that ssh-agent holds; for diff, the public key of both seals"
)

_EXAMPLES = """\
  veracity seal                               this folder
  veracity seal code=src data/train.bin       two parts
  veracity seal data=shards --level stat      reads and writes what changed since
  veracity seal src --python .venv --lock uv.lock --wheels wheels
  veracity verify seal-20250302-140211-a1b2c3
  veracity seal diff seal-20250302 latest
  veracity seal --key ~/.ssh/id_ed25519.pub   signed also with an SSH key, here by ssh-agent
  veracity seal --model checkpoints/base      writes checkpoints/base/model.sig
  veracity seal --sbom env.cdx.json           what is installed for the python on PATH"""

_REMEMBERED = (
    "what is read is remembered, and what did not change is not written again (default: full, and nothing is "
    "remembered)"
)

DIFF = "diff"


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``seal``."""
    codes = (
        ("0", "sealed, and everything could be read; or two seals that do not differ"),
        ("1", "two seals differ; or an environment is not what its archives say (it is sealed as it is)"),
        ("2", "something could not be read or compared: what could be is sealed"),
    )
    parser = add_verb(subparsers, "seal", "seal files and folders", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="what to seal, as PATH or NAME=PATH (default: this folder); or `diff A B` with two seals",
    )
    parser.add_argument(
        "--python",
        metavar="PYTHON",
        type=Path,
        help="seal the environment of this interpreter or virtual environment, and examine it",
    )
    parser.add_argument(
        "--lock",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="uv.lock, pylock.toml or requirements with --hash: what may be installed (repeatable)",
    )
    parser.add_argument(
        "--wheels",
        metavar="DIR",
        type=Path,
        action="append",
        default=[],
        help="a folder with the archives; without --lock it also says what may be installed (repeatable)",
    )
    parser.add_argument(
        "--fetch", action="store_true", help="fetch archives from the addresses that the lock gives"
    )
    parser.add_argument(
        "--index",
        metavar="URL",
        action="append",
        default=[],
        help="a package index that says what archives there are of what no lock names; they are fetched",
    )
    parser.add_argument(
        "--allowed-signers",
        metavar="FILE",
        type=Path,
        help="whose SSH keys sign commits and tags, as `ssh-keygen -Y verify -f` takes it",
    )
    parser.add_argument("--key", metavar="FILE", type=Path, help=KEY_HELP)
    parser.add_argument("--level", type=level, metavar="LEVEL", help=f"{LEVEL_HELP}; {_REMEMBERED}")
    sealmodel.add_flags(parser)
    sealsbom.add_flags(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Seal, or compare two seals."""
    words: list[str] = arguments.paths
    compares = words[:1] == [DIFF] and len(words) != 1
    if arguments.level is not None and (arguments.model or arguments.sbom is not None or compares):
        raise UsageError("--level is for making a seal of files and folders")
    if arguments.model:
        return sealmodel.execute(arguments)
    sealmodel.refuse_flags(arguments)
    if arguments.sbom is not None:
        return sealsbom.execute(arguments)
    if compares:
        return _diff(arguments, words[1:])
    form = format_of(arguments, "text", "json")
    from ..ledger.keys import KEY_FILE, KEY_NAME, SigningKey
    from ..render import seals
    from ..seal.earlier import earlier_seal
    from ..seal.folder import create_folder, make_home
    from ..seal.paths import Wanted, make_seal
    from ..seal.reading import Look
    from .environment import examination_of

    also = _ssh_signer(arguments.key)
    home = home_of(arguments)
    read = Told(quiet=arguments.quiet)
    examination = examination_of(arguments, home, read)
    paths = parts_of(words or ([] if examination else ["."]))
    for path in paths.values():
        if not path.exists():
            raise UsageError("there is nothing to seal", where=str(path))
    wanted = Wanted(paths) if examination is None else examination.add_to(paths)
    wanted = replace(wanted, signers=_signers(arguments.allowed_signers))
    make_home(home)
    key = SigningKey.load_or_create(home / KEY_FILE, KEY_NAME)
    if arguments.level is not None:
        earlier = earlier_seal(home, key.verifier, wanted.paths.values())
        wanted = replace(wanted, look=Look(arguments.level, home), earlier=earlier)
    folder = create_folder(home, time.time_ns())
    with seldom_collected():
        made = make_seal(folder, wanted, key, also=also, progress=read)
    read.done()
    if form == "json":
        deliver(arguments, seals.document(made, ()))
    elif not arguments.quiet or arguments.output is not None:
        console = console_for(sys.stdout, arguments.output)
        name = also.verifier.name if also is not None else ""
        text = seals.sealed(made, read.files, read.size, console, also=name)
        deliver(arguments, text if examination is None else text + examination.text(console))
    code = 0 if examination is None else examination.exit_code()
    return code or (2 if made.unread else 0)


def _signers(path: Path | None) -> dict[str, str]:
    """Whose key is whose, by the file that was named."""
    if path is None:
        return {}
    from ..ledger.files import read_bounded
    from ..seal.gitsignature import allowed_signers

    return allowed_signers(read_bounded(path.expanduser(), 1 << 20).decode("utf-8", "replace"))


def parts_of(words: list[str]) -> dict[str, Path]:
    """``NAME=PATH`` or ``PATH`` each, as name → path; raises UsageError when a name occurs twice."""
    parts: dict[str, Path] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or "/" in name or not path:
            path, name = word, Path(word).resolve().name or "root"
        if name in parts:
            raise UsageError(
                f"two parts are called {name!r}", remedy="give one of them another name: NAME=PATH"
            )
        parts[name] = Path(path).expanduser()
    return parts


def _diff(arguments: argparse.Namespace, names: list[str]) -> int:
    form = format_of(arguments, "text", "json")
    if len(names) != 2:
        raise UsageError(f"`veracity seal diff` compares two seals, not {len(names)}")
    from ..render import seals
    from ..seal.folder import find_seal
    from ..seal.paths import compare_seals, read_seal

    home = home_of(arguments)
    folders = [find_seal(home, name) for name in names]
    read = [read_seal(folder, key_for(arguments, folder.verifier)) for folder in folders]
    differences = list(compare_seals((folders[0], read[0]), (folders[1], read[1])))
    if form == "json":
        deliver(arguments, seals.document(read[0], differences))
    elif not arguments.quiet or arguments.output is not None:
        console = console_for(sys.stdout, arguments.output)
        deliver(arguments, seals.compared(f"{read[1].seal} against", read[0], differences, console))
    if any(one.differs for one in differences):
        return 1
    return 0 if all(one.is_complete for one in differences) else 2


def _ssh_signer(path: Path | None) -> SshSigner | None:
    """The SSH key that was asked for, if any."""
    if path is None:
        return None
    from ..seal.sshkeys import load_signer

    return load_signer(path.expanduser(), os.environ.get("SSH_AUTH_SOCK", ""))


def key_for(arguments: argparse.Namespace, beside: Path, option: str = "key") -> PublicKey | SshPublicKey:
    """The key that ``option`` asked for, else the home's own, else the one that lies beside the seal."""
    from ..ledger.files import read_bounded
    from ..ledger.keys import KEY_FILE, KEY_NAME, PublicKey, SigningKey
    from ..render.visible import visible
    from ..seal.sshsig import MAX_LINE, SshPublicKey

    asked: Path | None = getattr(arguments, option, None)
    home = home_of(arguments) / KEY_FILE
    if asked is None and home.exists():
        return SigningKey.load(home, KEY_NAME).verifier
    try:
        text = read_bounded(asked or beside, MAX_LINE).decode("ascii")
    except (EvidenceError, UnicodeDecodeError) as error:
        raise UsageError("the public key cannot be read", where=str(asked or beside)) from error
    if asked is not None and text.lstrip().startswith("ssh-"):
        return SshPublicKey.parse(text)
    if asked is None and not arguments.quiet:
        say(f"the key that lies beside the seal is taken, whoever put it there: {visible(text.strip())}")
    return PublicKey.parse(text)
