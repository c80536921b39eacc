"""One trial of gradient truth, as the guard makes it and the detectors judge it.

Apart from the observations, because the guard needs no other of them and importing them all takes time.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GradientTrial:
    """One parameter tensor moved along one direction, everything else as it was.

    ``plus``, ``minus`` and ``half`` are the changes of the evaluation (in units of the loss as ``backward``
    took it) at +reach, -reach and +reach/2; ``reach`` is the Euclidean length of the displacement.
    ``inner_plus`` and ``inner_minus`` are the inner products of the reported gradient with the two
    displacements as rounded, ``norm`` is that gradient's norm. ``direction``: ``gradient`` or ``random``.
    """

    tensor: int
    direction: str
    reach: float
    plus: float
    minus: float
    half: float
    inner_plus: float
    inner_minus: float
    norm: float

    @property
    def slope(self) -> float:
        """Half the change from -reach to +reach: the central difference, in units of the evaluation."""
        return (self.plus - self.minus) / 2

    @property
    def inner(self) -> float:
        """What the gradient says the central difference is."""
        return (self.inner_plus - self.inner_minus) / 2

    @property
    def error(self) -> float:
        """Truncation error of the central difference.

        A cubic through the four points gives ``half`` exactly, so what is left of it is -1/16 of the
        third-order term, and 8/3 of that the error.
        """
        return abs(self.half - self.slope / 2 - (self.plus + self.minus) / 8) * 8 / 3
