"""Sealing a run: what it executed and consumed, in one signed statement."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence

from ..core.errors import EvidenceError
from ..core.observation import Hello
from ..core.summary import SealedItem
from ..ledger.keys import SigningKey
from ..observe.git import read_git
from ..observe.native import NativeLibrary
from ..seal.manifest import Ingredients, Manifest, SealedFile, build_manifest
from ..seal.manifest import sealed_items as items_of
from ..seal.masking import Masker
from ..seal.sign import sign_statement, statement, unverified_statement
from .code import Code


def seal_run(
    run: str,
    command: Sequence[str],
    started_at: int,
    code: Code,
    hello: Hello | None,
    libraries: Sequence[NativeLibrary],
    files: Mapping[str, tuple[str, int]],
    environment: Mapping[str, str],
    masker: Masker,
    key: SigningKey,
) -> bytes:
    """The DSSE envelope around the run's manifest. ``files``: path → (sha256, size) of checkpoints read."""
    made_of = Ingredients(
        run=run,
        host=socket.gethostname(),
        user=str(os.getuid()),
        started_at=started_at,
        command=command,
        directory=os.getcwd(),
        environment=environment,
        git=read_git(_directory_of(command)),
        interpreter=_interpreter(hello),
        numerics=hello.numerics if hello is not None else {},
        distributions=code.distributions(),
        modules=list(code.checked.values()),
        libraries=libraries,
        files=[SealedFile(path, digest, size) for path, (digest, size) in sorted(files.items())],
    )
    manifest = build_manifest(made_of, masker)
    return sign_statement(statement(run, manifest.digest(), manifest.document), key)


def sealed_items(envelope: bytes) -> list[SealedItem]:
    """The lines people read about what ran; raises EvidenceError for a malformed envelope."""
    predicate = unverified_statement(envelope).get("predicate")
    if not isinstance(predicate, dict):
        raise EvidenceError("the seal has no manifest")
    return items_of(Manifest(predicate))


def _interpreter(hello: Hello | None) -> dict[str, str]:
    if hello is None:
        return {}
    return {"path": hello.executable, "python": hello.python, "torch": hello.torch}


def _directory_of(command: Sequence[str]) -> str:
    """Where the command's script lies: the first argument that is a file ending in .py, else here."""
    for word in command:
        if word.endswith(".py") and os.path.isfile(word):
            return os.path.dirname(os.path.abspath(word))
    return os.getcwd()
