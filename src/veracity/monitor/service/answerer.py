"""The process that answers one question about an account's runs: without a capability, and not for long."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import sys
from dataclasses import asdict
from pathlib import Path

import msgspec

from ...core.errors import Error
from ...core.summary import RunSummary
from .. import accounts
from ..home import Home
from ..summary import load_summary
from .handed import account_home
from .order import Order, read_order
from .protocol import Answer, Channel, Refused

SECONDS = 120
MEMORY = 8 << 30


def answer(order: Order) -> bytes:
    """The answer as JSON: a list of runs, or one run's summary. Raises Error."""
    home = Home(account_home(Path(order.home), order.uid))
    if order.asked:
        summary = load_summary(home.resolve(order.asked))
        return json.dumps(msgspec.to_builtins(summary), ensure_ascii=True).encode("ascii")
    listed = [asdict(one) for one in home.runs()[: max(0, order.limit)]]
    return json.dumps(listed, ensure_ascii=True, default=str).encode("ascii")


def read_summary(data: bytes) -> RunSummary:
    """The summary in an answer; raises ValueError when it is none."""
    return msgspec.convert(json.loads(data), type=RunSummary)


def main() -> int:
    """Answer one question. Started by the service alone."""
    os.umask(0o077)
    order = read_order()
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    accounts.keep_nothing()
    channel = Channel(socket.socket(fileno=order.connection))
    channel.connection.setblocking(True)
    channel.connection.settimeout(SECONDS)
    try:
        data = answer(order)
    except (Error, OSError) as error:
        said = error.diagnostics() if isinstance(error, Error) else None
        with contextlib.suppress(Error):
            what = said.what if said is not None else "the record cannot be read"
            channel.send(Refused(what[:500], said.remedy[:500] if said is not None else ""))
        return 2
    handle = os.memfd_create("answer", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(Error):
            channel.send(Answer(len(data)), handle)
    return 0


if __name__ == "__main__":
    sys.exit(main())
