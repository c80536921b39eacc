"""All detectors that the gate asks: those of files and those of code."""

from __future__ import annotations

from ...detect.coderules import CODE_DETECTORS
from ...detect.detector import Detector
from ...detect.filerules import FILE_DETECTORS

DETECTORS: tuple[type[Detector], ...] = (*FILE_DETECTORS, *CODE_DETECTORS)
