"""Flags about those outside who sign a record: witnesses, and time-stamping authorities."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import UsageError
from .output import say
from .parsing import Parser
from .witness import policy_in

if TYPE_CHECKING:
    from ..ledger.witness.asking import KnownWitness
    from ..ledger.witness.policy import Policy


def add_outsiders(parser: Parser) -> None:
    """Flags that say whom to ask."""
    parser.add_argument(
        "--witness",
        dest="witnesses",
        action="append",
        default=[],
        metavar="URL=KEY",
        help="have the record cosigned by this witness, now and then and at its end (may be given several "
        "times; see `veracity witness`)",
    )
    parser.add_argument(
        "--witness-policy",
        type=Path,
        metavar="FILE",
        help="whose cosignatures are enough, as a C2SP tlog-policy; those with an address in it are asked",
    )
    parser.add_argument(
        "--timestamp",
        dest="timestamps",
        action="append",
        default=[],
        metavar="URL",
        help="have the finished record stamped by this RFC 3161 authority (may be given several times)",
    )


def witnesses_of(arguments: argparse.Namespace) -> tuple[tuple[KnownWitness, ...], Policy | None]:
    """The witnesses to ask, and the policy; raises UsageError when they cannot be enough for it."""
    from ..ledger.witness.asking import KnownWitness
    from ..ledger.witness.policy import Policy

    asked = [KnownWitness.parse(text) for text in dict.fromkeys(arguments.witnesses)]
    if arguments.witness_policy is None:
        Policy.requiring([one.key for one in asked])  # refuses one witness at two addresses
        return tuple(asked), None
    policy = policy_in(arguments.witness_policy)
    keys = {one.key for one in asked}
    asked += [
        KnownWitness.at(one.url, one.key) for one in policy.witnesses if one.url and one.key not in keys
    ]
    keys = {one.key for one in asked}
    if not policy.is_reached({one.name for one in policy.witnesses if one.key in keys}):
        raise UsageError(
            "the witnesses that have an address are too few for the policy",
            where=str(arguments.witness_policy),
            remedy="write addresses behind keys in the policy, or give them with --witness URL=KEY",
        )
    return tuple(asked), policy


def timestamps_of(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The addresses of the authorities to ask; raises UsageError for what is none."""
    from ..ledger.timestamp import MAX_TIMESTAMPS, check_address

    urls = tuple(dict.fromkeys(arguments.timestamps))
    if len(urls) > MAX_TIMESTAMPS:
        raise UsageError(f"at most {MAX_TIMESTAMPS} authorities are asked")
    for url in urls:
        check_address(url)
    return urls


def tell_unsigned(uncosigned: Iterable[str], unstamped: Iterable[str]) -> None:
    """Say on standard error who did not sign."""
    from ..render.visible import visible

    for sentence in uncosigned:
        say(f"not cosigned: {visible(sentence)}")
    for sentence in unstamped:
        say(f"not stamped: {visible(sentence)}")
