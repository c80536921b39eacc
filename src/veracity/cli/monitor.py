"""``veracity monitor --system``: record the jobs of other accounts, under one of its own."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from ..core.errors import UsageError
from .output import say
from .parsing import Parser, add_verb, default_home, home_of

_DESCRIPTION = """\
Serve as the monitor of this machine, under an account of its own: home, records and key are that account's,
and `veracity run` of other accounts hands over to it. Such an account can have its runs recorded and read
what was found in them, and nothing else. Ends with SIGTERM; what goes on then is taken up at the next start.

It needs CAP_SETUID and CAP_SETGID, to read what belongs to a job as that job's account and no other; see the
unit file in examples/."""

_EXAMPLES = """\
  veracity monitor --system
  veracity monitor --system --home /srv/veracity --socket /run/veracity/monitor.sock --config quota.toml"""


def add_parser(subparsers: argparse._SubParsersAction[Parser]) -> None:
    """Add ``monitor``."""
    codes = (("0", "ended by a signal"), ("2", "could not be started"))
    parser = add_verb(
        subparsers, "monitor", "record the jobs of other accounts", _DESCRIPTION, _EXAMPLES, codes
    )
    parser.add_argument(
        "--system", action="store_true", help="as a service for all accounts (there is no other kind)"
    )
    parser.add_argument(
        "--socket",
        type=Path,
        default=None,
        metavar="PATH",
        help="where `veracity run` finds it (default: /run/veracity/monitor.sock)",
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=None,
        metavar="FILE",
        help="TOML with what each account may do, in [service] (default: built-in quotas)",
    )


def execute(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP."""
    if not arguments.system:
        raise UsageError("a monitor of one account is started by `veracity run`", remedy="add --system")
    from ..monitor import accounts
    from ..monitor.allowance import Quota
    from ..monitor.service.server import Service
    from ..monitor.service.settings import SYSTEM_HOME, SYSTEM_SOCKET, Settings, read_quota

    if not accounts.may_change_accounts():
        raise UsageError(
            f"the service lacks {' and '.join(sorted(accounts.NEEDED))}",
            remedy="start it by its unit file (examples/), or as root",
        )
    os.umask(0o077)
    home = home_of(arguments) if arguments.home != default_home() else SYSTEM_HOME
    quota = read_quota(arguments.config) if arguments.config is not None else Quota()
    socket = (arguments.socket or SYSTEM_SOCKET).absolute()
    service = Service(Settings(home, socket, quota))
    if not arguments.quiet:
        account = accounts.own_account()
        say(f"recording for all accounts as {account.name} (uid {account.uid}), at {socket}")
    service.run()
    return 0
