"""Code sends credentials, or the whole environment, to another host.

## The law

What a program does follows from its text, and none needs to hand its keys to others.

## What breaks it

`requests.post(url, json=dict(os.environ))`, the bytes of `~/.ssh/id_rsa` or of a token's file as the body of
a request, a key from the environment in a request that anybody on the way can read.

## How it is checked

The arguments of functions that send are followed through variables: the environment as a whole, a file that
is known to hold credentials, and, where the address is `http://`, a variable that is named as a key. Headers
and `auth` are where a key belongs, and are left out.

## What fools it

A body that is put together elsewhere; a host that answers to a name of the program's own.

## What to do

Take the machine's keys for known: revoke them, and see who has run it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from ....core.finding import Finding
from ....core.observation import SourceRead
from ....core.rule import Confidence, Rule, Severity
from .reading import LAW, SourceDetector, facts, when

_WHAT = {
    "environment": "the whole environment, with all keys in it",
    "credentials": "a file that holds credentials",
    "unprotected": "a key, which anybody on the way can read",
}


class SecretsSent(SourceDetector):
    """One finding for each call."""

    rule: ClassVar[Rule] = Rule(
        "code-secrets-sent",
        LAW,
        "Code sends credentials to another host",
        Severity.ERROR,
        Confidence.HIGH,
    )

    def judge(self, read: SourceRead) -> Iterator[Finding]:
        """Judge what is sent."""
        for fact in facts(read, "call"):
            if fact.what == "send":
                yield self.tell(
                    read,
                    fact,
                    f"{fact.name}{when(fact)} sends {_WHAT[fact.how]}, to another host",
                    Confidence.LOW if read.library else Confidence.HIGH,
                )
