"""Git repositories of a seal, and what of them changed, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.quantity import quantity
from ..core.repository import RepositoryState
from ..core.tree import escaped
from ..seal.difference import Difference
from ..seal.repositorychange import SHOWN, GitChange, RepositoryChanged
from .page import Page, Span
from .visible import clip
from .wording import marked

MAX_SHOWN = 10
MAX_NAMED = 5
_ORDER = {change: at for at, change in enumerate(GitChange)}


def add_sealed(page: Page, state: RepositoryState) -> None:
    """What was sealed of a repository; what git does not show first."""
    at = state.commit[:SHOWN] or "no commit yet"
    branch = f" on {state.branch}" if state.branch else ""
    page.line(f"  git of {state.name}: ", (at, "bold"), f"{branch} in {state.root}")
    for one in state.hidden[:MAX_SHOWN]:
        page.line(
            ("    differs, and git status does not show it", "bold red"),
            f"  {one.path}: {one.change}, {one.hidden}",
        )
    _more(page, len(state.hidden))
    for signature in state.signatures:
        key = f" by the key {signature.key}" if signature.key else ""
        whose = f" of {signature.signer}" if signature.signer else ""
        page.line(f"    {signature.of} signed{key}{whose} ({signature.kind}): {signature.standing}")
    if not state.signatures:
        page.line("    the commit is not signed")
    if state.commit:
        differ = quantity(len(state.unlike), "differs", "differ") if state.unlike else "none differs"
        page.line(f"    {quantity(state.compared, 'file')} compared with the commit: {differ}")
    _named(page, "differ, as git shows", [one.path for one in state.unlike if not one.hidden])
    _named(page, "untracked", state.untracked)
    _named(page, "hidden from git status by info/exclude", state.ignored)
    for other in state.uncompared[:MAX_SHOWN]:
        page.line(("    not compared", "yellow"), f"  {other.path}: {other.reason}")
    _more(page, len(state.uncompared))
    moved = [it for it in state.submodules if it.checked_out not in ("", it.recorded)]
    for it in moved[:MAX_SHOWN]:
        at, has = it.checked_out[:SHOWN], it.recorded[:SHOWN]
        page.line(("    submodule", "yellow"), f"  {it.path} is at {at}, the commit has {has}")
    _more(page, len(moved))
    counted = (
        (sum(one.runs for one in state.hooks), "hook", ""),
        (len(state.settings), "setting that can start programs", "settings that can start programs"),
        (len(state.submodules), "submodule", ""),
        (len(state.replaced), "replaced object", ""),
        (len(state.flagged), "file that git is told not to look at", "files that git is told not to look at"),
    )
    said = [quantity(number, one, more) for number, one, more in counted if number]
    if said:
        page.line(f"    {', '.join(said)}")


def _named(page: Page, what: str, names: Sequence[str]) -> None:
    if names:
        more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
        page.line((f"    {what}", "yellow"), f"  {', '.join(names[:MAX_NAMED])}{more}")


def _more(page: Page, number: int) -> None:
    if number > MAX_SHOWN:
        page.line(f"    and {number - MAX_SHOWN:,} more; --format json has them all")


def rows(differences: Sequence[Difference], limit: int) -> list[tuple[Span, ...]]:
    """What counts as a difference or is worth a look, the worst first."""
    found = [(one, row) for one in differences for row in one.git if row.change is not GitChange.NOTE]
    found.sort(key=lambda item: (not item[1].differs, _ORDER[item[1].change], item[0].part, item[1].subject))
    return [_row(one, row) for one, row in found[:limit]]


def _row(one: Difference, row: RepositoryChanged) -> tuple[Span, ...]:
    mark = one.marks.get(row.place)
    red = row.differs or row.change is GitChange.HIDDEN
    name = row.subject if row.subject == one.part else f"{one.part}: {row.subject}"
    told = marked(mark) if mark is not None and mark.uid >= 0 else ""
    return (
        (row.change.value, "red" if red else "yellow"),
        name,
        (clip(row.detail, 300), "dim"),
        (told, "dim"),
    )


def add_compared(page: Page, one: Difference, state: RepositoryState) -> None:
    """That a repository is as it was sealed, if it is, and what is only told."""
    if not one.git and not one.unread:
        at = state.commit[:SHOWN] or "no commit yet"
        page.line(f"  git of {one.part} is as it was sealed: {at}")
    for row in one.git:
        if row.change is GitChange.NOTE:
            page.line(("  note", "bold"), f"  git of {one.part}: {row.subject}: {clip(row.detail, 300)}")


def described(one: Difference) -> dict[str, object]:
    """For programs."""
    return {
        "commit": one.repository.commit if one.repository is not None else None,
        "changed": [
            {
                "change": row.change.value,
                "subject": row.subject,
                "detail": row.detail,
                "differs": row.differs,
                "file": escaped(row.place),
                "owner": one.marks[row.place].uid if row.place in one.marks else None,
                "changed_at": one.marks[row.place].changed_at if row.place in one.marks else None,
            }
            for row in one.git
        ],
        "hidden": [
            {"path": it.path, "change": it.change, "hidden": it.hidden}
            for it in (one.repository.hidden if one.repository is not None else ())
        ],
    }
