"""Names that are no data, and names that look like them and are."""

from __future__ import annotations

import argparse
import array
import collections
import datetime
import decimal
import fractions
import functools
import io
import ipaddress
import itertools
import logging
import operator
import pathlib
import pickle
import random
import re
import time
import types
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.core.pickled import SENTENCES, Danger, danger_of
from veracity.core.pickled_calls import calls_in


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
        *(
            ("builtins", name, Danger.IDLE)
            for name in ("print", "len", "sorted", "id", "hash", "next", "sum")
        ),
        ("__builtin__", "print", Danger.IDLE),
        ("time", "time", Danger.IDLE),
        ("time", "perf_counter", Danger.IDLE),
        ("time", "sleep", Danger.ALTERS),
        ("warnings", "warn", Danger.IDLE),
        ("logging", "info", Danger.IDLE),
        ("logging", "Logger.warning", Danger.IDLE),
        ("random", "shuffle", Danger.IDLE),
        ("numpy.random", "rand", Danger.IDLE),
        ("torch", "randn", Danger.IDLE),
        ("math", "sin", Danger.IDLE),
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


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_the_standard_library_pickles_calls_nothing_that_is_no_data(protocol: int) -> None:
    values: list[object] = [
        *(iter([1, 2]), iter({1}), iter({1: 2}.items()), iter(range(3)), iter("ab"), reversed([1, 2])),
        *(enumerate([1]), zip([1], [2], strict=False), iter(int, 1)),
        *(slice(1, 2), range(3), bytearray(b"x"), 1j, frozenset({1}), {1}, ..., NotImplemented, type(None)),
        *(object(), ValueError(1), collections.OrderedDict(a=1), collections.defaultdict(list, a=[len])),
        *(collections.Counter("ab"), collections.deque([1]), collections.ChainMap({}), decimal.Decimal(1)),
        *(datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(1), fractions.Fraction(1, 2)),
        *(pathlib.PurePosixPath("x"), uuid.UUID(int=1), operator.itemgetter(1), functools.partial(print, 1)),
        *(re.compile("a"), array.array("d", [1]), types.SimpleNamespace(key=sorted), random.Random(1)),
        *(itertools.count(1), itertools.chain([1]), argparse.Namespace(say=print), logging.getLogger("a")),
        *(time.localtime(), list[int], decimal.Context(), ipaddress.ip_address("127.0.0.1")),
    ]
    for value in values:
        called = calls_in(io.BytesIO(pickle.dumps([value, value], protocol)))
        assert not [name for name in called if danger_of(*name) is Danger.IDLE], value
