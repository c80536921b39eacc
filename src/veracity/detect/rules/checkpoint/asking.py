"""What it means that a document asks its loader for a name: shared by the rules on such names."""

from __future__ import annotations

import re

from ....core.observation import NameAsked
from ....core.pickled import Danger, danger_of
from ....core.rule import Confidence, Severity

_WEIGHTS = {
    Danger.RUNS: (Severity.ERROR, Confidence.HIGH),
    Danger.CONNECTS: (Severity.ERROR, Confidence.MEDIUM),
    Danger.WRITES: (Severity.ERROR, Confidence.MEDIUM),
    Danger.CARRIES: (Severity.WARNING, Confidence.HIGH),
    Danger.ALTERS: (Severity.WARNING, Confidence.MEDIUM),
    Danger.REACHES: (Severity.WARNING, Confidence.LOW),
}
# A configuration that seeds or sets a precision says openly what the run is to do; not so one that sets
# attributes of modules, hooks of the interpreter or handlers of signals.
_OF_A_CONFIGURATION = ("hydra", "hyperpyyaml", "latent-diffusion", "logging", "nemo")
_INTERPRETER = re.compile(r"(builtins|sys|gc|atexit|signal|copyreg|site|codecs|threading|resource)\b.*")
_READS = frozenset({"os.environ.get", "os.environ.copy", "os.environ.items", "os.makedirs", "os.mkdir"})
# Functions of Keras and TensorFlow that a layer or a loss never is: they fetch, load or write, or run Python.
_OF_KERAS = re.compile(
    r"(?!.*\.(FeatureSpace|Feature|Cross)\Z)(tf_)?keras\.(src\.|_tf_keras\.|api\.)*(utils|saving|config|distribution|export|callbacks|datasets|testing"
    r"|legacy\.saving|legacy\.preprocessing)\b.*"
    r"|(tf_)?keras\b.*\.(load_model|load_weights|save_model|save_weights|deserialize\w*|func_load"
    r"|TFSMLayer|TorchModuleWrapper|FileCopy\w*)"
    r"|tensorflow\b.*\.(py_function|numpy_function|py_func|raw_ops\.\w+|read_file|write_file|matching_files"
    r"|load_op_library|load_library|load_file_system_library|get_file|load_model|gfile\.\w+)"
)
# Reach from what they are given to anything, and no configuration needs them, as some need ``getattr``.
_RESOLVERS = frozenset(
    {
        *("operator.attrgetter", "operator.methodcaller", "_operator.attrgetter", "_operator.methodcaller"),
        *("types.MethodType", "inspect.getattr_static"),
    }
)
# Fetches the model it is named for, by a name that stands beside it.
_FETCHES = ("torch.hub",)


def full_name(asked: NameAsked) -> str:
    """``module.attribute``, or the one that is given."""
    return ".".join(part for part in (asked.module, asked.attribute) if part)


def danger(asked: NameAsked) -> Danger | None:
    """Why the name is not data; None when nothing is known against it."""
    if asked.way == "code" or full_name(asked) in _READS:
        return None
    if asked.loader == "logging" and full_name(asked).startswith("logging."):
        return None  # a handler that writes a file is what a log is
    if asked.loader == "keras" and _OF_KERAS.fullmatch(full_name(asked)):
        return Danger.CARRIES
    found = danger_of(asked.module, asked.attribute) if asked.module else None
    if found is Danger.ALTERS and asked.loader in _OF_A_CONFIGURATION:
        return found if _INTERPRETER.fullmatch(asked.module) else None
    return None if found is Danger.IDLE else found


def weight(asked: NameAsked, found: Danger) -> tuple[Severity, Confidence]:
    """How grave it is."""
    if asked.module in _FETCHES or full_name(asked) in _RESOLVERS:
        return Severity.WARNING, Confidence.MEDIUM
    return _WEIGHTS[found]
