"""Rules about pickles, in the order in which they are asked."""

from __future__ import annotations

from .detector import Detector
from .rules.checkpoint.global_redefined import GlobalRedefined
from .rules.checkpoint.pickle_alters_shared import PickleAltersShared
from .rules.checkpoint.pickle_ambiguous import PickleAmbiguous
from .rules.checkpoint.pickle_executes import PickleExecutes
from .rules.checkpoint.pickle_limit import PickleLimit
from .rules.checkpoint.pickle_malformed import PickleMalformed
from .rules.checkpoint.pickle_shape_differs import PickleShapeDiffers
from .rules.checkpoint.pickle_unknown_global import PickleUnknownGlobal

PICKLE_DETECTORS: tuple[type[Detector], ...] = (
    PickleExecutes,
    PickleUnknownGlobal,
    PickleShapeDiffers,
    PickleAltersShared,
    PickleMalformed,
    PickleLimit,
    PickleAmbiguous,
    GlobalRedefined,
)
