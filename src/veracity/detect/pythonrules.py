"""Rules about what Python starts with, installs or has compiled, in the order in which they are asked."""

from __future__ import annotations

from .detector import Detector
from .rules.environment.bytecode_foreign import BytecodeForeign
from .rules.environment.bytecode_hides import BytecodeHides
from .rules.environment.start_file import StartFile
from .rules.environment.wheel_differs import WheelDiffers

PYTHON_DETECTORS: tuple[type[Detector], ...] = (
    StartFile,
    WheelDiffers,
    BytecodeHides,
    BytecodeForeign,
)
