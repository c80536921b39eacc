"""What was declared of parameter groups stays with their tensors when a program rearranges the groups.

A group that is taken out moves those behind it to other numbers. So groups are known again by the tensors in
them, as the guard tells where each was before.
"""

from __future__ import annotations

from collections import Counter

from ....core.contract import OptimizerDeclaration
from ....core.observation import OptimizerDeclared


def homes(before: OptimizerDeclaration, seen: OptimizerDeclared) -> dict[int, int]:
    """The groups of ``before`` that are still there, and their numbers in a new declaration.

    Each is where most of its tensors are; where two became one, that is the larger one. A group whose tensors
    were all exchanged for others of the same names is the one that it was.
    """
    now = seen.optimizer
    if len(seen.was) != len(now.tensors):  # in a record of a guard that does not tell
        return {number: number for number in range(min(len(before.groups), len(now.groups)))}
    went: dict[int, Counter[int]] = {}
    for tensor, was in zip(now.tensors, seen.was, strict=True):
        if 0 <= was < len(before.groups) and 0 <= tensor.group < len(now.groups):
            went.setdefault(was, Counter())[tensor.group] += 1
    found: dict[int, int] = {}
    taken: set[int] = set()
    for was in sorted(went, key=lambda one: -went[one].total()):
        home = next((group for group, _ in went[was].most_common() if group not in taken), None)
        if home is not None:
            found[was] = home
            taken.add(home)
    for number in range(min(len(before.groups), len(now.groups))):
        if number not in went and number not in taken and _names(before, number) & _names(now, number):
            found[number] = number
    return found


def carried(before: OptimizerDeclaration, seen: OptimizerDeclared) -> list[int | None]:
    """For each group of a new declaration the number of the one of ``before`` that it is; None: a new one."""
    was = {home: number for number, home in homes(before, seen).items()}
    return [was.get(number) for number in range(len(seen.optimizer.groups))]


def _names(declared: OptimizerDeclaration, group: int) -> set[str]:
    return {tensor.name for tensor in declared.tensors if tensor.group == group}
