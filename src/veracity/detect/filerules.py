"""Rules about files, in the order in which they are asked.

They lie in groups by what they judge, so that the gate imports of them what a file makes it need.
"""

from __future__ import annotations

from .archiverules import ARCHIVE_DETECTORS
from .carrierrules import CARRIER_DETECTORS
from .detector import Detector
from .picklerules import PICKLE_DETECTORS
from .pythonrules import PYTHON_DETECTORS

FILE_DETECTORS: tuple[type[Detector], ...] = (
    *PICKLE_DETECTORS,
    *ARCHIVE_DETECTORS,
    *CARRIER_DETECTORS,
    *PYTHON_DETECTORS,
)
