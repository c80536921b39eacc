"""One optimizer of one process under the update law: its declaration, its formula, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ....core.contract import OptimizerDeclaration
from ....core.quantity import quantity
from .reference.function import Reference
from .settings import KINDS, LION

NOT_DETERMINED = "elements whose result is not finite or not determined were passed over"
BLIND_STEPS = 20
BASELINE_STEPS = 3
NAMELESS = "param."
HINT = "`veracity run --optimizer-reference FILE` declares one"
BASELINE = "the first steps of a class that is not torch's only show which formula it follows"


def formula_of(declared: OptimizerDeclaration) -> tuple[str, bool]:
    """Name of the formula an optimizer should follow, empty without one, and whether that is declared.

    It is declared by torch's own classes and by those that inherit ``step`` from one. A class that overrides
    it, or one called Lion with the groups that Lion has, may follow the formula or not: its first steps tell.
    """
    kind = KINDS.get(declared.class_name)
    if kind is not None:
        return kind, True
    kind = KINDS.get(declared.base)
    if kind is not None:
        return kind, declared.inherits
    name = bare(declared.class_name).lower()
    fits = all("betas" in group and "lr" in group and "eps" not in group for group in declared.groups)
    return (LION, False) if name.endswith("lion") and declared.groups and fits else ("", False)


def reference_of(declared: OptimizerDeclaration, references: Iterable[Reference]) -> Reference | None:
    """The declared reference for an optimizer: of its full name before one of its bare name.

    Not for torch's own classes and those that inherit ``step`` from one: their formula is known.
    """
    if declared.class_name in KINDS or (declared.inherits and declared.base in KINDS):
        return None
    fitting = [one for one in references if one.fits(declared.class_name)]
    return max(fitting, key=lambda one: one.full, default=None)


def bare(class_name: str) -> str:
    """The name of a class without its module."""
    return class_name.rpartition(".")[2]


@dataclass(slots=True)
class Watched:
    """An optimizer, with the kinds of finding already reported.

    ``blind`` counts the steps since the last one that could be checked. A run whose steps could be checked
    and then for ``BLIND_STEPS`` no longer can has lost the law: a hook or a closure that arrives in the
    middle of a run must not leave it ``held``. ``agreed`` counts the steps that agreed with a formula that
    was not declared; ``differs`` says that one of the first did not, ``departed`` counts
    up to the first later one that did not (0: none). ``first`` and ``last`` are the places of
    its steps among all of the run. ``reference`` is the declared one for its class; then that is its formula.
    """

    declared: OptimizerDeclaration
    formula: str
    certain: bool
    reported: set[str] = field(default_factory=set)
    checked: int = 0
    steps: int = 0
    blind: int = 0
    agreed: int = 0
    differs: bool = False
    departed: int = 0
    because: str = ""
    first: int = 0
    last: int = 0
    reference: Reference | None = None

    @staticmethod
    def of(declared: OptimizerDeclaration, references: Iterable[Reference] = ()) -> Watched:
        """A newly declared optimizer."""
        reference = reference_of(declared, references)
        if reference is not None:
            name = bare(declared.class_name)[:60]
            return Watched(declared, f"the declared {name}", True, reference=reference)
        formula, certain = formula_of(declared)
        return Watched(declared, formula, certain)

    @property
    def on_trial(self) -> bool:
        """Whether its formula is still to be found out."""
        return not self.certain and self.agreed < BASELINE_STEPS

    def count(self, *, checked: bool, reason: str = "") -> None:
        """One more step."""
        self.steps += 1
        self.checked += checked
        self.blind = 0 if checked else self.blind + 1
        self.because = reason or self.because if not checked else ""

    def tried(self, *, agrees: bool, moved: bool) -> None:
        """One more of the first steps; one that moved no weight says nothing about them."""
        self.differs = self.differs or not agrees
        self.agreed += agrees and moved

    def no_formula(self) -> str:
        """Why no step of it can be derived; empty when some can."""
        shown = self.declared.class_name[:120]
        if not self.formula:
            known = ", ".join(sorted(set(KINDS.values())))
            return (
                f"no formula is known for optimizer class {shown}: its steps are not derived again; {HINT} "
                f"(known are {known}, and classes that inherit step from them)"
            )
        if self.departed:
            return (
                f"optimizer class {shown} stepped by {self.formula}'s formula and departed from it at "
                f"step {self.departed - 1}"
            )
        if not self.differs:
            return ""
        return f"optimizer class {shown} did not step by {self.formula}'s formula from the start; {HINT}"

    def stopped(self, rank: int) -> str:
        """Why the law no longer sees this optimizer; empty while it does, or when it never did."""
        if self.departed:
            return self.no_formula()
        if not self.checked or self.blind < BLIND_STEPS:
            return ""
        why = self.because or NOT_DETERMINED
        return f"the last {quantity(self.blind, 'step')} of rank {rank} could not be checked: {why}"

    def takes_over(self, other: Watched) -> bool:
        """Whether it goes on, unseen, with weights that ``other`` was seen to train until then."""
        if self.checked or self.steps < BLIND_STEPS or not other.checked or other.last > self.first:
            return False
        names = {tensor.name for tensor in other.declared.tensors if not tensor.name.startswith(NAMELESS)}
        return any(tensor.name in names for tensor in self.declared.tensors)

    def unseen(self, rank: int) -> str:
        """A sentence about an optimizer of which no step could be checked, empty otherwise."""
        if self.checked or not self.steps:
            return ""
        name = self.declared.class_name.rpartition(".")[2][:60]
        why = self.because or NOT_DETERMINED
        who = f"optimizer {self.declared.index} ({name}) of rank {rank}"
        return f"{who}: none of its {quantity(self.steps, 'step')} was checked: {why}"
