"""Names that are no data, and names that look like them and are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.pickled import SENTENCES, Danger, danger_of


@pytest.mark.parametrize(
    ("module", "name", "danger"),
    [
        ("os", "system", Danger.RUNS),
        ("posix", "system", Danger.RUNS),
        ("subprocess", "Popen", Danger.RUNS),
        ("__builtin__", "eval", Danger.RUNS),
        ("builtins", "__import__", Danger.RUNS),
        ("importlib", "import_module", Danger.RUNS),
        ("pkgutil", "resolve_name", Danger.RUNS),
        ("torch", "os.system", Danger.RUNS),
        ("torch.serialization", "os.popen", Danger.RUNS),
        ("torch.hub", "load", Danger.RUNS),
        ("numpy.testing._private.utils", "runstring", Danger.RUNS),
        ("socket", "socket", Danger.CONNECTS),
        ("urllib.request", "urlopen", Danger.CONNECTS),
        ("builtins", "open", Danger.WRITES),
        ("shutil", "rmtree", Danger.WRITES),
        ("torch.random", "manual_seed", Danger.ALTERS),
        ("torch", "manual_seed", Danger.ALTERS),
        ("torch.cuda.random", "manual_seed_all", Danger.ALTERS),
        ("torch", "set_default_dtype", Danger.ALTERS),
        ("torch", "use_deterministic_algorithms", Danger.ALTERS),
        ("torch.autograd.grad_mode", "set_grad_enabled", Danger.ALTERS),
        ("torch._C", "_set_grad_enabled", Danger.ALTERS),
        ("torch.nn.modules.module", "register_module_forward_hook", Danger.ALTERS),
        ("random", "seed", Danger.ALTERS),
        ("sys", "settrace", Danger.ALTERS),
        ("types", "CodeType", Danger.CARRIES),
        ("cloudpickle.cloudpickle", "_make_function", Danger.CARRIES),
        ("pickle", "loads", Danger.CARRIES),
        ("builtins", "getattr", Danger.REACHES),
        ("operator", "attrgetter", Danger.REACHES),
    ],
)
def test_no_data(module: str, name: str, danger: Danger) -> None:
    assert danger_of(module, name) is danger
    assert SENTENCES[danger]


@pytest.mark.parametrize(
    "full",
    [
        *(
            "collections OrderedDict",
            "argparse Namespace",
            "__main__ Config",
            "builtins set",
            "builtins slice",
        ),
        *(
            "torch FloatStorage",
            "torch float32",
            "torch Size",
            "torch device",
            "torch._utils _rebuild_tensor_v2",
        ),
        *("torch._utils _rebuild_parameter", "torch.optim.adamw AdamW", "torch.nn.modules.linear Linear"),
        *("torch._C._nn gelu", "torch.nn.functional relu", "torch.storage _load_from_bytes"),
        *("torch.nn.init xavier_uniform_", "torch.optim.lr_scheduler LambdaLR", "torch Generator"),
        *("torch.amp.grad_scaler _refresh_per_optimizer_state", "torch.serialization _get_layout"),
        *("numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype", "_codecs encode"),
        *(
            "numpy.random._pickle __generator_ctor",
            "numpy.random._pickle __randomstate_ctor",
            "random Random",
        ),
        *(
            "numpy.random.mtrand RandomState",
            "copyreg _reconstructor",
            "functools partial",
            "datetime datetime",
        ),
        *("pathlib PosixPath", "logging getLogger", "os stat_result", "os _make_stat_result", "os fspath"),
        *(
            "posixpath join",
            "subprocess CompletedProcess",
            "socket AddressFamily",
            "io BytesIO",
            "_io StringIO",
        ),
        *(
            "signal Signals",
            "http HTTPStatus",
            "urllib.parse ParseResult",
            "uuid UUID",
            "operator itemgetter",
        ),
        *(
            "omegaconf.dictconfig DictConfig",
            "transformers.training_args TrainingArguments",
            "commands.train Args",
        ),
        *("sitecustom Thing", "osmium Reader", "code.config Config", "profile.mine Mine", "trace Mine"),
        *("importlib.metadata PackageNotFoundError", "sys float_info", "torch.utils.collect_env SystemEnv"),
    ],
)
def test_data(full: str) -> None:
    module, name = full.split()
    assert danger_of(module, name) is None


@settings(max_examples=examples(100))
@given(st.text(), st.text())
def test_any_name(module: str, name: str) -> None:
    assert danger_of(module, name) in (None, *Danger)
