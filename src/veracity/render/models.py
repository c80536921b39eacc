"""Signed models and what differs from them, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.quantity import quantity
from ..core.tree import escaped
from ..seal.model import CheckedModel, SignedModel
from .page import Page

if TYPE_CHECKING:
    from rich.console import Console

MAX_SHOWN = 50
_FORM = "OpenSSF Model Signing v1.0"


def signed(models: Sequence[SignedModel], public: str, console: Console | None = None) -> str:
    """What was signed, and with which key others verify it."""
    page = Page()
    for one in models:
        files = quantity(len(one.statement.files), "file")
        page.line(("signed", "bold"), f"  {one.signature}")
        page.line(f"  {one.statement.name:<14} {files}, {quantity(one.size, 'byte')}, as {_FORM}")
        page.line(f"  {'':<14} ", (f"left out: {', '.join(one.statement.ignored)}", "dim"))
    page.line(f"  others verify it with {public}")
    return page.show(console)


def checked(model: CheckedModel, console: Console | None = None) -> str:
    """What differs; that nothing does, when nothing does; and what the signature does not speak of."""
    page, one = Page(), model.signed
    page.line(("compared with", "bold"), f"  {one.signature}, signed with the {one.key.name}")
    shown = model.changed[:MAX_SHOWN]
    page.table([((item.change.value, "red"), item.path, (item.remark, "dim")) for item in shown])
    if len(model.changed) > MAX_SHOWN:
        page.line(f"  and {len(model.changed) - MAX_SHOWN:,} more; --format json has them all")
    for unread in model.unread[:MAX_SHOWN]:
        page.line(("  not read", "bold yellow"), f"  {unread.path}: {unread.reason}")
    if not model.changed and not model.unread:
        files = quantity(len(one.statement.files), "file")
        page.line(f"  {one.model} is as it was signed: {files}, {quantity(one.size, 'byte')} read again")
    if model.passed:
        page.line(("  not covered", "dim"), f"  {', '.join(model.passed[:MAX_SHOWN])}")
    return page.show(console)


def signed_document(models: Sequence[SignedModel], public: str) -> str:
    """What was signed, as JSON."""
    return _json({"signed": [_described(one) for one in models], "public_key": public})


def checked_document(model: CheckedModel) -> str:
    """What differs, as JSON."""
    return _json(
        {
            **_described(model.signed),
            "changed": [
                {"path": one.path, "change": one.change.value, "remark": one.remark} for one in model.changed
            ],
            "unread": [{"path": one.path, "reason": one.reason} for one in model.unread],
            "not_covered": list(model.passed),
        }
    )


def _described(one: SignedModel) -> dict[str, object]:
    statement = one.statement
    return {
        "signature": str(one.signature),
        "model": str(one.model),
        "name": statement.name,
        "key": one.key.fingerprint,
        "files": len(statement.files),
        "size": one.size,
        "algorithm": statement.algorithm,
        "shard_size": statement.shard,
        "follow_links": statement.links,
        "ignored": [escaped(path.encode("utf-8")) for path in statement.ignored],
    }


def _json(body: dict[str, object]) -> str:
    return json.dumps(body, ensure_ascii=True, indent=2) + "\n"
