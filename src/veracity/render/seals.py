"""Seals and what differs from them, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..core.level import MISSED_FOR, Looked, missed, together
from ..core.quantity import quantity
from ..core.tree import FOLDER, LINK, TreeEntry, escaped
from ..seal.aliases import document_of as links_document
from ..seal.aliases import said_of_names
from ..seal.compare import Change, Changed
from ..seal.difference import Difference
from ..seal.paths import Seal
from ..seal.repositories import document_of
from . import repositories
from .page import Page, Span
from .wording import marked, moment

if TYPE_CHECKING:
    from rich.console import Console

MAX_SHOWN = 50
_ORDER = {change: at for at, change in enumerate(Change)}
_STYLES = {Change.MODE: "yellow", Change.UNREAD: "yellow"}


def sealed(seal: Seal, files: int, size: int, console: Console | None = None, *, also: str = "") -> str:
    """What was sealed, and what could not be read. ``also``: the name of another key that signed."""
    page = Page()
    page.line(("sealed", "bold"), f"  {seal.seal}")
    for part in seal.parts:
        what = quantity(part.root.size, "name" if part.root.kind == FOLDER else "byte")
        page.line(f"  {part.name:<14} {part.path}  {what}")
        page.line(f"  {'':<14} ", (f"sha256:{part.root.digest}", "dim"))
    if seal.looked is None:
        page.line(f"  {quantity(files, 'file')} read, {quantity(size, 'byte')}")
    for sentence in () if seal.looked is None else seal.looked.sentences():
        page.line(f"  {sentence}")
    for state in seal.repositories:
        repositories.add_sealed(page, state)
    if seal.links is not None and seal.links.sentence:
        page.line(f"  {seal.links.sentence}")
    if also:
        page.line(f"  signed also with the SSH key {also}")
    for name, one in seal.unread[:MAX_SHOWN]:
        page.line(("  not read", "bold yellow"), f"  {name}: {one.path}: {one.reason}")
    if len(seal.unread) > MAX_SHOWN:
        page.line(f"  and {len(seal.unread) - MAX_SHOWN:,} more could not be read")
    return page.show(console)


def compared(
    title: str, seal: Seal, differences: Sequence[Difference], console: Console | None = None
) -> str:
    """What differs, the worst first; that nothing does, when nothing does."""
    page = Page()
    page.line((title, "bold"), f"  {seal.seal}, made {moment(seal.made_at)} on {seal.host}")
    shown = 0
    changed = [(one, change) for one in differences for change in one.changed]
    rows: list[tuple[Span, ...]] = []
    for one, change in sorted(changed, key=lambda item: (_ORDER[item[1].change], item[0].part, item[1].path)):
        if shown < MAX_SHOWN:
            word = (change.change.value, _STYLES.get(change.change, "red"))
            name = f"{one.part}: {escaped(change.path) or '.'}"
            told = ", ".join(filter(None, (_marked(one, change), said_of_names(one.names.get(change.path)))))
            rows.append((word, name, (_detail(change), "dim"), (told, "dim")))
        shown += 1
    page.table([*repositories.rows(differences, MAX_SHOWN), *rows])
    if shown > MAX_SHOWN:
        page.line(f"  and {shown - MAX_SHOWN:,} more; --format json has them all")
    for one in differences:
        for unread in one.unread[:MAX_SHOWN]:
            page.line(("  not read", "bold yellow"), f"  {one.part}: {unread.path}: {unread.reason}")
        if one.repository is not None:
            repositories.add_compared(page, one, one.repository)
        elif not one.changed and not one.unread and not one.git and not one.notes:
            page.line(f"  {one.part} is as it was sealed{_read(one)}")
        for note in one.notes:
            page.line(("  note", "bold"), f"  {note}")
    looked = _together(differences)
    for sentence in () if looked is None else looked.sentences():
        page.line((f"  {sentence}", "dim"))
    return page.show(console)


def _read(one: Difference) -> str:
    """Of what is as it was: how much there is, and how much of it was read."""
    if not one.files or one.looked is None:
        return ""
    if one.looked.read == one.files:
        return f": {quantity(one.files, 'file')}, {quantity(one.size, 'byte')} read again"
    read = f"{one.looked.read:,} of them read again ({quantity(one.looked.size, 'byte')})"
    return f": {quantity(one.files, 'file')}, {read}"


def _together(differences: Sequence[Difference]) -> Looked | None:
    looked = [one.looked for one in differences if one.looked is not None]
    return together(looked) if looked else None


def document(seal: Seal, differences: Sequence[Difference]) -> str:
    """The same as JSON."""
    body: dict[str, object] = {
        "seal": seal.seal,
        "made_at": seal.made_at,
        "host": seal.host,
        "parts": [
            {"name": part.name, "path": part.path, "digest": part.root.digest, "size": part.root.size}
            for part in seal.parts
        ],
        "unread": [{"part": part, "path": one.path, "reason": one.reason} for part, one in seal.unread],
        "read": None if seal.looked is None else _looked(seal.looked),
        **({"examined": seal.examined} if seal.examined is not None else {}),
        **({"repositories": document_of(seal.repositories)} if seal.repositories else {}),
        **({"links": links_document(seal.links)} if seal.links is not None else {}),
        "compared": [
            {
                "part": one.part,
                "files": one.files,
                "bytes": one.size,
                "looked": None if one.looked is None else _looked(one.looked),
                "changed": [
                    {
                        "path": escaped(change.path),
                        "change": change.change.value,
                        "before": _described(change.before),
                        "after": _described(change.after),
                        "owner": one.marks[change.path].uid if change.path in one.marks else None,
                        "changed_at": one.marks[change.path].changed_at if change.path in one.marks else None,
                        **_names(one, change),
                    }
                    for change in one.changed
                ],
                "unread": [{"path": unread.path, "reason": unread.reason} for unread in one.unread],
                **({"git": repositories.described(one)} if one.git or one.repository else {}),
                **({"notes": list(one.notes)} if one.notes else {}),
            }
            for one in differences
        ],
    }
    return json.dumps(body, ensure_ascii=True, indent=2) + "\n"


def _looked(looked: Looked) -> dict[str, object]:
    share = looked.level.share
    odds = {str(changed): missed(share, changed) for changed in MISSED_FOR} if share else None
    return {
        "level": str(looked.level),
        "files": looked.files,
        "read": looked.read,
        "by_kernel": looked.by_kernel,
        "by_stat": looked.by_stat,
        "bytes_read": looked.size,
        "because": list(looked.because),
        "odds_of_missing": odds,
        "said": list(looked.sentences()),
    }


def _described(entry: TreeEntry | None) -> dict[str, object] | None:
    if entry is None:
        return None
    described: dict[str, object] = {"kind": entry.kind, "mode": f"{entry.mode:o}", "size": entry.size}
    described |= {"target": escaped(entry.target)} if entry.kind == LINK else {"digest": entry.digest}
    return described


def _names(difference: Difference, change: Changed) -> dict[str, object]:
    names = difference.names.get(change.path)
    if names is None:
        return {}
    return {"other_names": [escaped(name) for name in names.here], "names_elsewhere": names.elsewhere}


def _marked(difference: Difference, change: Changed) -> str:
    mark = difference.marks.get(change.path)
    if mark is None:
        return ""
    return marked(mark)


def _detail(change: Changed) -> str:
    before, after = change.before, change.after
    if before is None or after is None:
        entry = before or after
        return quantity(entry.size, "byte") if entry is not None and entry.is_file else ""
    if change.change is Change.LINK:
        return f"{escaped(before.target)} → {escaped(after.target)}"
    if change.change in (Change.MODE, Change.EXECUTABLE):
        return f"{before.mode:o} → {after.mode:o}"
    if change.change is Change.CONTENT:
        size = quantity(after.size, "byte")
        return f"{before.size:,} → {size}" if before.size != after.size else size
    return ""
