"""``veracity witness``: remember what logs have shown, and sign for it."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UsageError
from ..core.quantity import quantity
from .output import say
from .parsing import Parser, add_verb, home_of

if TYPE_CHECKING:
    from ..ledger.keys import PublicKey
    from ..ledger.witness.policy import Policy

_DESCRIPTION = """\
Serve as a witness: cosign the tree heads of known logs, each only when it continues the one before. Whoever
owns a log's host can then neither rewrite nor fork it unseen. Speaks C2SP tlog-witness, so it serves others'
logs, too.

Run it on a host and under an account that the logs' owners do not have. It serves plain HTTP: put it behind
whatever terminates TLS in your house when the network is not yours."""

_EXAMPLES = """\
  veracity witness --log ledger.vkey
  veracity witness --name witness.example/w1 --listen 10.0.0.5:8765 --log a.vkey --log b.vkey"""

DEFAULT_LISTEN = "127.0.0.1:8765"
DEFAULT_NAME = "witness.local"


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``witness``."""
    codes = (("0", "ended by a signal"), ("2", "could not be started"))
    parser = add_verb(subparsers, "witness", "cosign the heads of logs", _DESCRIPTION, _EXAMPLES, codes)
    parser.add_argument(
        "--log",
        action="append",
        default=[],
        required=True,
        metavar="FILE",
        help="public keys of logs, one vkey a line; the key NAME speaks for the logs NAME and NAME/…",
    )
    parser.add_argument(
        "--listen",
        default=DEFAULT_LISTEN,
        metavar="HOST:PORT",
        help=f"where to listen (default: {DEFAULT_LISTEN}; port 0: any)",
    )
    parser.add_argument(
        "--name", default=DEFAULT_NAME, metavar="NAME", help=f"the witness' name (default: {DEFAULT_NAME})"
    )
    parser.add_argument(
        "--state",
        type=Path,
        default=None,
        metavar="DIR",
        help="where its key and what it has seen are kept (default: witness in the home)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM."""
    from ..ledger.keys import KEY_FILE, SigningKey
    from ..ledger.witness.cosignature import WitnessKey
    from ..ledger.witness.record import Witness
    from ..ledger.witness.serving import WitnessServer

    address = address_of(arguments.listen)
    logs = [key for path in arguments.log for key in keys_in(Path(path))]
    state: Path = arguments.state or home_of(arguments) / "witness"
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = SigningKey.load_or_create(state / KEY_FILE, arguments.name)
    witness = Witness(state, key, logs)
    try:
        with WitnessServer(address, witness) as server:
            host, port = server.server_address[:2]
            sys.stdout.write(f"{WitnessKey(key.verifier).vkey}\n")
            sys.stdout.flush()
            if not arguments.quiet:
                say(
                    f"cosigning for {quantity(len(logs), 'key')} of logs at http://{host!s}:{port}/add-checkpoint"
                )
            ended = threading.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: ended.set())
            serving = threading.Thread(target=server.serve_forever, daemon=True)
            serving.start()
            ended.wait()
            server.shutdown()
    finally:
        witness.close()
    return 0


def address_of(text: str) -> tuple[str, int]:
    """``HOST:PORT``; raises UsageError for anything else."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise UsageError(f"not an address: {text[:80]!r}", remedy="write HOST:PORT, such as 127.0.0.1:8765")
    return host.strip("[]"), int(port)


def policy_in(path: Path) -> Policy:
    """The witness policy in a file; raises EvidenceError when it is none."""
    from ..ledger.files import read_bounded
    from ..ledger.witness.policy import MAX_POLICY, Policy

    return Policy.parse(read_bounded(path, MAX_POLICY))


def keys_in(path: Path) -> list[PublicKey]:
    """The public keys in a file, one a line; raises UsageError when it has none."""
    from ..ledger.keys import PublicKey

    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("a file of public keys cannot be read", where=str(path)) from error
    keys = [PublicKey.parse(line) for line in lines if line.strip() and not line.startswith("#")]
    if not keys:
        raise UsageError("there is no public key in this file", where=str(path))
    return keys
