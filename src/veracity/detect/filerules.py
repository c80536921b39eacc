"""Rules about files, in the order in which they are asked; apart, since the gate needs no others to start."""

from __future__ import annotations

from .detector import Detector

FILE_DETECTORS: tuple[type[Detector], ...] = ()
