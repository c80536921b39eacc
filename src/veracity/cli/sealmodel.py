"""``veracity seal --model`` and ``veracity verify model.sig``: signatures that others' tools accept."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UsageError
from .output import console_for, deliver
from .parsing import Parser, format_of, home_of
from .progress import Told

if TYPE_CHECKING:
    from ..ledger.eckeys import EcPublicKey

_SUFFIX = ".sig"
_MAX_KEY = 16 * 1024


def add_flags(parser: Parser) -> None:
    """The flags of ``seal`` that are about models."""
    group = parser.add_argument_group("models")
    group.add_argument(
        "--model",
        action="store_true",
        help="sign each PATH by itself as OpenSSF Model Signing v1.0, in a model.sig that lies in the folder",
    )
    group.add_argument(
        "--signature", metavar="FILE", type=Path, help="write a model's signature there (one PATH only)"
    )
    group.add_argument(
        "--ignore",
        metavar="PATH",
        type=Path,
        action="append",
        default=[],
        help="leave that out of a model; .git and the signature itself always are",
    )
    group.add_argument(
        "--follow-links", action="store_true", help="sign what lies behind links to files in a model"
    )


def execute(arguments: argparse.Namespace) -> int:
    """Sign models; 0, or what the errors say: half a model is not signed."""
    form = format_of(arguments, "text", "json")
    if arguments.sbom is not None or arguments.python is not None or arguments.lock or arguments.wheels:
        raise UsageError("a model is signed by itself: leave --sbom, --python, --lock and --wheels out")
    from ..ledger.eckeys import EcSigningKey
    from ..ledger.files import write_private
    from ..render import models
    from ..seal.folder import make_home
    from ..seal.model import KEY_FILE, PUBLIC_FILE, sign_model, signature_of

    paths = [Path(word).expanduser() for word in arguments.paths or ["."]]
    for path in paths:
        if not path.exists():
            raise UsageError("there is nothing to sign", where=str(path))
    if arguments.signature is not None and len(paths) != 1:
        raise UsageError("--signature is of one model; without it each has its own in its folder")
    asked: Path | None = arguments.key
    if asked is None:
        home = home_of(arguments)
        make_home(home)
        key = EcSigningKey.load_or_create(home / KEY_FILE)
        write_private(home / PUBLIC_FILE, key.verifier.pem)
        public = str(home / PUBLIC_FILE)
    else:
        key, public = EcSigningKey.load(asked), f"the public half of {asked}"
    told = Told(quiet=arguments.quiet)
    made = [
        sign_model(
            path,
            arguments.signature or signature_of(path),
            key,
            ignored=arguments.ignore,
            links=arguments.follow_links,
            progress=told,
        )
        for path in paths
    ]
    told.done()
    if form == "json":
        deliver(arguments, models.signed_document(made, public))
    elif not arguments.quiet or arguments.output is not None:
        deliver(arguments, models.signed(made, public, console_for(sys.stdout, arguments.output)))
    return 0


def refuse_flags(arguments: argparse.Namespace) -> None:
    """Raise UsageError when a flag for models is given and no model is signed."""
    given = {
        "--signature": arguments.signature,
        "--ignore": arguments.ignore,
        "--follow-links": arguments.follow_links,
    }
    for flag, value in given.items():
        if value:
            raise UsageError(f"{flag} is for models", remedy="sign one with `veracity seal --model PATH`")


def signature_named(name: str) -> Path | None:
    """The signature of a model that ``name`` means: a file so called, or a folder with one; else None."""
    path = Path(name)
    if name.endswith(_SUFFIX):
        return path
    inside = path / "model.sig"
    return inside if os.sep in name and inside.is_file() else None


def verify(arguments: argparse.Namespace, signature: Path) -> int:
    """Compare a model with its signature; VerificationError and EvidenceError say what does not hold."""
    form = format_of(arguments, "text", "json")
    from ..render import models
    from ..seal.model import model_of, verify_model

    if len(arguments.at) > 1:
        raise UsageError("a signature is of one model: --at names one place")
    model = Path(arguments.at[0]).expanduser() if arguments.at else model_of(signature)
    if model is None:
        raise UsageError(
            "the signature does not lie beside its model", where=str(signature), remedy="say where: --at PATH"
        )
    told = Told(quiet=arguments.quiet)
    found = verify_model(model, signature, _public_key(arguments), progress=told)
    told.done()
    if form == "json":
        deliver(arguments, models.checked_document(found))
    elif not arguments.quiet or arguments.output is not None:
        deliver(arguments, models.checked(found, console_for(sys.stdout, arguments.output)))
    if found.changed:
        return 1
    return 2 if found.unread else 0


def _public_key(arguments: argparse.Namespace) -> EcPublicKey:
    """The key that was asked for, else the home's own."""
    from ..ledger.eckeys import EcPublicKey, EcSigningKey
    from ..ledger.files import read_bounded
    from ..seal.model import KEY_FILE

    asked: Path | None = arguments.key
    if asked is not None:
        return EcPublicKey(read_bounded(asked, _MAX_KEY))
    home = home_of(arguments) / KEY_FILE
    if not home.exists():
        raise UsageError(
            "there is no key to verify with",
            remedy="give the signer's public key with --key FILE: nothing in a signature says whom to trust",
        )
    return EcSigningKey.load(home).verifier
