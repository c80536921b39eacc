"""What is said when copies on several nodes differ: who is on which side, and no more than that."""

from __future__ import annotations

from ....core.contract import OptimizerDeclaration
from ....core.finding import Evidence, Finding, finding_of
from ....core.replicas import DIGEST, stretch
from ....core.rule import Confidence, Rule
from .across import CLAIMED, Copy, Difference

MAX_NAMED = 5
MAX_SHOWN = 8


def told_apart(rule: Rule, found: Difference) -> Finding:
    """The finding for the first step at which our copy and another node's differ."""
    names = _names(found)
    shown = ", ".join(names[:MAX_NAMED]) + (
        f" and {len(names) - MAX_NAMED} more" if names[MAX_NAMED:] else ""
    )
    sides = _sides(found)
    since = (
        f"they were last seen to be the same after step {found.since}"
        if found.since >= 0
        else "no earlier step was compared at which they were the same"
    )
    said = "; on the other side ".join(_side(side) for side in sides)
    odd = sides[-1] if _majority(sides) and not found.claimed else []
    doubt = f"; {CLAIMED}" if found.claimed else ""
    return finding_of(
        rule,
        f"{shown}, across nodes",
        f"after step {found.step} parameter tensors are not the same on all nodes: on one side {said}; "
        f"{_which(sides)}; {since}{doubt}",
        rank=odd[0].ranks[0] if len(odd) == 1 and len(odd[0].ranks) == 1 else -1,
        first_step=found.step,
        confidence=Confidence.MEDIUM if found.claimed else None,
        evidence=tuple(
            Evidence(f"{copy.who}, digest of what was read of {names[0]}", observed=_digest(found, copy))
            for copy in found.copies[:MAX_SHOWN]
        ),
    )


def _names(found: Difference) -> list[str]:
    """The tensors that differ; where a digest stands for several in a row, its first and last one."""
    length, names = stretch(len(found.tensors)), []
    for part in found.parts:
        row = found.tensors[part * length : (part + 1) * length]
        if row:
            ends = [_name(found.declared, at) for at in (row[0], row[-1])]
            names.append(ends[0] if len(row) == 1 else f"one of {ends[0]} to {ends[1]}")
    names += [name for at in found.fingers if (name := _name(found.declared, at)) not in names]
    return names or ["a tensor"]


def _name(declared: OptimizerDeclaration, tensor: int) -> str:
    within = 0 <= tensor < len(declared.tensors)
    return declared.tensors[tensor].name if within else f"tensor {tensor}"


def _digest(found: Difference, copy: Copy) -> str:
    if found.parts:
        return copy.held.parts[found.parts[0] * DIGEST :][:DIGEST].hex()
    return copy.held.fingers.get(found.fingers[0], "none was taken") if found.fingers else ""


def _sides(found: Difference) -> list[list[Copy]]:
    """Copies that hold the same in what differs first, the side of most nodes first."""
    sides: dict[str, list[Copy]] = {}
    for copy in found.copies:
        sides.setdefault(_digest(found, copy), []).append(copy)
    return sorted(sides.values(), key=lambda side: -_nodes(side))


def _nodes(side: list[Copy]) -> int:
    return len({copy.run for copy in side})


def _majority(sides: list[list[Copy]]) -> bool:
    nodes = len({copy.run for side in sides for copy in side})
    return nodes >= 3 and len(sides) == 2 and 2 * _nodes(sides[0]) > nodes


def _side(side: list[Copy]) -> str:
    more = f" and {len(side) - MAX_SHOWN} more" if side[MAX_SHOWN:] else ""
    return " and ".join(copy.who for copy in side[:MAX_SHOWN]) + more


def _which(sides: list[list[Copy]]) -> str:
    if _majority(sides):
        nodes = len({copy.run for side in sides for copy in side})
        return f"{_nodes(sides[0])} of {nodes} nodes are on the first side, which does not prove it right"
    return "nobody can say from this which side is right"
