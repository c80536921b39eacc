"""The marked edits: what a drill changes, as data.

Each is one small and visible change of a line of a *copy*, with a comment that says whose work it is. Nothing
here touches an installed file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..core.errors import UsageError

MARK = "# VERACITY DRILL:"


@dataclass(frozen=True, slots=True)
class Edit:
    """Text to exchange in one file.

    ``file`` is relative to the package (``optim/adam.py``). ``old`` must occur exactly once in it. ``new``
    holds :data:`MARK`, so that whoever finds the copy knows what it is.
    """

    file: str
    old: str
    new: str

    def __post_init__(self) -> None:
        if MARK not in self.new:
            raise ValueError(f"an edit of {self.file} is not marked")

    def apply(self, text: str) -> str:
        """``text`` with the edit. Raises UsageError when ``old`` is not in it exactly once."""
        found = text.count(self.old)
        if found != 1:
            raise UsageError(
                f"the text to edit occurs {found} times, not once",
                where=self.file,
                remedy="this version of the file is not one the drill knows",
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Sabotage:
    """A planted change: its name, what it does, the rule that must find it.

    ``edits`` are alternatives for versions of the package that differ; the first that fits is used.
    """

    name: str
    about: str
    rule: str
    edits: tuple[Edit, ...]

    def choose(self, texts: Mapping[str, str]) -> Edit:
        """The first edit whose text occurs exactly once in its file; ``texts`` holds the files there are.

        Raises UsageError when none does.
        """
        for edit in self.edits:
            if texts.get(edit.file, "").count(edit.old) == 1:
                return edit
        raise UsageError(
            f"the sabotage {self.name!r} fits none of the files of this torch",
            where=", ".join(edit.file for edit in self.edits),
            remedy="train with a torch release between 2.1 and the newest one that this Veracity knows",
        )


_NO_CORRECTION = f"bias_correction2_sqrt = 1.0  {MARK} the second moment's bias correction is left out"

BIAS_CORRECTION = Sabotage(
    "bias-correction",
    "one bias correction of AdamW left out",
    "update-not-declared",
    # AdamW had a file of its own until it became Adam with decoupled weight decay.
    tuple(
        Edit(file, old, _NO_CORRECTION)
        for file in ("optim/adamw.py", "optim/adam.py")
        for old in (
            "bias_correction2_sqrt = bias_correction2**0.5",
            "bias_correction2_sqrt = _dispatch_sqrt(bias_correction2)",
        )
    ),
)

EDIT_WEIGHTS = f"""\
import sys, torch
path, factor = sys.argv[1], float(sys.argv[2])
checkpoint = torch.load(path, map_location="cpu", weights_only=True)
for value in checkpoint["model"].values():
    value.mul_(factor)  {MARK} every weight scaled
torch.save(checkpoint, path)
"""
"""A program for the job's interpreter: scales the weights in a victim's checkpoint, in place."""
