"""A pickle names a global that no policy permits.

## The law

Load: nothing that can execute is loaded. What a pickle names has to be known as data.

## What breaks it

A function or class that is called while the file is loaded and of which nothing is known: one of the
project's own, one of a library that the policy does not cover, or a gadget that nobody has described.

## How it is checked

Default deny: each global has to be one that the policy names (`observe/pickle/policy.json`, and what a site
adds in `veracity.toml`). The answer depends on the file and the policy alone, never on what is installed
beside the scanner. A permit that is bound to the digest of the defining file holds where `--env` has found
that file, and the finding names both digests where it is another. Codes of the `copyreg` extension registry
stand for whatever the loading program registered, so they are told, too.

## What fools it

A permitted name that is another thing where the file is loaded, because somebody has changed the module
that defines it (`veracity scan --env` looks).

## What to do

See what the name is. If it is data, permit it in `veracity.toml` with an owner, a reason and a date on
which it is looked at again; better, store a state dict or safetensors instead of objects.
"""

from __future__ import annotations

from typing import ClassVar

from ....core.rule import Confidence, Rule, Severity
from ...pickles import UNKNOWN
from .pickled import OfPickles


class PickleUnknownGlobal(OfPickles):
    """Tells what is of this kind."""

    rule: ClassVar[Rule] = Rule(
        "checkpoint-pickle-unknown-global",
        "load",
        "A pickle names a global that no policy permits",
        Severity.WARNING,
        Confidence.MEDIUM,
    )
    kind: ClassVar[str] = UNKNOWN
